"""The audit trail: an event for every call, published to JetStream in batches and in order.

An event waits here until the stream has acknowledged it. While the bus or the stream is away events gather, up to a
bound; those beyond it are counted, and an event tells how many they were. Those that came first are kept: they are the
writes from before, while later calls find no bus to write over. What only reads leaves half of the room to writes.
"""

import asyncio
import logging
import re
import secrets
import time
from collections import deque
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import Header

from isthmus import lifetime, subjects
from isthmus.auditing import STREAM, Written

logger = logging.getLogger("isthmus.audit")

EVERY = 0.1
"""Seconds that an event waits for others to go with it."""
BATCH = 100
"""Events in one message."""
BATCH_BYTES = 1024 * 1024
MOST = 10_000
"""Events that wait."""
MOST_BYTES = 32 * 1024 * 1024
TOGETHER = 1.0
"""Seconds of refused requests that become one event."""
ALIKE = 100
"""Callers whose requests are told apart; of further ones only how many there were."""
ACKNOWLEDGED_WITHIN = 2.0
"""Seconds until a batch is sent again; the stream knows it by its id."""
AGAIN_AFTER = 0.25
WARN_EVERY = 60.0
CLOSE_WITHIN = 1.0
"""Seconds that the last events have to get out."""

_TRACE = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


class CallEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="call"):
    """A call of a tool, once its outcome is known."""

    time: str
    """When (ISO 8601, UTC)."""
    gateway: str
    """The id of the gateway."""
    call: str
    """The id of the call: logs of gateway and worker name it, too."""
    trace: str = ""
    """The trace id of the caller (W3C Trace Context)."""
    principal: str
    client: str
    service: str
    """The namespace of the MCP service."""
    method: str = ""
    """Of MCP; empty: `tools/call`."""
    tool: str
    """The tool, prompt or resource."""
    read_only: bool = False
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """What the caller sent, as far as the settings want it on record."""
    source: str = ""
    """`<kind>.<source>`; empty if the call named none that there is for this caller."""
    outcome: str
    """What the caller was told: `ok`, `input_required`, `task`, `cancelled`, or a code of the error catalogue."""
    milliseconds: float
    """Since the call began."""
    bytes: int = 0
    """Of the answer."""
    rows: int = 0
    """In the answer, if it is a table."""
    written: tuple[Written, ...] = ()
    left_out: int = 0
    """Further writes, which did not fit."""
    late: bool = False
    """The worker told this after the caller had been answered: it completes the call's earlier event."""


class RefusedEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="refused"):
    """Requests of one second that came no further than the gate, all alike."""

    time: str
    """When the first of them was refused."""
    gateway: str
    status: int
    """Of HTTP: 401, or 403 for a scope that is missing."""
    service: str
    principal: str = ""
    client: str = ""
    """Of the token, if it was valid."""
    scope: str = ""
    """The one that was missing."""
    count: int


class LostEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="lost"):
    """In this place events are missing: more had gathered than are kept."""

    time: str
    """When the first of them was lost."""
    gateway: str
    count: int


