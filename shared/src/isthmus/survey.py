"""What the workers on the bus say of themselves: `$SRV.INFO` and `$SRV.STATS`, and what changed since the last time."""

import asyncio
import contextlib
import re
import secrets
import time
from collections import defaultdict
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NoMore

from isthmus import advertising, subjects
from isthmus.advertising import Advertisement
from isthmus.errors import IsthmusError

FIRST_WITHIN = 1.0
"""Seconds for the first answer to come, then QUIET without another one mean that all are in."""
QUIET = 0.2
ALL_WITHIN = 3.0
"""Seconds for a whole reading."""
STILL = 0.1
"""Seconds by which a wait may be too long before it counts as one of a process that stood still itself."""

MOST_ANSWERS = 2000
"""To one reading, INFO and STATS together."""
MOST_BYTES = 32 * 1024 * 1024
MOST_SOURCES = 10_000
"""In all workers together: what comes after these is left out."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class BusUnreachable(IsthmusError):
    """The bus cannot be reached."""

    code = "bus_unreachable"


class _InfoEndpoint(msgspec.Struct):
    name: str
    subject: str
    metadata: dict[str, str] = {}


class _Info(msgspec.Struct):
    """What a service answers to INFO (ADR-32), as far as it is shown."""

    name: str
    id: str
    version: str
    endpoints: list[_InfoEndpoint] = []


class _Data(msgspec.Struct):
    in_flight: Count = 0
    limit: Count = 0


class _StatsEndpoint(msgspec.Struct):
    name: str
    num_requests: Count = 0
    num_errors: Count = 0
    processing_time: Count = 0
    last_error: str | None = None
    data: _Data | None = None


class _Stats(msgspec.Struct):
    """What it answers to STATS."""

    name: str
    id: str
    started: datetime | None = None
    endpoints: list[_StatsEndpoint] = []


A = TypeVar("A", _Info, _Stats)
Answers = dict[tuple[str, str], A]
"""By service and id."""


class Figures(msgspec.Struct, kw_only=True):
    """How one source does, in one worker process or in all that serve it."""

    calls: int = 0
    errors: int = 0
    """Calls that no tool answered, refused ones among them."""
    last_error: str = ""
    """The code of the last of them, or the name of an exception; never a message."""
    in_flight: int = 0
    limit: int = 0
    """Calls at a time."""
    calls_per_second: float = 0.0
    """Since the reading before."""
    average_milliseconds: float = 0.0
    """Over all finished calls since the start."""

    def plus(self, other: "Figures") -> "Figures":
        """Both together."""
        finished = max(0, self.calls - self.in_flight), max(0, other.calls - other.in_flight)
        busy = self.average_milliseconds * finished[0] + other.average_milliseconds * finished[1]
        return Figures(
            calls=self.calls + other.calls,
            errors=self.errors + other.errors,
            last_error=self.last_error or other.last_error,
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
    started: datetime | None
    """None: it did not say."""
    sources: dict[str, Figures]
    """By `<kind>.<source>`, as grants name them."""


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One source over all its workers."""

    id: str
    """`<kind>.<source>`, as grants name it."""
    kind: str
    engine: str
    title: str
    description: str
    access: str
    """`read-only` or `read-write`."""
    conflict: bool
    """Whether its workers serve different targets under this name: then it cannot be called."""
    total: Figures
    instances: dict[str, Figures]
    """By the id of the worker process."""


class Status(msgspec.Struct, kw_only=True):
    """Everything that is on the bus, in order of names."""

    workers: list[Instance]
    sources: list[SourceStatus]
    complete: bool = True
    """Whether all of it is here; there was too much, if not."""


