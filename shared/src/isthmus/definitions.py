"""What workers offer, as they advertise it: tools, prompts, resources and completions."""

import hashlib
from typing import Literal

import msgspec

from isthmus.schemas import JsonSchema


class Annotations(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """MCP's hints about what a tool does to the data. The two in the middle mean nothing for one that only reads."""

    read_only_hint: bool
    destructive_hint: bool | msgspec.UnsetType = msgspec.UNSET
    idempotent_hint: bool | msgspec.UnsetType = msgspec.UNSET
    open_world_hint: bool = False


class Definition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What tools, prompts and resources have in common, before they are merged over sources."""

    name: str
    title: str
    description: str
    scope: str
    """The OAuth scope that a caller's token must have."""
    actions: tuple[str, ...]
    """One of these a grant must allow on every source that the call names; the worker checks further."""
    sources: dict[str, str]
    """Argument → kind of the source that it names; the first one routes the call. A resource whose URI names no source
    has none: any source that offers it will do."""


class ToolDefinition(Definition, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One tool."""

    input_schema: JsonSchema
    output_schema: JsonSchema | msgspec.UnsetType = msgspec.UNSET
    annotations: Annotations
    task_support: Literal["forbidden", "optional", "required"] = "forbidden"
    """Whether a call may become a task (the extension `io.modelcontextprotocol/tasks`), or must."""


class PromptArgument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One argument of a prompt; its value is text."""

    name: str
    description: str = ""
    required: bool = False


class PromptDefinition(Definition, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One prompt."""

    arguments: tuple[PromptArgument, ...] = ()


class ResourceDefinition(Definition, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One resource, or all that a template stands for (RFC 6570, `{name}` and `{+name}`)."""

    uri_template: str
    mime_type: str = ""
    object: str = ""
    """The variable that names the table or path which grants speak of; empty: the source as a whole."""


class DefinitionSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that a source offers; sources with equal sets share one digest."""

    version: str
    """The worker's version. Where two sets define a tool, the higher version is shown."""
    tools: tuple[ToolDefinition, ...] = ()
    prompts: tuple[PromptDefinition, ...] = ()
    resources: tuple[ResourceDefinition, ...] = ()
    completions: tuple[str, ...] = ()
    """The arguments of prompts and resources that the worker can complete."""

    def encode(self) -> bytes:
        """The JSON that travels, and that the digest is of."""
        return msgspec.json.encode(self)


def digest(encoded: bytes) -> str:
    """Names a set of definitions: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(encoded).hexdigest()[:32]
