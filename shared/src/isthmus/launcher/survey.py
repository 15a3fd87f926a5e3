"""What the workers on the bus say of themselves: `$SRV.INFO`, and `$SRV.STATS` twice, for the rates."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from isthmus import subjects
from isthmus.errors import IsthmusError
from isthmus.settings import BusSettings

USER = "ops"
"""The NATS user that may ask, and nothing else; workers may answer in its inbox."""

FIRST_WITHIN = 1.0
"""Seconds for the first answer to come, then QUIET without another one mean that all are in."""
QUIET = 0.15

S = TypeVar("S", bound=msgspec.Struct)


class BusUnreachable(IsthmusError):
    """The bus cannot be reached."""

    code = "bus_unreachable"


class _Info(msgspec.Struct):
    """What a service answers to INFO (ADR-32), as far as it is shown."""

    id: str
    endpoints: "list[_InfoEndpoint]" = []


class _InfoEndpoint(msgspec.Struct):
    name: str
    metadata: dict[str, str] = {}


class _Data(msgspec.Struct):
    in_flight: int = 0
    limit: int = 0


class _StatsEndpoint(msgspec.Struct):
    name: str
    num_requests: int = 0
    num_errors: int = 0
    processing_time: int = 0
    data: _Data = msgspec.field(default_factory=_Data)


class _Stats(msgspec.Struct):
    name: str
    id: str
    version: str
    started: datetime
    endpoints: list[_StatsEndpoint] = []


class Figures(msgspec.Struct, kw_only=True):
    """How one source does, in one worker process or in all that serve it."""

    calls: int = 0
    errors: int = 0
    """Calls that no tool answered, refused ones among them."""
    in_flight: int = 0
    limit: int = 0
    """Calls at a time."""
    calls_per_second: float = 0.0
    average_milliseconds: float = 0.0
    """Over all finished calls since the start."""

    def plus(self, other: "Figures") -> "Figures":
        """Both together."""
        finished = self.calls - self.in_flight, other.calls - other.in_flight
        busy = self.average_milliseconds * finished[0] + other.average_milliseconds * finished[1]
        return Figures(
            calls=self.calls + other.calls,
            errors=self.errors + other.errors,
            in_flight=self.in_flight + other.in_flight,
            limit=self.limit + other.limit,
            calls_per_second=self.calls_per_second + other.calls_per_second,
            average_milliseconds=busy / max(1, sum(finished)),
        )


class Instance(msgspec.Struct, kw_only=True):
    """One worker process."""

    worker: str
    """Such as `db-worker`."""
    id: str
    version: str
    started: datetime
    sources: dict[str, Figures]
    """By `<kind>.<source>`, as grants name them."""


class SourceStatus(msgspec.Struct, kw_only=True):
    """One source over all its workers."""

    id: str
    engine: str
    access: str
    total: Figures
    instances: dict[str, Figures]
    """By the id of the worker process."""


class Status(msgspec.Struct, kw_only=True):
    """Everything that is on the bus, in order of names."""

    workers: list[Instance]
    sources: list[SourceStatus]


class Survey:
    """Readings of one bus; rates are between two of them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: BusSettings) -> AsyncGenerator["Survey"]:
        """A survey of this bus. Raises BusUnreachable."""
        async with connected(settings) as client:
            yield cls(client)

    async def read(self) -> Status:
        """How everything is now."""
        infos = {info.id: info for info in await self._ask("INFO", _Info)}
        engines = {
            (info.id, endpoint.name): endpoint.metadata for info in infos.values() for endpoint in info.endpoints
        }
        stats = await self._ask("STATS", _Stats)
        now = time.monotonic()
        workers: list[Instance] = []
        sources: dict[str, SourceStatus] = {}
        for one in sorted(stats, key=lambda s: (s.name, s.started, s.id)):
            worker = Instance(worker=one.name, id=one.id, version=one.version, started=one.started, sources={})
            for endpoint in one.endpoints:
                metadata = engines.get((one.id, endpoint.name))
                if metadata is None or "kind" not in metadata:  # another service than a worker, or gone meanwhile
                    continue
                source_id = f"{metadata['kind']}.{endpoint.name}"
                figures = self._figures(one.id, source_id, endpoint, now)
                worker.sources[source_id] = figures
                source = sources.get(source_id)
                if source is None:
                    source = sources[source_id] = SourceStatus(
                        id=source_id,
                        engine=metadata.get("engine", ""),
                        access=metadata.get("access", ""),
                        total=Figures(),
                        instances={},
                    )
                source.instances[one.id] = figures
                source.total = source.total.plus(figures)
            workers.append(worker)
        return Status(workers=workers, sources=[sources[name] for name in sorted(sources)])

    def _figures(self, instance: str, source: str, endpoint: _StatsEndpoint, now: float) -> Figures:
        calls, in_flight = endpoint.num_requests, endpoint.data.in_flight
        then, before = self._last.get((instance, source), (now, calls))
        self._last[instance, source] = (now, calls)
        return Figures(
            calls=calls,
            errors=endpoint.num_errors,
            in_flight=in_flight,
            limit=endpoint.data.limit,
            calls_per_second=max(0, calls - before) / (now - then) if now > then else 0.0,
            average_milliseconds=endpoint.processing_time / 1e6 / max(1, calls - in_flight),
        )

    async def _ask(self, verb: str, kind: type[S]) -> list[S]:
        """The answers of all services; an answer that is no such thing is left out."""
        inbox = self._client.new_inbox()
        answers = await self._client.subscribe(inbox)
        found: list[S] = []
        try:
            await self._client.publish(subjects.srv(verb), reply=inbox)
            wait = FIRST_WITHIN
            while not _nobody(message := await answers.next_msg(wait)):
                wait = QUIET
                with contextlib.suppress(msgspec.DecodeError):
                    found.append(msgspec.json.decode(message.data, type=kind))
        except TimeoutError:
            pass
        except NatsError:
            raise BusUnreachable("The connection to the bus was lost.") from None
        finally:
            with contextlib.suppress(NatsError):
                await answers.unsubscribe()
        if "permissions violation" in str(self._client.last_error).lower():
            raise BusUnreachable(f"The bus does not let this user ask who is there; the user {USER} may.")
        return found


@asynccontextmanager
async def connected(settings: BusSettings, user: str = USER) -> AsyncGenerator[Client]:
    """A connection that is given up at the first failure; `user` may hear its inbox. Raises BusUnreachable."""

    async def quiet(_: Exception) -> None:
        """What fails is raised."""

    client = Client()
    try:
        async with asyncio.timeout(5):
            await client.connect(
                settings.nats_url,
                user=settings.nats_user or None,
                password=settings.nats_password or None,
                name="isthmus",
                inbox_prefix=subjects.inbox(user),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=2,
                error_cb=quiet,
            )
        yield client
    except (NatsError, OSError, ValueError) as error:
        if "authorization violation" in str(error).lower():
            raise BusUnreachable(
                "The bus refused this user and password; ISTHMUS_NATS_USER and ISTHMUS_NATS_PASSWORD give them."
            ) from None
        raise BusUnreachable(f"Nothing answers at {_address(settings.nats_url)}.") from None
    finally:
        with contextlib.suppress(NatsError):
            await client.close()


def _address(url: str) -> str:
    """The URL without user and password."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


def _nobody(message: Msg) -> bool:
    return (message.headers or {}).get("Status") == "503"
