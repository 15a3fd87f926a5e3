"""The audit trail, read for administrators: the newest events first, what is new, or all of them.

A message of the stream holds several events, a line each. A position in the trail is a message and a line.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

from isthmus.auditing import STREAM
from isthmus_auth.answers import Refusal
from isthmus_auth.hashing import random_id

PAGE = 50
"""Events of a page."""
MOST_LOOKED_AT = 50_000
"""Events that are looked at for a page; then it says how far back that was."""
LONGEST = 1.5
"""Seconds for the same."""
NEWEST = 200
"""Messages that are looked at for what is new."""
AT_ONCE = 50
"""Messages that the bus sends at a time."""
WAIT = 3.0
"""Seconds for messages that must be there."""
LATE = 3600.0
"""Seconds that an event may have waited for the bus and is still found by `until`."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?)?")


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in the trail: before this line of this message of the stream."""

    message: int
    line: int = 0

    @classmethod
    def of(cls, text: str) -> "Position":
        """Raises Refusal."""
        message, _, line = text.partition(".")
        if not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (message, line)):
            raise Refusal(400, "That is no place in the audit trail.")
        return cls(int(message), int(line))

    def __str__(self) -> str:
        return f"{self.message}.{self.line}"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; empty: all."""

    search: str = ""
    """Text anywhere in the event, in either case."""
    event: str = ""
    principal: str = ""
    client: str = ""
    service: str = ""
    tool: str = ""
    source: str = ""
    outcome: str = ""
    """`ok`, `failed` for everything else, or a code."""
    since: str = ""
    until: str = ""
    """A day, or a time in UTC (ISO 8601); both are part of it."""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            if (text := getattr(self, name)) and not _TIME.fullmatch(text.removesuffix("Z")):
                raise Refusal(400, f"{name} is a day or a time in UTC, such as 2026-11-23 or 2026-11-23T14:05.")


class Found(msgspec.Struct, frozen=True):
    """An event, and where it is in the trail."""

    id: str
    event: dict[str, object]
    """As docs/audit.md has it; of whatever kind."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Events, the newest first."""

    events: list[Found]
    next_before: str | None
    """`before` of what comes before these; null: there is nothing."""
    newest: str
    """`after` of what is not there yet."""
    looked_back_to: str
    """The time of the oldest event that was looked at; empty: there was none."""


async def find(client: Client | None, wanted: Wanted, before: str = "", most: int = 0) -> Page:
    """The page before a place, or the newest; `most` are the events to look at, MOST_LOOKED_AT if it is 0.

    Raises Refusal.
    """
    async with _reading(client) as stream:
        state = (await stream.stream_info(STREAM)).state
        newest = Position(state.last_seq + 1)
        upper = min(newest, Position.of(before)) if before else newest
        if wanted.until:
            upper = min(upper, await _shortly_after(stream, wanted.until))
        found: list[Found] = []
        step, looked, oldest, end = 10, 0, "", time.monotonic() + LONGEST
        while True:
            last = upper.message if upper.line else upper.message - 1
            if last < state.first_seq:
                return _page(found, None, newest, oldest)
            first = max(state.first_seq, last - step + 1)
            some: deque[Found] = deque(maxlen=PAGE - len(found))
            stored = ""
            async for message, number in _messages(stream, first, last):
                stored = stored or _iso(message.metadata.timestamp)
                for place, line in enumerate(message.data.split(b"\n")):
                    if (number, place) >= (upper.message, upper.line):
                        break
                    looked += 1
                    if (event := matching(line, wanted)) is not None:
                        some.append(Found(str(Position(number, place)), event))
            oldest = stored or oldest
            found += reversed(some)
            upper = Position(first)
            if len(found) == PAGE:
                return _page(found, found[-1].id, newest, oldest)
            if wanted.since and stored and stored < wanted.since:
                return _page(found, None, newest, oldest)
            if looked > (most or MOST_LOOKED_AT) or time.monotonic() > end:
                return _page(found, str(upper), newest, oldest)
            step = min(step * 3, 300)


async def newer(client: Client | None, wanted: Wanted, after: str) -> Page:
    """What has come since. Raises Refusal."""
    async with _reading(client) as stream:
        state = (await stream.stream_info(STREAM)).state
        lower, newest = Position.of(after), Position(state.last_seq + 1)
        first = max(lower.message, state.first_seq, state.last_seq - NEWEST + 1)
        found: list[Found] = []
        if first <= state.last_seq:
            async for message, number in _messages(stream, first, state.last_seq):
                for place, line in enumerate(message.data.split(b"\n")):
                    here = Position(number, place)
                    if here >= lower and (event := matching(line, wanted)) is not None:
                        found.append(Found(str(here), event))
        return _page(found[::-1], None, max(lower, newest), "")


