"""The short way for the two requests that clients of 2026-07-28 make most: `tools/list` and a plain `tools/call`.

The SDK validates and models every request and result; for these two that is most of what the gateway would do. What is
not exactly one of them (another method, a progress token, answers, a task, anything unknown or wrong) goes on to the
SDK; the checks here are the SDK's own functions.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Literal

import mcp_types as types
import msgspec
import pydantic
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.streamable_http import check_accept_headers
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundModernRoute,
    classify_inbound_request,
    find_duplicated_routing_header,
)
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus_mcp_gateway.endpoint import Endpoint, Plain
from isthmus_mcp_gateway.gate import CLAIMS, read_body, replay_body
from isthmus_mcp_gateway.questions import client_can
from isthmus_mcp_gateway.tokens import Claims

_JSON = (b"content-type", b"application/json")
_PLAIN_META = frozenset({PROTOCOL_VERSION_META_KEY, CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY})
_PARAMETERS = b"mcp-param-"


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    meta: dict[str, Any] = msgspec.field(name="_meta")
    name: str = ""
    arguments: dict[str, Any] | None = None


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    jsonrpc: Literal["2.0"]
    id: int | str
    method: Literal["tools/list", "tools/call"]
    params: _Params


class _Answer(msgspec.Struct, frozen=True):
    id: int | str
    result: msgspec.Raw
    jsonrpc: Literal["2.0"] = "2.0"


class Quick:
    """Answers those requests itself; all others go on."""

    def __init__(
        self, inner: ASGIApp, endpoint: Endpoint, security: TransportSecuritySettings, server_info: Mapping[str, Any]
    ) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._security = TransportSecurityMiddleware(security)
        self._server_info = msgspec.Raw(msgspec.json.encode(server_info))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, behind the gate."""
        if scope["method"] == "POST" and _is_modern(scope):
            body = await read_body(receive) or b""
            again = replay_body(body, receive)
            request = Request(scope, again)
            if (wanted := _plain(body, request)) is not None:
                error = await self._security.validate_request(request, is_post=True)
                try:
                    result = await self._result(scope, request, wanted, receive) if error is None else None
                except MCPError as refusal:
                    await _respond(send, _refused(wanted.id, refusal), ERROR_CODE_HTTP_STATUS.get(refusal.code, 200))
                    return
                if result is not None:
                    await _respond(send, msgspec.json.encode(_Answer(wanted.id, result)))
                    return
            receive = again
        await self._inner(scope, receive, send)

    async def _result(self, scope: Scope, request: Request, wanted: _Request, receive: Receive) -> msgspec.Raw | None:
        """None: the SDK has to answer."""
        claims: Claims = scope[CLAIMS]
        view = self._endpoint.view_of(claims)
        if wanted.method == "tools/list":
            return self._stamped(view.tools_json)
        if wanted.params.name not in view.plain_tools:
            return None
        try:
            declared = types.ClientCapabilities.model_validate(wanted.params.meta[CLIENT_CAPABILITIES_META_KEY])
        except pydantic.ValidationError:
            return None
        call = Plain(
            wanted.params.name,
            wanted.params.arguments or {},
            client_can(declared),
            request.headers.get("traceparent", ""),
        )
        reset = auth_context_var.set(scope["user"])
        try:
            reply = await _unless_gone(self._endpoint.call_plain(claims, view, call), receive)
        finally:
            auth_context_var.reset(reset)
        if reply is None:
            return msgspec.Raw(b"{}")  # nobody hears it
        return self._stamped(reply)

    def _stamped(self, reply: bytes) -> msgspec.Raw:
        """The result, with who made it (2026-07-28, `serverInfo` in `_meta`)."""
        result = msgspec.json.decode(reply, type=dict[str, msgspec.Raw])
        meta = msgspec.json.decode(result["_meta"], type=dict[str, msgspec.Raw]) if "_meta" in result else {}
        result["_meta"] = msgspec.Raw(msgspec.json.encode({**meta, SERVER_INFO_META_KEY: self._server_info}))
        return msgspec.Raw(msgspec.json.encode(result))


def _is_modern(scope: Scope) -> bool:
    version = next((value for name, value in scope["headers"] if name == b"mcp-protocol-version"), b"")
    return version.decode("latin-1") in MODERN_PROTOCOL_VERSIONS


def _plain(body: bytes, request: Request) -> _Request | None:
    """The request, if it is exactly one of those that are answered here; else None."""
    try:
        wanted = msgspec.json.decode(body, type=_Request)
    except (msgspec.DecodeError, RecursionError):
        return None
    params, headers = wanted.params, request.headers
    if not params.meta.keys() <= _PLAIN_META or (wanted.method == "tools/list" and (params.name or params.arguments)):
        return None
    if any(name.startswith(_PARAMETERS) for name, _ in headers.raw) or not all(check_accept_headers(request)):
        return None
    if find_duplicated_routing_header(headers.items()) is not None:
        return None
    named = {"name": params.name, "_meta": params.meta} if wanted.method == "tools/call" else {"_meta": params.meta}
    route = classify_inbound_request({"method": wanted.method, "params": named}, headers=dict(headers))
    if not isinstance(route, InboundModernRoute) or not isinstance(route.client_capabilities, dict):
        return None
    return wanted


async def _unless_gone(work: Coroutine[None, None, bytes], receive: Receive) -> bytes | None:
    """The work's outcome; None: the client went away, and the work was stopped."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))


def _refused(request_id: int | str, error: MCPError) -> bytes:
    """As the SDK answers it."""
    problem = error.error.model_dump(mode="json", by_alias=True, exclude_none=True)
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": problem})


async def _respond(send: Send, body: bytes, status: int = 200) -> None:
    headers = [_JSON, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
