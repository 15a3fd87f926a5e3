"""From a call's envelope to MCP's result: arguments checked, grants checked, the function run within its time."""

import asyncio
import re
from collections.abc import Iterable
from typing import TypeVar, cast

import msgspec

from isthmus.asking import Conversation, InputRequired
from isthmus.definitions import Definition
from isthmus.errors import (
    BadCall,
    DeadlineExceeded,
    InvalidArguments,
    IsthmusError,
    NotAllowed,
    NotFound,
    ToolError,
    UnknownTool,
    near,
)
from isthmus.grants import Granted
from isthmus.messages import Envelope
from isthmus.results import (
    BlobResourceContents,
    CallToolResult,
    CompleteResult,
    Completion,
    Content,
    GetPromptResult,
    PromptMessage,
    ReadResourceResult,
    Reply,
    ResourceContents,
    TextContent,
    TextResourceContents,
    failure,
)
from isthmus.tools import Call, Completer, Function, Result, Source, Toolbox, Wire

T = TypeVar("T")
D = TypeVar("D", bound=Definition)
A = TypeVar("A", bound=msgspec.Struct)

COMPLETED = 100
"""Values in a completion at most (MCP)."""

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_JSON_NAMES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


class _Completing(msgspec.Struct):
    """The arguments of `completion/complete`."""

    value: str
    known: dict[str, str] = {}


async def answer(
    toolbox: Toolbox[T], source: Source[T], name: str, envelope: Envelope, seconds: float, wire: Wire
) -> Reply:
    """Runs one call. What the caller of a tool can mend comes back as a result with `isError`.

    For the other methods it is raised, as ToolError: MCP answers those with protocol errors.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await _answer(toolbox, source, name, envelope, seconds, wire)
    except InputRequired as question:
        return question.result
    except (ToolError, TimeoutError) as error:
        if isinstance(error, TimeoutError) and not limit.expired():
            raise  # the function's own, such as a socket's: a failure like any other
        problem = error if isinstance(error, ToolError) else DeadlineExceeded()
        if envelope.method != "tools/call":
            raise problem from None
        return failure(problem.message, problem.code)


async def _answer(
    toolbox: Toolbox[T], source: Source[T], name: str, envelope: Envelope, seconds: float, wire: Wire
) -> Reply:
    try:
        conversation = Conversation.of(envelope)
    except msgspec.DecodeError:
        raise BadCall from None
    granted = envelope.grants.get(f"{toolbox.kind}.{source.name}", Granted(""))
    if not toolbox.objects:
        granted = granted.whole()
    call = Call(envelope.id, envelope.principal, source, granted, seconds, wire, conversation, envelope.uri)
    match envelope.method:
        case "tools/call":
            if (tool := toolbox.tool_of(source, name)) is None:
                raise UnknownTool(f"{source.name} has no such tool; a read-only source has none that write.")
            return tool_result(await _run(call, tool, envelope))
        case "prompts/get":
            if (prompt := toolbox.prompts.get(name)) is None:
                raise NotFound(f"{source.name} has no prompt of that name.")
            return prompt_result(await _run(call, prompt, envelope, strict=False), prompt.definition.description)
        case "resources/read":
            if (resource := toolbox.resources.get(name)) is None:
                raise NotFound(f"{source.name} has no such resource.")
            contents = await _run(call, resource, envelope, strict=False)
            return resource_result(contents, envelope.uri, resource.definition.mime_type or None)
        case "completion/complete":
            return await _complete(call, toolbox.completers.get(name), envelope)


async def _run(call: Call[T], function: Function[T, D], envelope: Envelope, *, strict: bool = True) -> object:
    definition = function.definition
    _check_grant(call, definition.actions)
    arguments = decode(envelope.arguments, definition.name, function.arguments, strict=strict)
    named = next(iter(definition.sources), "")
    if getattr(arguments, named, None) not in (None, "", call.source.name):
        raise InvalidArguments(f"The call was for {call.source.name}, but `{named}` names another source.")
    return await function.run(call, arguments)


async def _complete(call: Call[T], completer: Completer[T] | None, envelope: Envelope) -> CompleteResult:
    if completer is None or not call.granted.allows_any(completer.actions):
        return CompleteResult(completion=Completion(values=()))
    wanted = decode(envelope.arguments, "the completion", _Completing)
    values = await completer.run(call, wanted.value, wanted.known)
    return CompleteResult(completion=Completion(values=tuple(values[:COMPLETED]), has_more=len(values) > COMPLETED))


def _check_grant(call: Call[T], actions: Iterable[str]) -> None:
    if not call.granted.allows_any(actions):
        raise NotAllowed(f"You may not {' or '.join(actions)} in {call.source.name}.")


def decode(raw: msgspec.Raw, name: str, arguments: type[A], *, strict: bool = True) -> A:
    """The arguments as their Struct; not strict: from texts. Raises InvalidArguments with the place and the cure."""
    try:
        return msgspec.json.decode(raw, type=arguments, strict=strict)
    except msgspec.ValidationError as error:
        raise InvalidArguments(arguments_sentence(str(error), name, arguments)) from None
    except msgspec.DecodeError:
        raise InvalidArguments("The arguments are not a valid JSON object.") from None


def tool_result(returned: object) -> CallToolResult:
    """MCP's result for what a tool returned."""
    content: tuple[Content, ...]
    if isinstance(returned, CallToolResult):
        return returned
    if isinstance(returned, str):
        return CallToolResult(content=(TextContent(returned),))
    if isinstance(returned, Result):
        result = cast("Result[msgspec.Struct]", returned)
        structured, content = msgspec.json.encode(result.structured), result.content
    elif isinstance(returned, msgspec.Struct):
        structured = msgspec.json.encode(returned)
        text: object = getattr(returned, "text", None)
        content = (TextContent(str(text()) if callable(text) else structured.decode()),)
    else:
        raise IsthmusError(f"A tool returned {type(returned).__name__}, which is no result.")
    return CallToolResult(content=content, structured_content=msgspec.Raw(structured))


def prompt_result(returned: object, description: str) -> GetPromptResult:
    """MCP's result for what a prompt returned: text, or messages."""
    if isinstance(returned, str):
        messages = (PromptMessage(TextContent(returned)),)
    else:
        messages = tuple(cast("Iterable[PromptMessage]", returned))
    return GetPromptResult(messages=messages, description=description)


def resource_result(returned: object, uri: str, mime_type: str | None) -> ReadResourceResult:
    """MCP's result for what a resource returned: text, bytes or contents."""
    contents: tuple[ResourceContents, ...]
    match returned:
        case str():
            contents = (TextResourceContents(returned, mime_type),)
        case bytes():
            contents = (BlobResourceContents.of(returned, mime_type),)
        case TextResourceContents() | BlobResourceContents():
            contents = (returned,)
        case _:
            contents = tuple(cast("Iterable[ResourceContents]", returned))
    return ReadResourceResult(
        contents=tuple(part if part.uri else msgspec.structs.replace(part, uri=uri) for part in contents)
    )


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
