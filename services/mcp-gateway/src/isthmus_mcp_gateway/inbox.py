"""The gateway's side of request/reply: one wildcard inbox per kind of worker, and a table of calls under way."""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from isthmus import auditing, subjects
from isthmus.auditing import Report
from isthmus.errors import (
    CATALOGUE,
    CallError,
    IsthmusError,
    NoWorker,
    OutcomeUnknown,
    ToolError,
    WorkerFailed,
    WorkerLost,
)
from isthmus.messages import (
    CODE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    FRAME_HEADER,
)

logger = logging.getLogger("isthmus.calls")

USER = "gateway"

SILENCE = 2.0
"""Seconds without a frame after which a call counts as lost."""
TICK = 0.25
CANCELLED_MOST = 1000
CANCELLED_FOR = 10.0
"""Seconds for which a cancellation is remembered: a connection can be dead for some before anybody knows."""
AGAIN_FOR = 3.0
"""Seconds after the return of the bus for which they are said again each TICK: workers may come back later than we."""

LATE_MOST = 1000
LATE_FOR = 600.0
"""Seconds for which the worker of an abandoned call may still tell what it has written: it may be cut off for long."""

OnFrame = Callable[[str, bytes], None]
"""Gets the kind of each frame and its body; it must not hold up the other replies."""
OnReport = Callable[[Report], None]
"""Gets what the final reply says was written, however late that comes."""


@dataclass(slots=True)
class Pending:
    """A request whose final reply has not come."""

    done: asyncio.Future[bytes]
    on_frame: OnFrame | None = None
    heard: float = field(default_factory=time.monotonic)


