"""The seal on MCP's `requestState`: one client's, for one call, for ten minutes, opened by every gateway."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateSecurity,
)
from mcp_types.version import LATEST_MODERN_VERSION

VALID_FOR = 600.0
"""Seconds from a question to its answer."""


class Keys:
    """AES-256-GCM with the keys that auth publishes."""

    def __init__(self) -> None:
        self._codec: AESGCMRequestStateCodec | None = None

    def use(self, keys: tuple[str, ...]) -> None:
        """The first one seals, all of them open."""
        self._codec = AESGCMRequestStateCodec(keys) if keys else None

    def seal(self, payload: bytes) -> str:
        """The sealed payload. Raises InvalidRequestState while there are no keys."""
        if self._codec is None:
            raise InvalidRequestState("no keys")
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        """The payload of a token. Raises InvalidRequestState."""
        if self._codec is None:
            raise InvalidRequestState("no keys")
        return self._codec.unseal(token)


class Seal:
    """The SDK's middleware, which binds the state to client, user, method, name and arguments."""

    def __init__(self, issuer: str) -> None:
        self.keys = Keys()
        self._boundary = RequestStateBoundary(
            RequestStateSecurity(codec=self.keys, ttl=VALID_FOR), default_audience=issuer
        )

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Opens what comes in, seals what goes out. Raises MCPError for a state that is not ours."""
        return await self._boundary(ctx, call_next)

    async def sealed(self, name: str, arguments: Mapping[str, Any], result: bytes) -> bytes:
        """The questions of a `tools/call` that the SDK has not seen, with their state sealed."""

        async def questions(ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
            return msgspec.json.decode(result, type=dict[str, Any])

        context = ServerRequestContext[Any, Any](
            session=cast("Any", None),  # the boundary reads method and parameters alone
            lifespan_context={},
            protocol_version=LATEST_MODERN_VERSION,
            method="tools/call",
            params={"name": name, "arguments": dict(arguments)},
        )
        return msgspec.json.encode(await self._boundary(context, questions))
