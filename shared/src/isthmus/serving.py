"""A worker on the bus: it joins, bounds its calls, replaces its sources, and leaves without loss."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from isthmus import bus, definitions, subjects
from isthmus.advertising import AdvertisedService, Endpoint
from isthmus.errors import (
    Busy,
)
from isthmus.running import RunningCalls
from isthmus.settings import BusSettings
from isthmus.tools import Source, Toolbox, Updated

T = TypeVar("T")

logger = logging.getLogger("isthmus.worker")

TICK = 0.25
"""Seconds between two looks at the running calls; a tick that is late by STALL means that the process was stopped."""
STALL = 1.0
LEAVE_WITHIN = 10.0
"""Seconds that running calls have to finish once the worker leaves."""


class WorkerSettings(BusSettings, frozen=True, kw_only=True):
    """What every worker takes from the environment."""

    fingerprint_key: str = ""
    """One secret for all workers: their fingerprints of a target agree, and say nothing about it."""
    heartbeat_path: str = ""
    """A file that is touched every TICK while the worker is on the bus, for health checks; empty: none."""


async def serve(
    toolbox: Toolbox[T],
    settings: WorkerSettings,
    until: asyncio.Event,
    changes: AsyncGenerator[Mapping[str, Source[T]]] | None = None,
) -> None:
    """Serves the toolbox's sources until the event is set, or what `changes` yields in place of them."""
    stopping = asyncio.create_task(until.wait())
    connecting = asyncio.create_task(bus.connect(settings, toolbox.service.replace("-", "_")))
    await asyncio.wait([stopping, connecting], return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        await asyncio.wait([connecting])
        return
    client = connecting.result()
    worker = ServingWorker(client, toolbox, settings)
    try:
        await worker.join()
        following = asyncio.create_task(worker.follow(changes)) if changes is not None else stopping
        await asyncio.wait([stopping, following], return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            following.result()
        await _end([following], within=0)
        await worker.leave()
    finally:
        stopping.cancel()
        await client.close()


class ServingWorker(Generic[T]):
    """The state of one worker while it is connected."""

    def __init__(self, client: Client, toolbox: Toolbox[T], settings: WorkerSettings) -> None:
        self.client = client
        self.toolbox = toolbox
        self.fingerprint_key = settings.fingerprint_key
        self.heartbeat = Path(settings.heartbeat_path) if settings.heartbeat_path else None
        self.joined = False
        self.service = AdvertisedService(client, toolbox.service, toolbox.version)
        self.calls = RunningCalls(client, toolbox, self.service.id, self.offer, settings.fingerprint_key)
        self.ticked = time.monotonic()
        self.busy_until = 0.0
        self.ticker: asyncio.Task[None] | None = None
        self.others: list[Subscription] = []
        self.digests: set[str] = set()
        self.retiring: dict[asyncio.Task[None], Endpoint] = {}
        self.background: dict[str, asyncio.Task[None]] = {}

    async def join(self) -> None:
        """Subscribes to everything, then says so."""
        self.ticker = asyncio.create_task(self._tick())
        self.others.append(await self.client.subscribe(subjects.CANCEL, cb=self.calls.on_cancel))
        for source in self.toolbox.sources.values():
            await self._open(source)
        await self._offer_definitions()
        await self.service.start()
        await self._announce()
        self.joined = True
        logger.info("serving %s", ", ".join(self.toolbox.sources) or "no sources")

    def sources(self) -> list[Source[T]]:
        """What is served, in order of names."""
        return [source for _, source in sorted(self.toolbox.sources.items())]

    async def follow(self, changes: AsyncGenerator[Mapping[str, Source[T]]]) -> None:
        """Serves what is yielded, each time."""
        async for sources in changes:
            replacing = asyncio.create_task(self.replace(sources))
            try:
                await asyncio.shield(replacing)
            except asyncio.CancelledError:  # leaving must know every endpoint, so this step is finished first
                await replacing
                raise

    async def replace(self, wanted: Mapping[str, Source[T]]) -> None:
        """Serves these sources from now on; those that are the same objects as before do not notice.

        A source that changed is open under its new settings before the old ones close, so that there is always
        somebody to call. Calls that run on what goes are finished there.
        """
        before = dict(self.toolbox.sources)
        gone = {name: source for name, source in before.items() if wanted.get(name) is not source}
        new = [source for name, source in wanted.items() if before.get(name) is not source]
        if not gone and not new:
            return
        endpoints = {name: self.service.endpoints[name] for name in gone}
        await _end([self.background.pop(name) for name in gone if name in self.background], within=0)
        self.toolbox.sources.clear()
        self.toolbox.sources.update(wanted)
        for source in new:
            await self._open(source)
        await self._offer_definitions()
        for name in gone.keys() - wanted.keys():
            del self.service.endpoints[name]
        try:
            await self._announce()
        except NatsError:  # the bus is away: it gets the subscriptions when it is back, and a ping shows the revision
            logger.warning("the change of sources could not be announced at once")
        for name, source in gone.items():
            retiring = asyncio.create_task(self._retire(endpoints[name], source))
            self.retiring[retiring] = endpoints[name]
            retiring.add_done_callback(self.retiring.pop)
        logger.info("serving %s", ", ".join(self.toolbox.sources) or "no sources")

    async def offer(self) -> None:
        """Advertises what the toolbox holds now; a worker that leaves has nothing to offer any more."""
        if not self.joined:
            return
        for source in self.sources():
            if (endpoint := self.service.endpoints.get(source.name)) is not None:
                endpoint.advertisement = self.toolbox.advertisement(source, self.fingerprint_key)
        await self._offer_definitions()
        await self._announce()

    async def leave(self) -> None:
        """Loses nothing: takes no new calls, finishes those that arrived, gets the answers out.

        While the bus is away nobody hears an answer: what runs is stopped at once.
        """
        self.joined = False
        endpoints = list(self.service.endpoints.values())
        self.service.endpoints.clear()
        await _end(list(self.background.values()), within=0)
        leaving = asyncio.create_task(self._leave(endpoints))
        while self.client.is_connected and not leaving.done():
            await asyncio.wait([leaving], timeout=TICK)
        if leaving.done():
            leaving.result()
        else:
            leaving.cancel()
            await _end([task for e in (*endpoints, *self.retiring.values()) for task in e.running], within=0)
        for task in (self.ticker, *self.retiring):
            if task is not None:
                task.cancel()

    async def _leave(self, endpoints: list[Endpoint]) -> None:
        await self._announce()
        await asyncio.gather(*(e.subscription.drain() for e in endpoints if e.subscription is not None))
        await _end([task for e in (*endpoints, *self.retiring.values()) for task in e.running], LEAVE_WITHIN)
        await self.client.flush()
        await self.service.stop()

    async def _announce(self) -> None:
        self.service.changed()
        instance = f"{self.toolbox.service}.{self.service.id}"
        await self.client.publish(subjects.CATALOG_CHANGED, instance.encode())
        await self.client.flush()

    async def _open(self, source: Source[T]) -> None:
        advertisement = self.toolbox.advertisement(source, self.fingerprint_key)
        endpoint = Endpoint(source.name, advertisement, source.limit)

        async def on_call(message: Msg) -> None:
            """Only counts, checks the bound and starts the task: it never holds up the subscription."""
            endpoint.requests += 1
            now = time.monotonic()
            if len(endpoint.running) >= endpoint.limit or now < self.busy_until or now - self.ticked > TICK + STALL:
                endpoint.errors += 1
                await self.calls.refuse(message.reply, Busy())
                return
            task = asyncio.create_task(self.calls.run(message, endpoint, source))
            endpoint.running.add(task)
            task.add_done_callback(endpoint.running.discard)

        endpoint.subscription = await self.client.subscribe(endpoint.subject, queue=endpoint.name, cb=on_call)
        self.service.endpoints[source.name] = endpoint
        if source.background is not None:
            self.background[source.name] = asyncio.create_task(self._beside(source, source.background))

    async def _beside(self, source: Source[T], background: Callable[[Updated], Awaitable[None]]) -> None:
        """What a source does in the background; its failure is no reason to stop serving."""

        async def updated(uri: str) -> None:
            with contextlib.suppress(NatsError):  # news for which there is no bus now is old when there is one
                await self.client.publish(subjects.updated(self.toolbox.kind, source.name), uri.encode())

        try:
            await background(updated)
        except Exception:
            logger.exception("what %s does in the background failed", source.name)

    async def _retire(self, endpoint: Endpoint, source: Source[T]) -> None:
        if endpoint.subscription is not None:
            with contextlib.suppress(NatsError):
                await endpoint.subscription.drain()
        while endpoint.running:
            await asyncio.wait(endpoint.running)
        await asyncio.to_thread(source.close)

    async def _offer_definitions(self) -> None:
        """Answers for every set of definitions that a source has; one that none has any more does no harm."""
        by_digest = {definitions.digest(body): body for body in map(self.toolbox.definitions_of, self.sources())}
        for digest in by_digest.keys() - self.digests:
            self.others.append(await self._answer_definitions(digest, by_digest[digest]))
            self.digests.add(digest)

    async def _answer_definitions(self, digest: str, body: bytes) -> Subscription:
        async def on_request(message: Msg) -> None:
            await message.respond(body)

        subject = subjects.tools(self.toolbox.kind, digest)
        return await self.client.subscribe(subject, queue=digest, cb=on_request)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if now - self.ticked > TICK + STALL:
                logger.warning("this worker stood still for %.1f s; it takes calls again in 1 s", now - self.ticked)
                self.busy_until = now + STALL
            self.ticked = now
            if self.heartbeat is not None and self.joined and self.client.is_connected:
                self.heartbeat.touch()
            await self.calls.look_after(now)


async def _end(tasks: Sequence[asyncio.Task[object]], within: float) -> None:
    """Returns when all of them have: by themselves, or stopped after the time."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=within)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
