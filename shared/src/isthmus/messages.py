"""What travels in one call: the envelope to the worker, the frames back, and the headers of both.

The final reply is a result of MCP itself (`results.py`).

A body that a receiver does not fully know is still read: unknown fields of an envelope are ignored. A change that may
not be ignored raises VERSION.
"""

from typing import Any, Literal

import msgspec

from isthmus.grants import Granted

VERSION = "1"

VERSION_HEADER = "Isthmus-Version"
"""On every call; a worker refuses versions that it does not know."""
TIMEOUT_HEADER = "Isthmus-Timeout"
"""Milliseconds that the caller still waits, counted from arrival: clocks need not agree."""
FRAME_HEADER = "Isthmus-Frame"
"""On what comes before the final reply: `working`, `progress`, `log`, or `task`: the call takes longer."""
WORKER_HEADER = "Isthmus-Worker"
"""On every frame: the id of the service instance that works on the call."""
CODE_HEADER = "Isthmus-Error"
"""The code from the error catalogue, beside the two headers of ADR-32."""
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"

Frame = Literal["working", "progress", "log", "task"]
Method = Literal["tools/call", "prompts/get", "resources/read", "completion/complete"]
LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
"""The severities of RFC 5424, least first, as MCP spells them."""


class Principal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who calls, through what."""

    id: str
    """The `sub` of the access token."""
    client_id: str
    service: str
    """The namespace of the MCP service."""
    attributes: dict[str, str] = {}
    """What row filters may name as `{user.<attribute>}`."""


class ClientCan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the caller's client can be asked for: MCP's client capabilities, as far as workers need them."""

    elicitation: bool = False
    """A form for the user."""
    sampling: bool = False
    roots: bool = False


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a call."""

    id: str
    """Unique; `isthmus.cancel` and the logs name it."""
    principal: Principal
    grants: dict[str, Granted]
    """`<kind>.<source>` → the caller's grants, for every source that the arguments name."""
    arguments: msgspec.Raw
    """A JSON object: a tool's arguments as the client sent them, a prompt's, or the variables of a resource's URI."""
    method: Method = "tools/call"
    """What is called by the name that the subject ends with: a tool, a prompt, a resource, or the completion of an
    argument of that name."""
    uri: str = ""
    """The resource that is read."""
    client: ClientCan = ClientCan()
    answers: dict[str, msgspec.Raw] = {}
    """MCP's `inputResponses`: the client's answers to what an `InputRequiredResult` asked for, by its keys."""
    state: str = ""
    """The `requestState` of that result, as the worker made it."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a `progress` frame."""

    progress: float
    total: float | None = None
    message: str | None = None


class Log(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a `log` frame: a message for the client's log."""

    level: LogLevel
    data: Any
    """Any JSON value."""
    logger: str | None = None
