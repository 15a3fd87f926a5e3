"""What a worker answers with: MCP's results, as they go on to the client.

These Structs are written, never read back: where MCP has a choice that JSON alone does not tell apart, so have they.
"""

import base64
from typing import Literal

import msgspec


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


class TextResourceContents(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A resource that is text. An empty URI stands for the one that was asked for."""

    text: str
    mime_type: str | None = None
    uri: str = ""


class BlobResourceContents(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A resource that is bytes; `blob` is base64. An empty URI stands for the one that was asked for."""

    blob: str
    mime_type: str | None = None
    uri: str = ""

    @classmethod
    def of(cls, data: bytes, mime_type: str | None = None) -> "BlobResourceContents":
        """A resource from its bytes."""
        return cls(base64.b64encode(data).decode(), mime_type)


ResourceContents = TextResourceContents | BlobResourceContents


class EmbeddedResource(msgspec.Struct, frozen=True, tag_field="type", tag="resource"):
    """A resource inside an answer."""

    resource: msgspec.Raw

    @classmethod
    def of(cls, contents: ResourceContents) -> "EmbeddedResource":
        """The resource from its contents, which must have a URI."""
        return cls(msgspec.Raw(msgspec.json.encode(contents)))


class ResourceLink(
    msgspec.Struct, frozen=True, tag_field="type", tag="resource_link", rename="camel", omit_defaults=True
):
    """A resource that the client may read."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    """Bytes."""


Content = TextContent | ImageContent | AudioContent | EmbeddedResource | ResourceLink


class CallToolResult(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The final reply to `tools/call`: MCP's `CallToolResult`, as JSON."""

    content: tuple[Content, ...]
    structured_content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    is_error: bool = False
    result_type: Literal["complete"] = "complete"
    meta: dict[str, str] | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)


class PromptMessage(msgspec.Struct, frozen=True):
    """One message of a prompt."""

    content: Content
    role: Literal["user", "assistant"] = "user"


class GetPromptResult(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The final reply to `prompts/get`."""

    messages: tuple[PromptMessage, ...]
    description: str | msgspec.UnsetType = msgspec.UNSET
    result_type: Literal["complete"] = "complete"


class ReadResourceResult(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The final reply to `resources/read`."""

    contents: tuple[ResourceContents, ...]
    result_type: Literal["complete"] = "complete"


class Completion(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Values that an argument may have, at most 100 (MCP)."""

    values: tuple[str, ...]
    has_more: bool = False


class CompleteResult(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The final reply to `completion/complete`."""

    completion: Completion
    result_type: Literal["complete"] = "complete"


InputMethod = Literal["elicitation/create", "sampling/createMessage", "roots/list"]


class InputRequest(msgspec.Struct, frozen=True):
    """One thing to ask the client for."""

    method: InputMethod
    params: msgspec.Raw


class InputRequiredResult(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A reply that is not final: the call is to be made again with the answers to these requests, and the state."""

    input_requests: dict[str, InputRequest]
    request_state: str
    result_type: Literal["input_required"] = "input_required"


Reply = CallToolResult | GetPromptResult | ReadResourceResult | CompleteResult | InputRequiredResult

ERROR_META = "isthmus/error"
"""The key in a failed result's `_meta` that holds the code from the error catalogue."""


def failure(message: str, code: str) -> CallToolResult:
    """A tool error: one sentence that a model can act on."""
    return CallToolResult(content=(TextContent(message),), is_error=True, meta={ERROR_META: code})


def outcome(reply: Reply) -> str:
    """`ok`, `input_required`, or the code from the error catalogue: what the log says of a reply."""
    if isinstance(reply, CallToolResult) and reply.meta is not msgspec.UNSET:
        return reply.meta.get(ERROR_META, "ok")
    return "input_required" if isinstance(reply, InputRequiredResult) else "ok"
