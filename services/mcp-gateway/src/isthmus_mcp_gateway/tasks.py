"""Calls that outlive their request: the extension `io.modelcontextprotocol/tasks` (SEP-2663) for every worker.

A task belongs to the gateway that began it, which its id names, and to the caller who did. The worker says when a call
becomes one; until then it is an ordinary call.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as types
import msgspec
from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import decode_header_value

from isthmus.errors import Busy, DeadlineExceeded, IsthmusError, WorkerFailed
from isthmus.messages import ClientCan, LogLevel, Progress
from isthmus_mcp_gateway import questions
from isthmus_mcp_gateway.calls import GRACE
from isthmus_mcp_gateway.frames import Frames
from isthmus_mcp_gateway.protocol_errors import is_modern
from isthmus_mcp_gateway.questions import Asked, Context
from isthmus_mcp_gateway.relay import Called, Inputs, Relay
from isthmus_mcp_gateway.targets import Target
from isthmus_mcp_gateway.tokens import Claims

EXTENSION = "io.modelcontextprotocol/tasks"
REQUIRED: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}

LIVES = 3600.0
"""Seconds from the beginning of a task to its end, whatever it is doing."""
POLL_EVERY = 0.5
"""Seconds that a client should wait between two questions."""
MOST = 1000
"""Tasks of one gateway."""
MOST_OF_ONE = 50
"""Tasks of one caller."""

Status = Literal["working", "input_required", "completed", "cancelled", "failed"]
Caller = tuple[str, str, str]
"""User, client and MCP service."""


class TaskParams(types.RequestParams):
    """What `tasks/get` and `tasks/cancel` name."""

    task_id: str


class UpdateParams(TaskParams):
    """The answers that `tasks/update` brings."""

    input_responses: dict[str, Any] | None = None


@dataclass(eq=False)
class Task:
    """One call, from its beginning on."""

    id: str
    caller: Caller
    began: float = field(default_factory=time.time)
    changed: float = field(default_factory=time.time)
    status: Status = "working"
    message: str | None = None
    asked: dict[str, Any] = field(default_factory=dict[str, Any])
    """Questions without an answer."""
    answers: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])
    result: bytes = b""
    """The result in JSON, once there is one."""
    error: dict[str, Any] = field(default_factory=dict[str, Any])
    """The protocol's error, if it came to that."""
    detached: asyncio.Event = field(default_factory=asyncio.Event)
    """The worker said that this takes longer."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    job: asyncio.Task[bytes] | None = None
    """While it runs."""

    def show(self) -> dict[str, Any]:
        """The task as the extension has it."""
        shown: dict[str, Any] = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": _timestamp(self.began),
            "lastUpdatedAt": _timestamp(self.changed),
            "ttlMs": int(LIVES * 1000),
            "pollIntervalMs": int(POLL_EVERY * 1000),
        }
        if self.result:
            shown["result"] = msgspec.json.decode(self.result)
        if self.error:
            shown["error"] = self.error
        if self.message is not None:
            shown["statusMessage"] = self.message
        if self.asked:
            shown["inputRequests"] = self.asked
        return shown

    def becomes(self, status: Status) -> None:
        """The next status."""
        self.status, self.changed = status, time.time()

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ("completed", "cancelled", "failed")


class Tasks:
    """The tasks of this gateway."""

    def __init__(self, relay: Relay, gateway_id: str, claims_of: Callable[[Context], Claims]) -> None:
        self._relay = relay
        self._gateway_id = gateway_id
        self._claims_of = claims_of
        self._tasks: dict[str, Task] = {}

    def offer(self, server: Server[Any]) -> None:
        """Adds the extension to the server."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", UpdateParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    def may_begin(self, context: Context, target: Target) -> bool:
        """Whether the call may become a task. Raises MCPError if it must and the client knows no tasks."""
        knows = is_modern(context) and _knows_tasks(context)
        if target.task_support == "required" and not knows:
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool runs as a task.", REQUIRED)
        return knows and target.task_support != "forbidden"

    async def run(
        self, context: Context, target: Target, called: Called, inputs: Inputs, least: LogLevel | None
    ) -> bytes:
        """The worker's reply, or the task that the call became. Raises CallError, or ToolError."""
        task = Task(f"{self._gateway_id}.{secrets.token_urlsafe(24)}", _caller(called.claims))
        self._make_room(task.caller)
        frames, client = Frames(context, least), questions.client_can(context.session.client_capabilities)

        def on_frame(frame: str, body: bytes) -> None:
            if frame == "task":
                task.detached.set()
            elif not task.detached.is_set():
                frames.put(frame, body)
            elif frame == "progress":
                with contextlib.suppress(msgspec.DecodeError):
                    task.message = msgspec.json.decode(body, type=Progress).message or task.message

        async def work() -> bytes:
            try:
                async with asyncio.timeout(LIVES):
                    return await self._work(task, target, called, inputs, client, on_frame)
            except TimeoutError:
                raise DeadlineExceeded from None

        job = task.job = asyncio.create_task(work())
        detached = asyncio.create_task(task.detached.wait())
        self._tasks[task.id] = task  # already now: calls that may become tasks are bounded, too
        try:
            within = self._relay.call_timeout + GRACE
            await asyncio.wait((job, detached), timeout=within, return_when=asyncio.FIRST_COMPLETED)
            await frames.end()
            if task.detached.is_set():
                came, called.outcome = called.outcome, "task"
                job.add_done_callback(lambda job: _settle(task, called, job, came))
                return msgspec.json.encode({"resultType": "task", **task.show()})
            if not job.done():
                raise DeadlineExceeded
            return job.result()
        finally:
            detached.cancel()
            if not task.detached.is_set() or called.outcome != "task":
                job.cancel()
                del self._tasks[task.id]

    async def get(self, context: Context, params: TaskParams) -> dict[str, Any]:
        """`tasks/get`."""
        return {"resultType": "complete", **self._find(context, params).show()}

    async def update(self, context: Context, params: UpdateParams) -> dict[str, Any]:
        """`tasks/update`: answers to some or all of the questions."""
        task = self._find(context, params)
        for key, answer in (params.input_responses or {}).items():
            if key in task.asked:
                try:
                    task.answers[key] = msgspec.Raw(msgspec.json.encode(answer))
                except UnicodeEncodeError:
                    raise MCPError(types.INVALID_PARAMS, "An answer is not valid Unicode text.") from None
                del task.asked[key]
                task.changed = time.time()
        if not task.asked:
            task.answered.set()
        return {"resultType": "complete"}

    async def cancel(self, context: Context, params: TaskParams) -> dict[str, Any]:
        """`tasks/cancel`: the worker is told, too; a task that has ended stays as it is."""
        task = self._find(context, params)
        if task.job is not None:
            task.job.cancel()
        return {"resultType": "complete"}

    def end(self) -> None:
        """The gateway ends, and its tasks with it."""
        for task in self._tasks.values():
            if task.job is not None:
                task.job.cancel()

    async def _work(
        self,
        task: Task,
        target: Target,
        called: Called,
        inputs: Inputs,
        client: ClientCan,
        on_frame: Callable[[str, bytes], None],
    ) -> bytes:
        for _ in range(questions.ROUNDS):
            reply = await self._relay.call(target, called, inputs, client, on_frame, seconds=LIVES)
            if called.outcome != "input_required" or not task.detached.is_set():
                return reply
            asked = msgspec.json.decode(reply, type=Asked)
            task.answers, task.asked = {}, _decoded(asked.input_requests)
            task.answered.clear()
            task.becomes("input_required")
            await task.answered.wait()
            task.becomes("working")
            inputs = Inputs(task.answers, asked.request_state)
            called.id = secrets.token_hex(12)
        raise WorkerFailed(f"The worker asked more than {questions.ROUNDS} times during one call.")

    def _find(self, context: Context, params: TaskParams) -> Task:
        named = context.request.headers.get("mcp-name") if context.request is not None else None
        if decode_header_value(named) != params.task_id:
            raise MCPError(types.HEADER_MISMATCH, "The header Mcp-Name does not name the task.")
        if not _knows_tasks(context):
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "The request does not declare tasks.", REQUIRED)
        task = self._tasks.get(params.task_id)
        if task is None or task.caller != _caller(self._claims_of(context)):
            raise MCPError(types.INVALID_PARAMS, "There is no task of that id.")
        return task

    def _make_room(self, caller: Caller) -> None:
        """Forgets what is over its time, and where it must the oldest that ended. Raises Busy if all of them go on."""
        now = time.time()
        self._tasks = {key: task for key, task in self._tasks.items() if now - task.began < LIVES}
        own = [task for task in self._tasks.values() if task.caller == caller]
        if len(own) >= MOST_OF_ONE and not self._forget_one(own):
            raise Busy("You have too many tasks under way; try again when one of them has ended.")
        if len(self._tasks) >= MOST and not self._forget_one(self._tasks.values()):
            raise Busy("There are too many tasks under way; try again later.")

    def _forget_one(self, tasks: Iterable[Task]) -> bool:
        """Forgets the oldest of those that have ended."""
        oldest = min((task for task in tasks if task.has_ended), key=lambda task: task.began, default=None)
        if oldest is not None:
            del self._tasks[oldest.id]
        return oldest is not None


def _settle(task: Task, called: Called, job: "asyncio.Task[bytes]", came: str) -> None:
    """What became of it. A tool's own error is a result; `failed` is for calls that had none.

    `came` is the outcome of a call that had ended when it became a task.
    """
    task.asked, task.job = {}, None  # what the call had in hand, up to its arguments, hangs on its exception
    if job.cancelled():
        called.outcome = "cancelled"
        task.becomes("cancelled")
    elif (error := job.exception()) is None:
        task.result = job.result()
        task.becomes("completed")
        if called.outcome == "task":
            called.outcome = came
    else:
        known = error if isinstance(error, IsthmusError) else WorkerFailed()
        called.outcome = known.code
        task.error = {"code": types.INTERNAL_ERROR, "message": known.message, "data": {"code": known.code}}
        task.becomes("failed")
    called.write()


def _caller(claims: Claims) -> Caller:
    return claims.sub, claims.client_id, claims.service


def _knows_tasks(context: Context) -> bool:
    declared = context.session.client_capabilities
    return declared is not None and EXTENSION in (declared.extensions or {})


def _decoded(requests: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    return {key: msgspec.json.decode(raw) for key, raw in requests.items()}


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
