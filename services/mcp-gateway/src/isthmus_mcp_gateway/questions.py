"""What a worker wants to ask the client of a 2025 session: asked here, on the session, while the call is open.

Clients of 2026-07-28 get the `InputRequiredResult` itself and make the call again.
"""

import asyncio
from typing import Any, Literal

import mcp_types as types
import msgspec
import pydantic
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from isthmus.errors import ClientCannot, DeadlineExceeded, WorkerFailed
from isthmus.messages import ClientCan, Method

ANSWER_WITHIN = 300.0
"""Seconds that a person has for an answer."""
ROUNDS = 10
"""Times that a worker may ask during one call."""

Context = ServerRequestContext[Any, Any]


class _Request(msgspec.Struct, frozen=True):
    method: Literal["elicitation/create", "sampling/createMessage", "roots/list"]


class _Requests(msgspec.Struct, frozen=True, rename="camel"):
    input_requests: dict[str, _Request] = {}


class Asked(msgspec.Struct, frozen=True, rename="camel"):
    """The parts of an `InputRequiredResult`."""

    input_requests: dict[str, msgspec.Raw] = {}
    request_state: str = ""


def check(method: Method, client: ClientCan, reply: bytes) -> None:
    """That the worker asks where it may, and for what the client can answer. Raises ClientCannot, or WorkerFailed."""
    if method == "completion/complete":
        raise WorkerFailed
    try:
        requests = msgspec.json.decode(reply, type=_Requests).input_requests.values()
    except msgspec.DecodeError:
        raise WorkerFailed from None
    missing = sorted({_NEEDS[request.method] for request in requests if not getattr(client, _NEEDS[request.method])})
    if missing:
        wanted = " and ".join(_CALLED[name] for name in missing)
        raise ClientCannot(f"This needs {wanted}, which your client does not offer.", missing)


def client_can(declared: types.ClientCapabilities | None) -> ClientCan:
    """What a client can be asked for."""
    if declared is None:
        return ClientCan()
    forms = declared.elicitation
    return ClientCan(
        elicitation=forms is not None and (forms.form is not None or forms.url is None),
        sampling=declared.sampling is not None,
        roots=declared.roots is not None,
    )


async def answers(context: Context, asked: Asked) -> dict[str, msgspec.Raw]:
    """The client's answers, asked for at once. Raises ToolError."""
    asking = [asyncio.create_task(_ask(context, raw)) for raw in asked.input_requests.values()]
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            found = await asyncio.gather(*asking)
    except TimeoutError:
        raise DeadlineExceeded("Nobody answered the question of this call in time.") from None
    finally:  # one that failed ends the call, and with it the other questions
        for task in asking:
            task.cancel()
    return dict(zip(asked.input_requests, found, strict=True))


async def _ask(context: Context, raw: msgspec.Raw) -> msgspec.Raw:
    try:
        request = _REQUEST.validate_json(bytes(raw))
    except pydantic.ValidationError:
        raise WorkerFailed from None
    answer: type[pydantic.BaseModel]
    match request:
        case types.ElicitRequest():
            answer = types.ElicitResult
        case types.CreateMessageRequest():
            answer = types.CreateMessageResult
        case types.ListRootsRequest():
            answer = types.ListRootsResult
    try:
        result = await context.session.send_request(
            request, answer, metadata=ServerMessageMetadata(related_request_id=context.request_id)
        )
    except (MCPError, pydantic.ValidationError):
        raise ClientCannot("Your client did not answer the question of this call.") from None
    return msgspec.Raw(result.model_dump_json(by_alias=True, exclude_none=True).encode())


_REQUEST: pydantic.TypeAdapter[types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest] = (
    pydantic.TypeAdapter(types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest)
)

_NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_CALLED = {
    "elicitation": "an answer from the user in a form (MCP's elicitation)",
    "sampling": "an answer from the client's model (MCP's sampling)",
    "roots": "the client's roots",
}
