"""Gateways among themselves: which one a request belongs to, and what travels when it is forwarded over the bus.

A session of the protocol's 2025 versions, and a task, live in the gateway that began them. Its id begins with the
gateway's own, so any gateway knows where a request belongs. To `isthmus.gateway.<id>.…` go `request`, `heard` and
`gone`; the response comes back as frames on the reply inbox, and ends with a reply that is no frame.
"""

import re
import secrets
from dataclasses import dataclass

import msgspec
from mcp.shared.inbound import decode_header_value
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus_mcp_gateway.tokens import Claims

Headers = list[tuple[bytes, bytes]]

WORKING_EVERY = 1.0
"""Seconds after which each side tells the other that it is still there."""
PART = 256 * 1024
"""Bytes of a body in one frame."""
WINDOW = 16
"""Frames that may be on their way: the owner waits for the client to take some before it sends more."""
MOST = 1000
"""Requests that a gateway forwards at one time, and that it answers for others."""

_OWNED = re.compile(r"([a-z0-9]{12})\.[\x21-\x7e]+")
_SESSION_ID = b"mcp-session-id"
_WANTED = frozenset({b"accept", b"content-type", b"host", b"last-event-id", b"origin", b"traceparent", b"tracestate"})


class Forwarded(msgspec.Struct, frozen=True):
    """A request as its owner gets it, with the claims that were verified where it arrived: no token, no cookie."""

    id: str
    method: str
    path: str
    headers: Headers
    body: bytes
    claims: Claims


class Start(msgspec.Struct, frozen=True):
    """The body of a `start` frame."""

    status: int
    headers: Headers


class Heard(msgspec.Struct, frozen=True):
    """The gateway that forwarded a request is still there, and its client has taken this many frames."""

    id: str
    taken: int


def new_id() -> str:
    """A gateway's id, for as long as its process lives."""
    return secrets.token_hex(6)


def owner_of(headers: Headers) -> str | None:
    """The gateway that the session or task of a request belongs to; None: any will do."""
    found = dict(reversed(headers))  # the first of a name counts, as for the SDK
    version = found.get(b"mcp-protocol-version")
    if version is None or version.decode("latin-1") in HANDSHAKE_PROTOCOL_VERSIONS:
        name = found.get(_SESSION_ID, b"").decode("latin-1")
    elif found.get(b"mcp-method", b"").startswith(b"tasks/"):
        name = decode_header_value(found.get(b"mcp-name", b"").decode("latin-1")) or ""
    else:
        return None
    match = _OWNED.fullmatch(name)
    return match[1] if match else None


def wanted(headers: Headers) -> Headers:
    """The headers that MCP needs."""
    return [(name, value) for name, value in headers if name in _WANTED or name.startswith(b"mcp-")]


@dataclass(frozen=True, slots=True)
class SessionIds:
    """Shows sessions to clients as `<gateway id>.<id>`; inside, the id is the SDK's own."""

    inner: ASGIApp
    gateway_id: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        prefix = f"{self.gateway_id}.".encode()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                message = {**message, "headers": [(n, prefix + v if n == _SESSION_ID else v) for n, v in headers]}
            await send(message)

        headers = [(n, v.removeprefix(prefix) if n == _SESSION_ID else v) for n, v in scope["headers"]]
        await self.inner({**scope, "headers": headers}, receive, named)