async def everything(client: Client | None, wanted: Wanted) -> AsyncGenerator[dict[str, object]]:
    """All events, in order of time. Raises Refusal."""
    async with _reading(client) as stream:
        state = (await stream.stream_info(STREAM)).state
        first = state.first_seq
        if wanted.since:
            first = max(first, (await _from(stream, wanted.since)).message)
        if first > state.last_seq:
            return
        async for message, _ in _messages(stream, first, state.last_seq):
            for line in message.data.split(b"\n"):
                if (event := matching(line, wanted)) is not None:
                    yield event


def matching(line: bytes, wanted: Wanted) -> dict[str, object] | None:
    """The event, if it is one of those; a line that cannot be read is an event, too."""
    text = line.decode("utf-8", "replace")
    if wanted.search and wanted.search.lower() not in text.lower():
        return None
    try:
        event = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        event: dict[str, object] = {"event": "unreadable", "text": text[:1000]}
    for name in ("event", "principal", "client", "service", "tool", "source"):
        if (value := getattr(wanted, name)) and event.get(name) != value:
            return None
    outcome = event.get("outcome", "ok")
    if wanted.outcome and (outcome == "ok" if wanted.outcome == "failed" else outcome != wanted.outcome):
        return None
    when = str(event.get("time", ""))
    if wanted.since and when < wanted.since.removesuffix("Z"):
        return None
    last = wanted.until.removesuffix("Z")
    return None if last and when[: len(last)] > last else event


@contextlib.asynccontextmanager
async def _reading(client: Client | None) -> AsyncGenerator[JetStreamContext]:
    if client is None or not client.is_connected:
        raise Refusal(503, "The bus is away, and the audit trail with it. Try again in a minute.")
    try:
        yield client.jetstream(timeout=WAIT)
    except NotFoundError:
        raise Refusal(503, "There is no audit trail on the bus yet. Try again in a minute.") from None
    except (NatsError, TimeoutError):
        raise Refusal(503, "The audit trail does not answer at the moment. Try again in a minute.") from None


async def _messages(stream: JetStreamContext, first: int, last: int) -> AsyncGenerator[tuple[Msg, int]]:
    """The messages between two numbers, both with it, with their numbers."""
    config = {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": first}
    async with _consumer(stream, config) as info:
        bound = await stream.pull_subscribe_bind(info.name, STREAM)
        try:
            number = first - 1
            while number < last:
                for message in await bound.fetch(min(AT_ONCE, last - number), WAIT):
                    number = message.metadata.sequence.stream
                    if number <= last:
                        yield message, number
        finally:
            with contextlib.suppress(NatsError):
                await bound.unsubscribe()


@contextlib.asynccontextmanager
async def _consumer(stream: JetStreamContext, start: dict[str, Any]) -> AsyncGenerator[ConsumerInfo]:
    name = f"console_{random_id()}"
    info = await stream.add_consumer(
        STREAM, ConsumerConfig(name=name, ack_policy=AckPolicy.NONE, inactive_threshold=30, mem_storage=True, **start)
    )
    try:
        yield info
    finally:
        with contextlib.suppress(NatsError, TimeoutError):
            async with asyncio.timeout(WAIT):
                await stream.delete_consumer(STREAM, name)


async def _from(stream: JetStreamContext, moment: str, later: float = 0.0) -> Position:
    """The first message from a moment on."""
    at = datetime.fromisoformat(moment.removesuffix("Z")).replace(tzinfo=UTC).timestamp() + later
    start = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_time": datetime.fromtimestamp(at, UTC)}
    async with _consumer(stream, start) as info:
        return Position((info.delivered.stream_seq if info.delivered else 0) + 1)


async def _shortly_after(stream: JetStreamContext, moment: str) -> Position:
    """Behind everything that is of that moment or before."""
    of_a_day = 24 * 3600.0 if len(moment) == len("2026-11-23") else 60.0
    return await _from(stream, moment, of_a_day + LATE)


def _page(found: list[Found], next_before: str | None, newest: Position, oldest: str) -> Page:
    return Page(events=found, next_before=next_before, newest=str(newest), looked_back_to=oldest)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