class Inbox:
    """Every reply to this gateway's requests comes here. Workers can publish only under their own kind."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._connection = secrets.token_hex(6)
        self._pending: dict[str, Pending] = {}
        self._reports: dict[str, tuple[float, OnReport]] = {}
        """Who wants to hear what was written, and until when; the reply itself may be awaited no longer."""
        self._gathering: dict[str, asyncio.Queue[Msg]] = {}
        self._kinds: set[str] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._cancelled: dict[str, float] = {}
        self._again_until = 0.0
        self._here = asyncio.Event()
        self._here.set()

    async def open(self) -> None:
        """Subscribes to what any worker may answer on, and begins to look for lost calls."""
        await self.open_kind(subjects.SRV)
        self._ticker = asyncio.create_task(self._tick())

    async def open_kind(self, kind: str) -> None:
        """Subscribes to replies of one kind of worker, once."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            await self.client.subscribe(f"{subjects.inbox(USER)}.{kind}.{self._connection}.*", cb=self._on_reply)
            await self.client.flush()

    def close(self) -> None:
        """Ends the look-out."""
        if self._ticker is not None:
            self._ticker.cancel()

    async def request(
        self,
        kind: str,
        subject: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        on_frame: OnFrame | None = None,
        on_report: OnReport | None = None,
    ) -> bytes:
        """The final reply's body. Raises IsthmusError; waits for ever on a worker that shows it is alive."""
        reply = self._address(kind)
        pending = self._pending[reply] = Pending(asyncio.get_running_loop().create_future(), on_frame)
        if on_report is not None:
            self._reports[reply] = (math.inf, on_report)
        try:
            await self.client.publish(subject, body, reply=reply, headers=headers)
            return await pending.done
        except NatsError:  # nothing was sent
            self._reports.pop(reply, None)
            raise
        finally:
            del self._pending[reply]
            self._keep_listening(reply)

    async def cancel(self, call_id: str) -> None:
        """Tells the worker that has this call, or will get it, that nobody wants it any more.

        While the bus is away the worker goes on; it hears of it once both are back.
        """
        self._cancelled[call_id] = time.monotonic()
        if len(self._cancelled) > CANCELLED_MOST:
            del self._cancelled[next(iter(self._cancelled))]
        await self._say_cancelled(call_id)

    def away(self) -> None:
        """The bus is gone, and with it every reply that was to come: what waits for one is told so at once."""
        self._here.clear()
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(WorkerLost())

    async def back(self) -> None:
        """The bus is here again."""
        now = time.monotonic()
        self._cancelled = dict.fromkeys(self._cancelled, now)
        self._again_until = now + AGAIN_FOR
        for call_id in list(self._cancelled):
            await self._say_cancelled(call_id)
        self._here.set()

    async def until_here(self) -> None:
        """Returns at once, unless the bus is away."""
        await self._here.wait()

    async def gather(self, subject: str, seconds: float) -> list[bytes]:
        """All replies that come within the time."""
        reply = self._address(subjects.SRV)
        queue = self._gathering[reply] = asyncio.Queue[Msg](maxsize=10_000)
        try:
            await self.client.publish(subject, reply=reply)
            await asyncio.sleep(seconds)
        finally:
            del self._gathering[reply]
        return [queue.get_nowait().data for _ in range(queue.qsize())]

    def _address(self, kind: str) -> str:
        return f"{subjects.inbox(USER)}.{kind}.{self._connection}.{secrets.token_hex(8)}"

    async def _on_reply(self, message: Msg) -> None:
        headers = message.headers or {}
        if (queue := self._gathering.get(message.subject)) is not None:
            if not headers.get("Status") and not queue.full():
                queue.put_nowait(message)
            return
        if FRAME_HEADER not in headers and (entry := self._reports.pop(message.subject, None)) is not None:
            _tell(headers, entry[1])
        pending = self._pending.get(message.subject)
        if pending is None or pending.done.done():
            return
        pending.heard = time.monotonic()
        if frame := headers.get(FRAME_HEADER):
            if pending.on_frame is not None:
                pending.on_frame(frame, message.data)
        elif headers.get("Status") == "503":
            pending.done.set_exception(NoWorker())
        elif ERROR_CODE_HEADER in headers:
            pending.done.set_exception(_error(headers))
        else:
            pending.done.set_result(message.data)

    def _keep_listening(self, reply: str) -> None:
        """If the call was given up before its final reply: its worker may still have something to report."""
        if (entry := self._reports.pop(reply, None)) is None:
            return
        given_up = [other for other, (until, _) in self._reports.items() if until < math.inf]
        if len(given_up) >= LATE_MOST:
            del self._reports[given_up[0]]
        self._reports[reply] = (time.monotonic() + LATE_FOR, entry[1])

    async def _tick(self) -> None:
        ticked = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            stood_still, ticked = now - ticked - TICK, now  # what came meanwhile has not been read yet
            self._give_up_the_silent(now, stood_still)
            self._reports = {reply: entry for reply, entry in self._reports.items() if now < entry[0]}
            if self._cancelled and self._here.is_set():
                if now < self._again_until:
                    for call_id in list(self._cancelled):
                        await self._say_cancelled(call_id)
                self._cancelled = {key: at for key, at in self._cancelled.items() if now - at < CANCELLED_FOR}

    def _give_up_the_silent(self, now: float, stood_still: float) -> None:
        """A function of its own: a loop in the ticker would hold the last call until the next one."""
        for pending in list(self._pending.values()):
            pending.heard += stood_still
            if now - pending.heard > SILENCE and not pending.done.done():
                pending.done.set_exception(WorkerLost())

    async def _say_cancelled(self, call_id: str) -> None:
        try:
            await self.client.publish(subjects.CANCEL, call_id.encode())
        except NatsError:
            logger.debug("the cancellation of a call waits for the bus")


def _tell(headers: dict[str, str], on_report: OnReport) -> None:
    try:
        report = auditing.read(headers)
    except (msgspec.DecodeError, RecursionError):
        logger.warning("a worker's report of what it has written cannot be read")
    else:
        if report is not None:
            on_report(report)


def _error(headers: dict[str, str]) -> IsthmusError:
    """What the worker refused the call with; of its own failures nothing is told."""
    kind = CATALOGUE.get(headers.get(CODE_HEADER, ""), CallError)
    if not headers[ERROR_CODE_HEADER].startswith("4") and not issubclass(kind, (ToolError, OutcomeUnknown)):
        return WorkerFailed()
    return kind(headers.get(ERROR_HEADER, ""))
