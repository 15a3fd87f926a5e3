"""What travels in one call: the envelope to the worker, the result back, and the headers of both.

A body that a receiver does not fully know is still read: unknown fields of an envelope are ignored. A change that may
not be ignored raises VERSION.
"""

import base64
from typing import Literal

import msgspec

from isthmus.grants import Granted

VERSION = "1"

VERSION_HEADER = "Isthmus-Version"
"""On every call; a worker refuses versions that it does not know."""
TIMEOUT_HEADER = "Isthmus-Timeout"
"""Milliseconds that the caller still waits, counted from arrival: clocks need not agree."""
FRAME_HEADER = "Isthmus-Frame"
"""On what comes before the final reply: `working`, `progress` or `log`."""
WORKER_HEADER = "Isthmus-Worker"
"""On every frame: the id of the service instance that works on the call."""
CODE_HEADER = "Isthmus-Error"
"""The code from the error catalogue, beside the two headers of ADR-32."""
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"

Frame = Literal["working", "progress", "log"]


class Principal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who calls, through what."""

    id: str
    """The `sub` of the access token."""
    client_id: str
    service: str
    """The namespace of the MCP service."""
    attributes: dict[str, str] = {}
    """What row filters may name as `{user.<attribute>}`."""


class Envelope(msgspec.Struct, frozen=True):
    """The body of a call."""

    id: str
    """Unique; `isthmus.cancel` and the logs name it."""
    principal: Principal
    grants: dict[str, Granted]
    """`<kind>.<source>` → the caller's grants, for every source that the arguments name."""
    arguments: msgspec.Raw
    """The tool's arguments, a JSON object, as the client sent them."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a `progress` frame."""

    progress: float
    total: float | None = None
    message: str | None = None


class TextContent(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """Text for the model."""

    text: str


class ImageContent(msgspec.Struct, frozen=True, tag_field="type", tag="image", rename="camel"):
    """An image; `data` is base64."""

    data: str
    mime_type: str

    @classmethod
    def of(cls, data: bytes, mime_type: str) -> "ImageContent":
        """An image from its bytes."""
        return cls(base64.b64encode(data).decode(), mime_type)


class AudioContent(msgspec.Struct, frozen=True, tag_field="type", tag="audio", rename="camel"):
    """A sound; `data` is base64."""

    data: str
    mime_type: str

    @classmethod
    def of(cls, data: bytes, mime_type: str) -> "AudioContent":
        """A sound from its bytes."""
        return cls(base64.b64encode(data).decode(), mime_type)


Content = TextContent | ImageContent | AudioContent


class CallToolResult(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The final reply: MCP's `CallToolResult`, as JSON."""

    content: tuple[Content, ...]
    structured_content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    is_error: bool = False
    result_type: Literal["complete"] = "complete"
    meta: dict[str, str] | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)

    @property
    def code(self) -> str:
        """`ok`, or the code from the error catalogue."""
        return "ok" if self.meta is msgspec.UNSET else self.meta.get(ERROR_META, "ok")


ERROR_META = "isthmus/error"
"""The key in a failed result's `_meta` that holds the code from the error catalogue."""


def failure(message: str, code: str) -> CallToolResult:
    """A tool error: one sentence that a model can act on."""
    return CallToolResult(content=(TextContent(message),), is_error=True, meta={ERROR_META: code})