class Audit:
    """The gateway's events on their way to the stream."""

    def __init__(self, client: Client, gateway_id: str) -> None:
        self.gateway_id = gateway_id
        self._stream = client.jetstream()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._lost_since = ""
        self._refused: dict[tuple[int, str, str, str, str], tuple[str, int]] = {}
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        """There is a full batch, or nothing to wait for any more."""
        self._leaving = False
        self._warned = float("-inf")
        self._publishing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to publish. Events may come before."""
        self._publishing = asyncio.create_task(self._publish())
        self._publishing.add_done_callback(_publishing_ended)

    def put(self, event: CallEvent) -> None:
        """One more event; never waits."""
        self._put(msgspec.json.encode(event), event.time, MOST // 2 if event.read_only else MOST)

    def refuse(self, status: int, service: str, principal: str = "", client: str = "", scope: str = "") -> None:
        """One more request that was refused; those of a second that are alike become one event."""
        key = (status, service, principal, client, scope)
        if key not in self._refused and len(self._refused) >= ALIKE:
            key = (status, service, "", "", "")
        if not self._refused:
            asyncio.get_running_loop().call_later(TOGETHER, self._tell_refused)
        since, count = self._refused.get(key, (now(), 0))
        self._refused[key] = (since, count + 1)

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, {}
        for (status, service, principal, client, scope), (since, count) in refused.items():
            event = RefusedEvent(
                time=since,
                gateway=self.gateway_id,
                status=status,
                service=service,
                principal=principal,
                client=client,
                scope=scope,
                count=count,
            )
            self._put(msgspec.json.encode(event), since, MOST // 2)

    def _put(self, line: bytes, when: str, most: int) -> None:
        if len(self._waiting) >= most or self._bytes + len(line) > MOST_BYTES:
            self._lost_since = self._lost_since or when
            self._lost += 1
        else:
            self._add(line)

    async def close(self) -> None:
        """Returns when every event is acknowledged, or the time for it is over."""
        self._leaving = True
        self._tell_refused()
        self._some.set()
        self._many.set()
        if self._publishing is not None:
            await asyncio.wait([self._publishing], timeout=CLOSE_WITHIN)
            self._publishing.cancel()
        if left := len(self._waiting) + self._lost:
            logger.error("%d events of the audit trail are lost: the bus did not take them", left)

    def _add(self, line: bytes) -> None:
        self._waiting.append(line)
        self._bytes += len(line) + 1
        self._some.set()
        if len(self._waiting) >= BATCH:
            self._many.set()

    async def _publish(self) -> None:
        while self._waiting or not self._leaving:
            await self._some.wait()
            try:
                async with asyncio.timeout(EVERY):
                    await self._many.wait()
            except TimeoutError:
                pass
            if batch := self._batch():
                await self._send(b"\n".join(batch))
                self._done(batch)

    def _batch(self) -> list[bytes]:
        batch, size = list[bytes](), 0
        for line in self._waiting:
            size += len(line) + 1
            if len(batch) >= BATCH or size > BATCH_BYTES:
                break
            batch.append(line)
        return batch

    async def _send(self, body: bytes) -> None:
        """Returns once the stream has it."""
        headers = {Header.MSG_ID.value: secrets.token_hex(16)}
        while True:
            try:
                await self._stream.publish(
                    subjects.audit("gateway"), body, ACKNOWLEDGED_WITHIN, stream=STREAM, headers=dict(headers)
                )
            except (NatsError, TimeoutError) as error:
                self._warn(type(error).__name__)
                await asyncio.sleep(AGAIN_AFTER)
            else:
                return

    def _done(self, batch: list[bytes]) -> None:
        for _ in batch:
            self._bytes -= len(self._waiting.popleft()) + 1
        if self._lost:
            event = LostEvent(time=self._lost_since, gateway=self.gateway_id, count=self._lost)
            self._lost, self._lost_since = 0, ""
            self._add(msgspec.json.encode(event))
        if not self._leaving and len(self._waiting) < BATCH:
            self._many.clear()
            if not self._waiting:
                self._some.clear()

    def _warn(self, problem: str) -> None:
        if (now := time.monotonic()) - self._warned >= WARN_EVERY:
            self._warned = now
            logger.warning(
                "the audit trail cannot be written (%s): %d events wait, %d are lost",
                problem,
                len(self._waiting),
                self._lost,
            )


def _publishing_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.critical("the audit trail ended", exc_info=error)
        lifetime.fail("the audit trail can no longer be written")


def trace_id(traceparent: str) -> str:
    """The trace id of a `traceparent`; empty if it is none."""
    found = _TRACE.fullmatch(traceparent)
    return found.group(1) if found is not None else ""


def now() -> str:
    """The time for an event."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
