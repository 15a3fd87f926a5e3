"""A client of the MCP endpoints, for the console: one POST a request (revision 2026-07-28), one answer, within a bound.

An answer is JSON, or a stream of events of which the last is the answer; either way no more of it is read than
`LARGEST` bytes, and no longer than a deadline.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import msgspec

from isthmus_auth.event_stream import events

PROTOCOL = "2026-07-28"
LARGEST = 8 * 1024 * 1024
"""Bytes of an answer, with all that comes before it."""
LIST_WITHIN = 15.0
CALL_WITHIN = 60.0
"""Seconds; longer than a gateway lets a call take by default."""
PAGES = 20
"""Of a list, at most."""
AT_A_TIME = 20

CAPABILITIES: dict[str, object] = {"elicitation": {"form": {}}}
"""What a person can do for a tool in the middle of a call: fill in a form."""


class GatewayError(Exception):
    """No answer; the message is a sentence for the person who waits for it."""


class Access(msgspec.Struct, frozen=True):
    """A token, and the endpoint that it is for."""

    namespace: str
    endpoint: str
    token: str

    def __repr__(self) -> str:
        """Without the token, which belongs in no log."""
        return f"Access({self.namespace!r})"


class Annotations(msgspec.Struct, frozen=True, rename="camel"):
    """What a tool says of itself. The defaults are MCP's: what says nothing may do everything."""

    title: str = ""
    read_only_hint: bool = False
    destructive_hint: bool = True
    idempotent_hint: bool = False
    open_world_hint: bool = True


class Tool(msgspec.Struct, frozen=True, rename="camel"):
    """A tool as `tools/list` describes it."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: dict[str, Any] = {}
    annotations: Annotations = Annotations()

    @property
    def may_destroy(self) -> bool:
        """Whether somebody should be asked before it is called."""
        return self.annotations.destructive_hint and not self.annotations.read_only_hint


class _Page(msgspec.Struct, frozen=True, rename="camel"):
    tools: list[Tool]
    next_cursor: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    message: str = ""


class _Message(msgspec.Struct, frozen=True):
    """A JSON-RPC message; a response has either result or error."""

    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Problem | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_answer(self) -> bool:
        return self.result is not msgspec.UNSET or self.error is not msgspec.UNSET


class Answers(msgspec.Struct, frozen=True):
    """What a person answered to a tool's questions, and the state that goes back with it."""

    input_responses: dict[str, Any]
    request_state: str = ""


class GatewayClient:
    """Asks a gateway; opened once, in the app's lifespan."""

    def __init__(self, address: str, pool: httpcore2.AsyncConnectionPool) -> None:
        """`address` is the origin where the gateway is; empty: that of the endpoint."""
        self._address = address
        self._pool = pool

    async def tools(self, access: Access) -> list[Tool]:
        """The tools that there are for whoever the access is of. Raises GatewayError."""
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(PAGES):
            result = await self._ask(access, "tools/list", {"cursor": cursor} if cursor else {}, LIST_WITHIN)
            try:
                page = msgspec.json.decode(result, type=_Page)
            except (msgspec.DecodeError, RecursionError):
                raise GatewayError("The gateway's list of tools cannot be read.") from None
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        return found

    async def call(
        self, access: Access, tool: str, arguments: Mapping[str, Any], answers: Answers | None = None
    ) -> bytes:
        """MCP's result, as JSON. Raises GatewayError."""
        params: dict[str, Any] = {"name": tool, "arguments": dict(arguments)}
        if answers is not None:
            params["inputResponses"] = answers.input_responses
            if answers.request_state:
                params["requestState"] = answers.request_state
        return await self._ask(access, "tools/call", params, CALL_WITHIN)

    async def _ask(self, access: Access, method: str, params: dict[str, Any], within: float) -> bytes:
        try:
            async with asyncio.timeout(within):
                return await self._answer(access, request(method, params), method, str(params.get("name", "")))
        except (TimeoutError, httpcore2.TimeoutException):
            raise GatewayError(f"The gateway did not answer within {within:.0f} seconds.") from None
        except ssl.SSLError:
            raise GatewayError("The gateway's certificate is not one that this server trusts.") from None
        except (httpcore2.NetworkError, httpcore2.ProxyError, OSError):
            raise GatewayError(
                "The gateway cannot be reached. ISTHMUS_GATEWAY_ADDRESS says where this server looks for it."
            ) from None
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol):
            raise GatewayError("The gateway ended the connection, or does not speak HTTP. Try again.") from None

    async def _answer(self, access: Access, body: bytes, method: str, name: str) -> bytes:
        endpoint = urlsplit(access.endpoint)
        sent = headers(method, name)
        sent |= {"Host": endpoint.netloc, "Authorization": f"Bearer {access.token}", "User-Agent": "isthmus"}
        url = (self._address or f"{endpoint.scheme}://{endpoint.netloc}") + endpoint.path
        pairs = [(header.encode(), value.encode()) for header, value in sent.items()]
        async with self._pool.stream("POST", url, headers=pairs, content=body) as response:
            kind = _header(response, b"content-type").partition(";")[0].strip().lower()
            async with aclosing(_bounded(response)) as pieces:
                if kind == "text/event-stream":
                    message = await _last(events(pieces))
                else:
                    message = _message(b"".join([piece async for piece in pieces]), response.status)
        if message.error is not msgspec.UNSET:
            raise GatewayError(f"The gateway refused the request: {message.error.message or 'it does not say why'}")
        if message.result is msgspec.UNSET:
            raise GatewayError("The gateway's answer holds no result.")
        return bytes(message.result)


