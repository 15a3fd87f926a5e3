"""Who is on the bus: hears announcements, pings, reads INFO, fetches tool definitions, and keeps the catalog."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from isthmus import definitions, subjects
from isthmus.advertising import REVISION, Advertisement, is_instance, offered
from isthmus.definitions import DefinitionSet, ToolDefinition
from isthmus.errors import CallError, NoWorker
from isthmus.schemas import is_tool_schema
from isthmus_mcp_gateway.catalog import Catalog, Offer, merge
from isthmus_mcp_gateway.inbox import Inbox

logger = logging.getLogger("isthmus.discovery")

PING_EVERY = 2.0
PING_WAIT = 0.3
GONE_AFTER = 5.0
"""Seconds without an answer to a ping after which an instance is left out."""
ASK_WITHIN = 2.0
INSTANCES = 1000
"""Instances that are kept at most."""


class Ping(msgspec.Struct):
    """What a service answers to `$SRV.PING` (ADR-32)."""

    name: str
    id: str
    metadata: dict[str, str] = {}


class InfoEndpoint(msgspec.Struct):
    """One endpoint in INFO."""

    name: str
    subject: str
    metadata: dict[str, str] = {}


class Info(msgspec.Struct):
    """What a service answers to `$SRV.INFO` (ADR-32)."""

    name: str
    id: str
    endpoints: list[InfoEndpoint]
    metadata: dict[str, str] = {}


@dataclass(slots=True)
class Instance:
    """One worker process as it was last heard of."""

    revision: str
    offers: list[Offer]
    heard: float = field(default_factory=time.monotonic)


class Discovery:
    """Keeps `catalog` true; `on_change` is told each time it becomes another one."""

    def __init__(self, client: Client, inbox: Inbox, on_change: Callable[[], None], reserved: frozenset[str]) -> None:
        self.catalog = Catalog()
        self.ready = asyncio.Event()
        self._client = client
        self._inbox = inbox
        self._on_change = on_change
        self._reserved = reserved
        self._instances: dict[str, Instance] = {}
        self._sets: dict[str, DefinitionSet] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[str, bool] = {}
        self._ping_now = asyncio.Event()

    async def start(self) -> None:
        """Begins to listen and to ping."""
        await self._client.subscribe(subjects.CATALOG_CHANGED, cb=self._on_hint)
        self._spawn(self._ping_for_ever())

    def stop(self) -> None:
        """Ends everything that runs here."""
        for task in self._tasks:
            task.cancel()

    def look_again(self) -> None:
        """Pings now: something that should be there did not answer."""
        self._ping_now.set()

    def forgive(self) -> None:
        """This gateway was away itself: nobody is gone until a whole round has passed."""
        for instance in self._instances.values():
            instance.heard = time.monotonic()

    async def _on_hint(self, message: Msg) -> None:
        instance = message.data.decode(errors="replace")
        if is_instance(instance):
            self._read_soon(instance)

    def _read_soon(self, instance: str) -> None:
        """Reads INFO now, or once more after the reading under way: bursts of hints fold into two readings."""
        if instance in self._reading:
            self._reading[instance] = True
        elif len(self._reading) < INSTANCES:
            self._reading[instance] = False
            self._spawn(self._read_until_quiet(instance))

    async def _read_until_quiet(self, instance: str) -> None:
        try:
            again = True
            while again:
                self._reading[instance] = False
                await self._read(instance)
                again = self._reading[instance]
        finally:
            del self._reading[instance]

    async def _read(self, instance: str) -> None:
        service, _, service_id = instance.partition(".")
        try:
            async with asyncio.timeout(ASK_WITHIN):
                reply = await self._inbox.request(subjects.SRV, subjects.srv("INFO", service, service_id), b"")
            info = msgspec.json.decode(reply, type=Info)
        except NoWorker:
            self._forget(instance)
            return
        except (TimeoutError, CallError, NatsError, msgspec.DecodeError) as error:
            logger.warning("%s did not say what it has: %s", instance, type(error).__name__)
            return
        offers = [offer for endpoint in info.endpoints if (offer := _offer(service, endpoint)) is not None]
        for offer in offers:
            await self._inbox.open_kind(offer.advertisement.kind)
            await self._fetch(offer.advertisement)
        known = self._instances.get(instance)
        if not offers:
            self._forget(instance)
        elif len(self._instances) < INSTANCES or known is not None:
            whole = all(offer.advertisement.definitions in self._sets for offer in offers)
            self._instances[instance] = Instance(info.metadata.get(REVISION, "") if whole else "", offers)
            self._rebuild()
            if not whole:
                self.look_again()

    async def _fetch(self, advertisement: Advertisement) -> None:
        digest = advertisement.definitions
        if digest in self._sets:
            return
        try:
            async with asyncio.timeout(ASK_WITHIN):
                body = await self._inbox.request(subjects.SRV, subjects.tools(advertisement.kind, digest), b"")
            if definitions.digest(body) == digest:
                self._sets[digest] = _sound(msgspec.json.decode(body, type=DefinitionSet))
            else:
                logger.warning("the tool definitions %s are not what their digest says", digest)
        except (TimeoutError, CallError, NatsError, msgspec.DecodeError) as error:
            logger.warning("no tool definitions %s: %s", digest, type(error).__name__)

    def _forget(self, instance: str) -> None:
        if self._instances.pop(instance, None) is not None:
            logger.info("%s is gone", instance)
            self._rebuild()

    def _rebuild(self) -> None:
        offers = [offer for instance in self._instances.values() for offer in instance.offers]
        used = {offer.advertisement.definitions for offer in offers}
        self._sets = {digest: found for digest, found in self._sets.items() if digest in used}
        catalog = merge(offers, self._sets, self._reserved)
        if catalog != self.catalog:
            self.catalog = catalog
            logger.info("catalog: %s", ", ".join(catalog.sources) or "empty")
            self._on_change()

    async def _ping_for_ever(self) -> None:
        while True:
            self._ping_now.clear()
            try:
                await self._ping()
            except NatsError:
                self.forgive()
            try:
                async with asyncio.timeout(PING_EVERY - PING_WAIT):
                    await self._ping_now.wait()
            except TimeoutError:
                pass

    async def _ping(self) -> None:
        waiting: list[str] = []
        for body in await self._inbox.gather(subjects.srv("PING"), PING_WAIT):
            try:
                ping = msgspec.json.decode(body, type=Ping)
            except msgspec.DecodeError:
                continue
            instance = f"{ping.name}.{ping.id}"
            if REVISION not in ping.metadata or not is_instance(instance):
                continue
            known = self._instances.get(instance)
            if known is not None:
                known.heard = time.monotonic()
            if known is None or known.revision != ping.metadata[REVISION]:
                waiting.append(instance)
        for instance in waiting:
            self._read_soon(instance)
        if not self.ready.is_set():
            await asyncio.gather(*(self._read(instance) for instance in waiting))
            self.ready.set()
        if self._client.is_connected:
            now = time.monotonic()
            for instance in [name for name, known in self._instances.items() if now - known.heard > GONE_AFTER]:
                self._forget(instance)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _offer(service: str, endpoint: InfoEndpoint) -> Offer | None:
    """The endpoint as an offer, if it is one."""
    advertisement = offered(service, endpoint.name, endpoint.subject, endpoint.metadata)
    return None if advertisement is None else Offer(endpoint.name, advertisement)


def _sound(found: DefinitionSet) -> DefinitionSet:
    """Without tools that would make clients refuse the whole list."""
    tools = tuple(tool for tool in found.tools if _is_sound(tool))
    for tool in found.tools:
        if tool not in tools:
            logger.warning("the tool %s is left out: its input and output must be objects", tool.name[:64])
    return msgspec.structs.replace(found, tools=tools)


def _is_sound(tool: ToolDefinition) -> bool:
    return is_tool_schema(tool.input_schema) and (
        tool.output_schema is msgspec.UNSET or is_tool_schema(tool.output_schema)
    )
