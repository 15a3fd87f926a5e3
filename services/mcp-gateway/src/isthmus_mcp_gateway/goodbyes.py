"""Clients of the handshake era that vanish: what they asked for is cancelled in their name.

Since 2026-07-28 a client cancels by closing the response, and the SDK does the rest. The revisions before say that a
disconnect should not count as a cancellation, because a server may keep the answer for a client that comes back for
it. This one keeps none: an answer whose stream has ended reaches nobody, so the work for it ends, too.
"""

from dataclasses import dataclass
from typing import get_args

import msgspec
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus.messages import Method


class _Request(msgspec.Struct):
    """As much of a JSON-RPC message as tells whether a worker may be at work on it."""

    id: int | str | None = None
    method: str = ""


@dataclass(frozen=True, slots=True)
class Goodbyes:
    """Follows up on a request to a worker whose connection ends before its answer with `notifications/cancelled`."""

    inner: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; of another method than POST, or without a session, there is nothing to follow up on."""
        if scope["method"] != "POST" or not any(name == MCP_SESSION_ID_HEADER.encode() for name, _ in scope["headers"]):
            await self.inner(scope, receive, send)
            return
        body: list[bytes] = []
        answered, gone = False, False

        async def hear() -> Message:
            nonlocal gone
            message = await receive()
            if message["type"] == "http.request":
                body.append(message.get("body", b""))
            else:
                gone = not answered
            return message

        async def say(message: Message) -> None:
            nonlocal answered
            answered = answered or (message["type"] == "http.response.body" and not message.get("more_body", False))
            await send(message)

        await self.inner(scope, hear, say)
        if gone:
            await self._cancel(scope, b"".join(body))

    async def _cancel(self, scope: Scope, body: bytes) -> None:
        """Sends what the client would have sent, in its session."""
        try:
            request = msgspec.json.decode(body, type=_Request)
        except (msgspec.DecodeError, RecursionError):
            return
        if request.method not in get_args(Method) or request.id is None:
            return
        about = {"requestId": request.id, "reason": "The client is gone."}
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": about}
        text = msgspec.json.encode(cancel)
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        messages: list[Message] = [{"type": "http.request", "body": text}]

        async def hear() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        await self.inner(
            {**scope, "headers": [*headers, (b"content-length", str(len(text)).encode())]}, hear, _into_the_void
        )


async def _into_the_void(message: Message) -> None:
    del message