@asynccontextmanager
async def open_gateway(address: str) -> AsyncGenerator[GatewayClient]:
    """A client with connections of its own, closed at the end."""
    async with httpcore2.AsyncConnectionPool(
        max_connections=AT_A_TIME, max_keepalive_connections=4, keepalive_expiry=30, retries=0
    ) as pool:
        yield GatewayClient(address, pool)


def request(method: str, params: Mapping[str, Any]) -> bytes:
    """The JSON-RPC body."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": CAPABILITIES,
        "io.modelcontextprotocol/clientInfo": {"name": "isthmus-console", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return msgspec.json.encode(body)


def headers(method: str, name: str) -> dict[str, str]:
    """The headers that belong to such a body."""
    sent = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": PROTOCOL,
        "Mcp-Method": method,
    }
    return {**sent, "Mcp-Name": name} if name else sent


async def _bounded(response: httpcore2.Response) -> AsyncGenerator[bytes]:
    received = 0
    async for piece in response.aiter_stream():
        received += len(piece)
        if received > LARGEST:
            raise GatewayError(f"The answer is larger than {LARGEST // 2**20} MB, which is more than is shown here.")
        yield piece


async def _last(heard: AsyncGenerator[bytes]) -> _Message:
    """The response among the events; what comes before it tells of progress."""
    async with aclosing(heard):
        async for event in heard:
            message = _message(event, 200)
            if message.is_answer:
                return message
    raise GatewayError("The gateway's answer ended before it was complete.")


def _message(body: bytes, status: int) -> _Message:
    """Raises GatewayError; what is no JSON-RPC has at least a status."""
    try:
        return msgspec.json.decode(body, type=_Message)
    except (msgspec.DecodeError, RecursionError):
        sentence = _STATUSES.get(status) or f"The gateway answered with status {status} and nothing to read."
        raise GatewayError(sentence) from None


_STATUSES = {
    200: "The gateway's answer is not valid JSON.",
    401: "The gateway does not accept the console's token. Are its clock and this server's right, and its issuer this?",
    403: "This MCP service does not offer the scope that the tool needs.",
    404: "The gateway does not know this MCP service yet. Try again in a moment.",
    413: "These arguments are larger than the gateway takes.",
    421: "The gateway is not known by the name that clients use: its ISTHMUS_PUBLIC_URL is not this server's.",
    503: "The gateway is not ready. Try again in a moment.",
}


def _header(response: httpcore2.Response, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in response.headers if name.lower() == wanted), "")
