"""One request between the client and a worker: grants added, frames passed on, questions asked, the reply checked."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from isthmus import logs
from isthmus.auditing import Report
from isthmus.errors import IsthmusError, ToolError, WorkerFailed
from isthmus.messages import ClientCan, LogLevel, Method
from isthmus.results import ERROR_META
from isthmus_mcp_gateway import audit, questions
from isthmus_mcp_gateway.audit import Audit, CallEvent
from isthmus_mcp_gateway.calls import Calls, Outgoing
from isthmus_mcp_gateway.frames import Frames
from isthmus_mcp_gateway.inbox import OnFrame
from isthmus_mcp_gateway.policy import PolicyWatch
from isthmus_mcp_gateway.questions import Asked, Context
from isthmus_mcp_gateway.targets import Target
from isthmus_mcp_gateway.tokens import Claims

logger = logging.getLogger("isthmus.endpoint")


class _Meta(msgspec.Struct):
    code: str = msgspec.field(name=ERROR_META, default="")


class _Head(msgspec.Struct, rename="camel"):
    """What the gateway itself reads of a reply: enough to refuse a broken one."""

    result_type: Literal["complete", "input_required"]
    is_error: bool = False
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


class _Table(msgspec.Struct):
    rows: list[msgspec.Raw] = []


class _Tabular(msgspec.Struct):
    table: _Table = msgspec.field(name="structuredContent", default_factory=_Table)


def _rows(reply: bytes) -> int:
    """Rows of an answer that is a table; 0: it is none."""
    try:
        return len(msgspec.json.decode(reply, type=_Tabular).table.rows)
    except msgspec.DecodeError:
        return 0


@dataclass(slots=True)
class Called:
    """What log and audit trail say of one call: only names that are ours, nothing that the caller made up."""

    claims: Claims
    audit: Audit
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    name: str = "unknown tool"
    source: str = ""
    method: Method = "tools/call"
    read_only: bool = True
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    bytes: int = 0
    rows: int = 0
    trace: str = ""
    outcome: str = "failed"
    written: list[Report] = field(default_factory=list[Report])
    ended: bool = False
    line: logs.CallLine = field(default_factory=logs.CallLine)

    def on_report(self, report: Report) -> None:
        """What the worker has written; it may tell so when the caller has long gone."""
        if self.ended:
            self._record([report], late=True)
        else:
            self.written.append(report)

    def write(self) -> None:
        """The line in the log, and the event; of a task both come twice. Completions leave no event: clients ask for
        them at every key that is pressed."""
        self.ended = self.outcome != "task"
        if self.method != "completion/complete":
            self._record(self.written)
            self.written = []
        claims = self.claims
        self.line.log(
            logger,
            logging.INFO,
            self.name,
            self.source,
            self.outcome,
            principal=claims.sub,
            namespace=claims.service,
        )

    def _record(self, reports: list[Report], *, late: bool = False) -> None:
        claims = self.claims
        self.audit.put(
            CallEvent(
                time=audit.now(),
                gateway=self.audit.gateway_id,
                call=self.id,
                trace=self.trace,
                principal=claims.sub,
                client=claims.client_id,
                service=claims.service,
                method="" if self.method == "tools/call" else self.method,
                tool=self.name,
                read_only=self.read_only,
                arguments=self.arguments,
                source=self.source,
                outcome=self.outcome,
                milliseconds=self.line.milliseconds,
                bytes=self.bytes,
                rows=self.rows,
                written=tuple(written for report in reports for written in report.written),
                left_out=sum(report.left_out for report in reports),
                late=late,
            )
        )


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the client of a 2026 call sent with it beyond the arguments."""

    answers: Mapping[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])
    state: str = ""


@asynccontextmanager
async def logged(claims: Claims, audit: Audit, admit: Callable[[Claims], None]) -> AsyncGenerator[Called]:
    """One line of the log and one event for one call, whatever comes of it. `admit` raises what keeps the caller from
    calling at all."""
    called = Called(claims, audit)
    token = logs.current_call.set(called.id)
    try:
        admit(claims)
        yield called
    except IsthmusError as error:
        called.outcome = error.code
        raise
    except asyncio.CancelledError:
        called.outcome = "cancelled"
        raise
    finally:
        try:
            called.write()
        finally:
            logs.current_call.reset(token)


class Relay:
    """Makes the requests of clients at workers."""

    def __init__(self, calls: Calls, policy: PolicyWatch, call_timeout: float) -> None:
        self._calls = calls
        self._policy = policy
        self.call_timeout = call_timeout

    async def run(
        self, context: Context, target: Target, called: Called, inputs: Inputs, least: LogLevel | None
    ) -> bytes:
        """The worker's result in JSON; a 2025 client has answered all questions. Raises CallError, or ToolError."""
        modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
        for _ in range(questions.ROUNDS):
            frames = Frames(context, least)
            try:
                reply = await self.call(
                    target,
                    called,
                    inputs,
                    questions.client_can(context.session.client_capabilities),
                    frames.put,
                    context.request.headers.get("traceparent", "") if context.request is not None else "",
                )
            finally:
                await frames.end()
            if modern or called.outcome != "input_required":
                return reply
            asked = msgspec.json.decode(reply, type=Asked)
            inputs = Inputs(await questions.answers(context, asked), asked.request_state)
            called.id = secrets.token_hex(12)
        raise WorkerFailed(f"The worker asked more than {questions.ROUNDS} times during one call.")

    async def call(
        self,
        target: Target,
        called: Called,
        inputs: Inputs,
        client: ClientCan,
        on_frame: OnFrame | None = None,
        traceparent: str = "",
        seconds: float | None = None,
    ) -> bytes:
        """One round: the worker's result in JSON, which may be questions. Raises CallError, or ToolError."""
        called.name, called.source = target.name, target.source_id
        called.method, called.read_only = target.method, target.read_only
        called.trace = called.trace or audit.trace_id(traceparent)
        policy, claims = self._policy.current, called.claims
        tool = target.name if target.method == "tools/call" else ""
        reply = await self._calls.make(
            Outgoing(
                kind=target.kind,
                source=target.source,
                name=target.name,
                method=target.method,
                read_only=target.read_only,
                principal=policy.principal(claims),
                grants={source: policy.granted(claims, source, tool) for source in {target.source_id, *target.others}},
                arguments=target.arguments,
                uri=target.uri,
                client=client,
                answers=dict(inputs.answers),
                state=inputs.state,
                seconds=self.call_timeout if seconds is None else seconds,
                traceparent=traceparent,
                id=called.id,
            ),
            on_frame,
            None if target.read_only else called.on_report,
        )
        try:
            head = msgspec.json.decode(reply, type=_Head)
        except msgspec.DecodeError:
            logger.exception("%s answered with something that is no result", target.name)
            raise WorkerFailed from None
        called.bytes, called.rows = len(reply), _rows(reply)
        if head.result_type == "input_required":
            questions.check(target.method, client, reply)
            called.outcome = "input_required"
        else:
            called.outcome = (head.meta.code or ToolError.code) if head.is_error else "ok"
        return reply
