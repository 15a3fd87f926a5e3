"""The calls that a worker has under way: each from its message to its reply, with frames between, or cancelled."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from isthmus import logs, subjects
from isthmus.advertising import Endpoint
from isthmus.answering import answer
from isthmus.auditing import Trail, Written
from isthmus.errors import BadCall, CallError, IsthmusError, OutcomeUnknown, TooLarge, ToolError, WorkerFailed
from isthmus.messages import (
    CODE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    FRAME_HEADER,
    TIMEOUT_HEADER,
    VERSION,
    VERSION_HEADER,
    WORKER_HEADER,
    Envelope,
    Frame,
)
from isthmus.results import failure, outcome
from isthmus.tools import Source, Toolbox

T = TypeVar("T")

logger = logging.getLogger("isthmus.worker")

FIRST_FRAME = 0.5
"""Seconds until a call that runs shows that it is alive, then each FRAME_EVERY."""
FRAME_EVERY = 1.0
CANCELLED_FOR = 60.0
"""Seconds for which a cancellation is remembered that came before its call."""
CANCELLED_MOST = 10_000
REPORTED_FOR = 600.0
"""Seconds for which the report of what a call has written is kept: the gateway may be cut off when it is sent."""
REPORTED_MOST = 1000
NOTHING: Mapping[str, str] = {}


@dataclass(slots=True)
class Running:
    """A call under way; `shown` is when the caller last heard of it."""

    reply: str
    task: asyncio.Task[None]
    began: float = field(default_factory=time.monotonic)
    shown: float = 0.0


class RunningCalls(Generic[T]):
    """All of one worker."""

    def __init__(
        self, client: Client, toolbox: Toolbox[T], worker_id: str, offer: Callable[[], Awaitable[None]], key: str
    ) -> None:
        """`offer` tells everybody what the worker offers, anew; `key` is the secret that all workers share, if any."""
        self.client = client
        self.kind = toolbox.kind
        self.offer = offer
        self._toolbox = toolbox
        self._worker_id = worker_id
        self.secret = hmac.digest((key or secrets.token_hex()).encode(), b"what a worker signs", hashlib.sha256)
        self.running: dict[str, Running] = {}
        self.cancelled: dict[str, float] = {}
        self.reported: dict[str, tuple[float, str, dict[str, str]]] = {}
        """When, where to, and as what headers, by call."""

    async def on_cancel(self, message: Msg) -> None:
        """A call is no longer wanted; it may not have come yet, or its reply may have been lost with the bus."""
        call_id = message.data.decode(errors="replace")
        if (running := self.running.get(call_id)) is not None:
            running.task.cancel()
        elif (reported := self.reported.get(call_id)) is not None:
            _, reply, report = reported
            await self.refuse(reply, OutcomeUnknown(), report)
        elif len(self.cancelled) < CANCELLED_MOST:
            self.cancelled[call_id] = time.monotonic()

    async def look_after(self, now: float) -> None:
        """Those that take long show that they are alive; cancellations that met no call are forgotten."""
        self.cancelled = {key: at for key, at in self.cancelled.items() if now - at < CANCELLED_FOR}
        self.reported = {key: entry for key, entry in self.reported.items() if now - entry[0] < REPORTED_FOR}
        for running in list(self.running.values()):
            if now - running.began >= FIRST_FRAME and now - running.shown >= FRAME_EVERY:
                await self.frame(running, "working", b"")

    async def frame(self, running: Running, frame: Frame, body: bytes) -> None:
        """Something before the final reply."""
        running.shown = time.monotonic()
        headers = {FRAME_HEADER: frame, WORKER_HEADER: self._worker_id}
        await self.client.publish(running.reply, body, headers=headers)

    async def refuse(self, reply: str, error: IsthmusError, report: Mapping[str, str] = NOTHING) -> None:
        """An answer that is no result (ADR-32)."""
        await self.client.publish(
            reply,
            headers={
                ERROR_CODE_HEADER: str(error.status),
                ERROR_HEADER: error.message,
                CODE_HEADER: error.code,
                **report,
            },
        )

    async def run(self, message: Msg, endpoint: Endpoint, source: Source[T]) -> None:
        """One call, from its message to its reply; the kit's one broad catch."""
        began, line, came = time.perf_counter_ns(), logs.CallLine(), "ok"
        source_id, trail = f"{self._toolbox.kind}.{source.name}", Trail()
        try:
            body, came = await self._answer(message, source, trail)
            await self.client.publish(message.reply, body, headers=trail.headers() or None)
        except (CallError, ToolError) as error:
            endpoint.errors += 1
            endpoint.last_error = came = error.code
            await self.refuse(message.reply, error, trail.headers())
        except asyncio.CancelledError:
            endpoint.errors += 1
            endpoint.last_error = came = "cancelled"
            if trail:  # nobody waits for it, and yet what was committed is put on record
                with contextlib.suppress(NatsError):
                    await self.refuse(message.reply, OutcomeUnknown(), trail.headers())
        except Exception as error:
            logger.exception("a call of %s failed", message.subject)
            endpoint.errors += 1
            endpoint.last_error, came = type(error).__name__, WorkerFailed.code
            await self.refuse(message.reply, WorkerFailed(), trail.headers())
        finally:
            endpoint.nanoseconds += time.perf_counter_ns() - began
            line.log(logger, logging.DEBUG, message.subject.rpartition(".")[2], source_id, came)

    async def _answer(self, message: Msg, source: Source[T], trail: Trail) -> tuple[bytes, str]:
        """The body of the reply, and what the log says of it."""
        headers = message.headers or {}
        if headers.get(VERSION_HEADER) != VERSION:
            raise BadCall(f"This worker speaks version {VERSION} of the call format.")
        try:
            seconds = int(headers[TIMEOUT_HEADER]) / 1000
            envelope = msgspec.json.decode(message.data, type=Envelope)
        except (KeyError, ValueError, msgspec.DecodeError):
            raise BadCall from None
        logs.current_call.set(envelope.id)
        if self.cancelled.pop(envelope.id, None) is not None:
            raise asyncio.CancelledError
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (this is a coroutine)
        running = self.running[envelope.id] = Running(message.reply, task)
        try:
            name = message.subject.rpartition(".")[2]
            wire = CallWire(self, running, source.name, trail)
            reply = await answer(self._toolbox, source, name, envelope, seconds, wire)
        finally:
            del self.running[envelope.id]
            if trail:
                self._remember(envelope.id, message.reply, trail.headers())
        body = msgspec.json.encode(reply)
        if len(body) > self.client.max_payload - 1024 - trail.size:
            if envelope.method != "tools/call":
                raise TooLarge
            reply = failure(TooLarge().message, TooLarge.code)
            body = msgspec.json.encode(reply)
        return body, outcome(reply)

    def _remember(self, call_id: str, reply: str, report: dict[str, str]) -> None:
        """A report that gets lost with the bus is told again when the gateway, back on it, cancels the call."""
        if len(self.reported) >= REPORTED_MOST:
            del self.reported[next(iter(self.reported))]
        self.reported[call_id] = (time.monotonic(), reply, report)


@dataclass(frozen=True)
class CallWire(Generic[T]):
    """What one running call says before its answer."""

    calls: RunningCalls[T]
    running: Running
    source: str
    trail: Trail

    async def frame(self, frame: Frame, body: bytes) -> None:
        """To the caller; what is too large for the bus is left out."""
        if len(body) < self.calls.client.max_payload - 1024:
            await self.calls.frame(self.running, frame, body)

    def sign(self, said: bytes) -> bytes:
        """HMAC-SHA256 with a secret of the workers."""
        return hmac.digest(self.calls.secret, said, hashlib.sha256)

    async def updated(self, uri: str) -> None:
        """To every gateway."""
        await self.calls.client.publish(subjects.updated(self.calls.kind, self.source), uri.encode())

    async def offer_changed(self) -> None:
        """To every gateway."""
        await self.calls.offer()

    def wrote(self, written: Written) -> None:
        """To the gateway, with the final reply."""
        self.trail.add(written)
