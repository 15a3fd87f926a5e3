"""From a call's envelope to MCP's result: arguments checked, grants checked, the tool run within its time."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import msgspec

from isthmus.errors import (
    DeadlineExceeded,
    InvalidArguments,
    IsthmusError,
    NotAllowed,
    ToolError,
    UnknownTool,
    near,
)
from isthmus.messages import CallToolResult, Content, Envelope, TextContent, failure
from isthmus.tools import Call, Result, Source, Tool, Toolbox

T = TypeVar("T")

Report = Callable[[float, float | None, str | None], Awaitable[None]]

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


async def answer(
    toolbox: Toolbox[T], source: Source[T], tool: Tool[T] | None, envelope: Envelope, seconds: float, progress: Report
) -> CallToolResult:
    """Runs one call. What the caller can mend comes back as a result with `isError`; nothing else is caught."""
    try:
        if tool is None:
            raise UnknownTool(f"{source.name} has no such tool; a read-only source has none that write.")
        granted = envelope.grants.get(f"{toolbox.kind}.{source.name}")
        actions = tool.definition.actions
        if granted is None or not granted.allows_any(actions):
            raise NotAllowed(f"You may not {' or '.join(actions)} in {source.name}.")
        arguments = decode(envelope.arguments, tool)
        named = next(iter(tool.definition.sources), "")
        if getattr(arguments, named, None) not in (None, "", source.name):
            raise InvalidArguments(f"The call was for {source.name}, but `{named}` names another source.")
        call = Call(envelope.id, envelope.principal, source, granted, seconds, progress)
        async with asyncio.timeout(seconds):
            return render(await tool.run(call, arguments))
    except TimeoutError:
        return failure(DeadlineExceeded().message, DeadlineExceeded.code)
    except ToolError as error:
        return failure(error.message, error.code)


def decode(raw: msgspec.Raw, tool: Tool[T]) -> msgspec.Struct:
    """The arguments as the tool's Struct. Raises InvalidArguments with the place and the cure."""
    try:
        return msgspec.json.decode(raw, type=tool.arguments)
    except msgspec.ValidationError as error:
        raise InvalidArguments(arguments_sentence(str(error), tool.definition.name, tool.arguments)) from None
    except msgspec.DecodeError:
        raise InvalidArguments("The arguments are not a valid JSON object.") from None


def render(returned: object) -> CallToolResult:
    """MCP's result for what a tool function returned."""
    content: tuple[Content, ...]
    if isinstance(returned, str):
        return CallToolResult(content=(TextContent(returned),))
    if isinstance(returned, Result):
        structured, content = msgspec.json.encode(cast("Result[msgspec.Struct]", returned).structured), returned.content
    elif isinstance(returned, msgspec.Struct):
        structured = msgspec.json.encode(returned)
        text: object = getattr(returned, "text", None)
        content = (TextContent(str(text()) if callable(text) else structured.decode()),)
    else:
        raise IsthmusError(f"A tool returned {type(returned).__name__}, which is no result.")
    return CallToolResult(content=content, structured_content=msgspec.Raw(structured))


def arguments_sentence(problem: str, tool: str, arguments: type[msgspec.Struct]) -> str:
    """What is wrong with a tool's arguments, from msgspec's own message."""
    text, _, path = problem.partition(" - at `$")
    where = path.rstrip("`").lstrip(".")
    if unknown := _UNKNOWN.fullmatch(text):
        name = unknown.group(1)[:64]
        fields = [] if where else [field.encode_name for field in msgspec.structs.fields(arguments)]
        return f"{tool} has no argument `{name}`.{near(name, fields)}"
    text = re.sub(r"`(str|int|float|bool)\b", lambda match: "`" + _JSON_NAMES[match.group(1)], text)
    return f"`{where}`: {text}." if where else f"{text}."
