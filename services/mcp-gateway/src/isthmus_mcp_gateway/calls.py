"""A call on its way to a worker: sent, sent again where that is safe, waiting its turn, lost, cancelled."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import msgspec
from nats.errors import Error as NatsError

from isthmus import subjects
from isthmus.errors import Busy, DeadlineExceeded, NoWorker, OutcomeUnknown, WorkerLost
from isthmus.grants import Granted
from isthmus.messages import TIMEOUT_HEADER, VERSION, VERSION_HEADER, ClientCan, Envelope, Method, Principal
from isthmus_mcp_gateway.inbox import Inbox, OnFrame, OnReport

logger = logging.getLogger("isthmus.calls")

AT_ONCE = 4
"""A busy answer means not begun: the call is sent again this often at once, perhaps to another worker."""
TURN = 0.02
"""Seconds after which the first in a line tries again, even if no answer came in between."""
WAITING = 1000
"""Calls that may wait in one source's line."""
ABSENT_FOR = 1.0
"""Seconds for which a call looks for a source's worker that is not there."""
GRACE = 0.5
"""Seconds beyond the deadline that a worker has to say so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One call to be made."""

    kind: str
    source: str
    name: str
    """The tool, prompt, resource or completed argument."""
    method: Method = "tools/call"
    read_only: bool
    principal: Principal
    grants: dict[str, Granted]
    arguments: bytes
    """A JSON object."""
    uri: str = ""
    client: ClientCan = field(default_factory=ClientCan)
    answers: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])
    state: str = ""
    seconds: float
    traceparent: str = ""
    """The caller's trace (W3C Trace Context), empty if it has none."""
    id: str
    """Unique; logs name it."""


class Calls:
    """Makes calls; one line of waiting calls per source."""

    def __init__(self, inbox: Inbox, on_absence: Callable[[], None]) -> None:
        """`on_absence` is told when a source that should be there did not answer."""
        self._inbox = inbox
        self._on_absence = on_absence
        # Held by the calls under way alone: sources come and go, and their lines with them.
        self._lines = WeakValueDictionary[str, Line]()

    async def make(self, call: Outgoing, on_frame: OnFrame | None = None, on_report: OnReport | None = None) -> bytes:
        """The worker's reply, a result of MCP in JSON. Raises CallError, or ToolError."""
        try:
            async with asyncio.timeout(call.seconds + GRACE):
                return await self._make(call, on_frame, on_report)
        except TimeoutError:
            raise DeadlineExceeded from None

    async def _make(self, call: Outgoing, on_frame: OnFrame | None, on_report: OnReport | None) -> bytes:
        line = self._lines.setdefault(f"{call.kind}.{call.source}", Line())
        deadline, absent_since, busy, lost = time.monotonic() + call.seconds, 0.0, 0, 0
        if line.waiting:
            await line.wait(again=False)
        while True:
            try:
                attempt = f"{call.id}.{lost}" if lost else call.id
                reply = await self._send(call, attempt, deadline, on_frame, on_report)
            except Busy:
                busy += 1
                if busy > AT_ONCE:
                    await line.wait(again=busy > AT_ONCE + 1)
            except NoWorker:
                self._on_absence()
                absent_since = absent_since or time.monotonic()
                if time.monotonic() - absent_since > ABSENT_FOR:
                    raise
                await asyncio.sleep(0.05)
            except WorkerLost:
                lost += 1
                if not call.read_only:
                    raise OutcomeUnknown from None
                if lost > 1:
                    raise
                await self._inbox.until_here()
                self._on_absence()
            else:
                line.release()
                return reply

    async def _send(
        self, call: Outgoing, attempt: str, deadline: float, on_frame: OnFrame | None, on_report: OnReport | None
    ) -> bytes:
        """One attempt, which has an id of its own: when it is given up the worker is told, and must not run it late."""
        milliseconds = int((deadline - time.monotonic()) * 1000)
        if milliseconds <= 0:
            raise DeadlineExceeded
        envelope = Envelope(
            attempt,
            call.principal,
            call.grants,
            msgspec.Raw(call.arguments),
            call.method,
            call.uri,
            call.client,
            call.answers,
            call.state,
        )
        headers = {VERSION_HEADER: VERSION, TIMEOUT_HEADER: str(milliseconds)}
        if call.traceparent:
            headers["traceparent"] = call.traceparent
        subject = subjects.call(call.kind, call.source, call.name)
        try:
            return await self._inbox.request(
                call.kind, subject, msgspec.json.encode(envelope), headers, on_frame=on_frame, on_report=on_report
            )
        except NatsError as error:
            logger.debug("the call was not sent: %s", type(error).__name__)
            raise NoWorker from None
        except (asyncio.CancelledError, WorkerLost):
            await self._inbox.cancel(attempt)
            raise


class Line:
    """Calls that wait for a place at one source, first come, first served."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, *, again: bool) -> None:
        """Returns when it is this call's turn; `again` keeps its place at the head. Raises Busy if the line is full."""
        if len(self.waiting) >= WAITING:
            raise Busy
        turn = asyncio.get_running_loop().create_future()
        if again:
            self.waiting.appendleft(turn)
        else:
            self.waiting.append(turn)
        self._arm()
        try:
            await turn
        finally:
            if turn in self.waiting:
                self.waiting.remove(turn)

    def release(self) -> None:
        """An answer came, so a place is free: the first in line may go."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TURN, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.release()
        if self.waiting:
            self._arm()