class Survey:
    """Readings of one bus; rates are between two of them."""

    def __init__(self, client: Client, inbox: str) -> None:
        """`inbox` is a prefix where the workers may answer, and the client may hear it."""
        self._client = client
        self._inbox = inbox
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    async def read(self) -> Status:
        """How everything is now. Raises BusUnreachable."""
        infos, stats, complete = await self._ask()
        now = time.monotonic()
        workers: list[Instance] = []
        offers: defaultdict[str, dict[str, tuple[Advertisement, Figures]]] = defaultdict(dict)
        last: dict[tuple[str, str], tuple[float, int]] = {}
        for (name, instance), info in infos.items():
            numbers = stats.get((name, instance)) or _Stats(name, instance)
            by_name = {endpoint.name: endpoint for endpoint in numbers.endpoints}
            sources: dict[str, Figures] = {}
            for endpoint in info.endpoints:
                offer = advertising.offered(name, endpoint.name, endpoint.subject, endpoint.metadata)
                if offer is None:
                    continue
                if len(last) >= MOST_SOURCES:
                    complete = False
                    break
                source_id = f"{offer.kind}.{endpoint.name}"
                counted = by_name.get(endpoint.name) or _StatsEndpoint(endpoint.name)
                sources[source_id] = self._figures(instance, source_id, counted, now)
                last[instance, source_id] = (now, counted.num_requests)
                offers[source_id][instance] = (offer, sources[source_id])
            workers.append(
                Instance(
                    worker=name,
                    id=instance,
                    version=_words(info.version, 64),
                    started=_utc(numbers.started),
                    sources=sources,
                )
            )
        self._last = last
        workers.sort(key=lambda w: (w.worker, w.started or datetime.max.replace(tzinfo=UTC), w.id))
        return Status(
            workers=workers,
            sources=[_source(source_id, offers[source_id]) for source_id in sorted(offers)],
            complete=complete,
        )

    def _figures(self, instance: str, source: str, endpoint: _StatsEndpoint, now: float) -> Figures:
        data = endpoint.data or _Data()
        calls = endpoint.num_requests
        then, before = self._last.get((instance, source), (now, calls))
        said = endpoint.last_error or ""
        return Figures(
            calls=calls,
            errors=endpoint.num_errors,
            last_error=said if _CODE.fullmatch(said) else "",
            in_flight=data.in_flight,
            limit=data.limit,
            calls_per_second=max(0, calls - before) / (now - then) if now > then else 0.0,
            average_milliseconds=endpoint.processing_time / 1e6 / max(1, calls - data.in_flight),
        )

    async def _ask(self) -> tuple[Answers[_Info], Answers[_Stats], bool]:
        """What the workers answer, and whether that is all."""
        client, inbox = self._client, f"{self._inbox}.{secrets.token_hex(16)}"
        reconnects, error = client.stats["reconnects"], client.last_error
        try:
            answers = await client.subscribe(f"{inbox}.*", pending_bytes_limit=MOST_BYTES)
            try:
                for verb in ("INFO", "STATS"):
                    await client.publish(subjects.srv(verb), reply=f"{inbox}.{verb}")
                found = await _collect(answers)
            finally:
                with contextlib.suppress(NatsError):
                    await answers.unsubscribe()
        except NatsError:
            raise BusUnreachable("The connection to the bus was lost.") from None
        if client.last_error is not error and "permissions violation" in str(client.last_error).lower():
            raise BusUnreachable("The bus does not let this user ask who is there; the user ops may.")
        if not client.is_connected or client.stats["reconnects"] != reconnects:
            raise BusUnreachable("The connection to the bus was lost.")
        return found


async def _collect(answers: Subscription) -> tuple[Answers[_Info], Answers[_Stats], bool]:
    infos: Answers[_Info] = {}
    stats: Answers[_Stats] = {}
    size, wait = 0, FIRST_WITHIN
    try:
        async with asyncio.timeout(ALL_WITHIN):
            for _ in range(MOST_ANSWERS):
                message = await _next(answers, wait)
                if _nobody(message):
                    return infos, stats, True
                wait, size = QUIET, size + len(message.data)
                if size > MOST_BYTES:
                    break
                if message.subject.endswith(".INFO"):
                    _keep(message, _Info, infos)
                else:
                    _keep(message, _Stats, stats)
    except NoMore:
        return infos, stats, True
    except TimeoutError:
        pass
    return infos, stats, False


async def _next(answers: Subscription, wait: float) -> Msg:
    """The next answer. That it did not come while this process stood still says nothing of the workers."""
    while True:
        began = time.monotonic()
        try:
            return await answers.next_msg(wait)
        except NoMore:
            if time.monotonic() - began < wait + STILL:
                raise


def _keep(message: Msg, kind: type[A], found: Answers[A]) -> None:
    """The first answer of a worker process counts; one that is no such thing is left out."""
    with contextlib.suppress(msgspec.DecodeError):
        said = msgspec.json.decode(message.data, type=kind)
        if advertising.is_instance(f"{said.name}.{said.id}"):
            found.setdefault((said.name, said.id), said)


def _source(source_id: str, offers: dict[str, tuple[Advertisement, Figures]]) -> SourceStatus:
    advertisements = [offer for offer, _ in offers.values()]
    shown = advertising.shown(advertisements)
    total = Figures()
    for _, figures in offers.values():
        total = total.plus(figures)
    return SourceStatus(
        id=source_id,
        kind=shown.kind,
        engine=_words(shown.engine, 64),
        title=_words(shown.title, 200) or source_id.partition(".")[2],
        description=_words(shown.description, 2000),
        access=_words(shown.access, 64),
        conflict=advertising.differ(advertisements),
        total=total,
        instances={instance: figures for instance, (_, figures) in offers.items()},
    )


def _words(text: str, most: int) -> str:
    """As much as is shown: on one line, without what steers a terminal or makes a text read as another."""
    return "".join(c for c in " ".join(text[:most].split()) if c.isprintable())


def _utc(moment: datetime | None) -> datetime | None:
    try:
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except OverflowError:
        return None


def _nobody(message: Msg) -> bool:
    return (message.headers or {}).get("Status") == "503"
