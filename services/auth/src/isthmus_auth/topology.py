"""Who is on the bus and how each source does: read at most once a second, however many look."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from nats.aio.client import Client

from isthmus import subjects
from isthmus.survey import MOST_SOURCES, BusUnreachable, Figures, Instance, SourceStatus, Status, Survey

FRESH = 1.0
"""Seconds for which a reading is good."""
REMEMBERED = 60.0
"""Seconds for which a worker that does not answer any more is still shown."""
MOST_GONE = 200
"""Of those; the ones that went last are kept."""


class SeenWorker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process."""

    name: str
    """Such as `db-worker`."""
    id: str
    version: str
    started: datetime | None
    """Null: it did not say."""
    sources: list[str]
    """`<kind>.<source>`; of one that is gone those that it served."""
    gone_for: float | None
    """Seconds since it answered for the last time; null: it answers."""


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen on the bus."""

    bus: bool
    """Whether it could be asked; if not, all else is as it was before."""
    at: float
    """When, in seconds since the epoch."""
    workers: list[SeenWorker] = []
    sources: list[SourceStatus] = []
    """In order of ids; one without instances: none that served it answers any more."""
    complete: bool = True
    """Whether all of it is here; there was too much, if not."""


@dataclass(slots=True)
class _Heard:
    """A worker process, when it was last heard, and what it served then."""

    instance: Instance
    at: float
    sources: dict[str, SourceStatus]


class Watch:
    """Asks the workers, and remembers for a while who is gone."""

    def __init__(
        self, connected: Callable[[], Client | None], *, fresh: float = FRESH, remembered: float = REMEMBERED
    ) -> None:
        """`connected` gives the bus, if it is there."""
        self._connected = connected
        self._fresh = fresh
        self._remembered = remembered
        self._asking = asyncio.Lock()
        self._survey: tuple[Client, Survey] | None = None
        self._heard: dict[tuple[str, str], _Heard] = {}
        self._until = 0.0
        self._seen = Topology(bus=False, at=time.time())

    async def now(self) -> Topology:
        """How everything is. Whoever asks while somebody else does gets the same answer."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._seen = await self._look()
                self._until = time.monotonic() + self._fresh
            return self._seen

    async def _look(self) -> Topology:
        client = self._connected()
        if client is None or not client.is_connected:
            return self._away()
        if self._survey is None or self._survey[0] is not client:
            self._survey = client, Survey(client, f"{subjects.inbox('auth')}.{subjects.SRV}")
        try:
            status = await self._survey[1].read()
        except BusUnreachable:
            return self._away()
        return self._noted(status)

    def _away(self) -> Topology:
        return msgspec.structs.replace(self._seen, bus=False)

    def _noted(self, status: Status) -> Topology:
        now = time.monotonic()
        if not self._seen.bus:  # the bus was away from us: who does not answer yet may be on the way back
            for heard in self._heard.values():
                heard.at = now
        sources = {source.id: source for source in status.sources}
        present = {(one.worker, one.id) for one in status.workers}
        for one in status.workers:
            served = {name: sources[name] for name in one.sources}
            self._heard[one.worker, one.id] = _Heard(one, now, served)
        gone = [key for key in self._heard if key not in present]
        gone.sort(key=lambda key: self._heard[key].at, reverse=True)
        kept = 0
        for place, key in enumerate(gone):
            heard = self._heard[key]
            kept += len(heard.sources)
            if place >= MOST_GONE or kept > MOST_SOURCES or now - heard.at > self._remembered:
                del self._heard[key]
        left = [self._heard[key] for key in gone if key in self._heard]
        lost = {name: _lost(source) for heard in left for name, source in heard.sources.items() if name not in sources}
        return Topology(
            bus=True,
            at=time.time(),
            workers=[*map(_worker, status.workers), *(_worker(h.instance, now - h.at) for h in left)],
            sources=sorted([*status.sources, *lost.values()], key=lambda source: source.id),
            complete=status.complete,
        )


def _worker(instance: Instance, gone_for: float | None = None) -> SeenWorker:
    return SeenWorker(
        name=instance.worker,
        id=instance.id,
        version=instance.version,
        started=instance.started,
        sources=sorted(instance.sources),
        gone_for=gone_for,
    )


def _lost(source: SourceStatus) -> SourceStatus:
    return msgspec.structs.replace(source, conflict=False, total=Figures(), instances={})
