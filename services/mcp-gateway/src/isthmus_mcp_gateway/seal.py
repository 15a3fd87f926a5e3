"""The seal on MCP's `requestState`: one client's, for one call, for ten minutes, opened by every gateway."""

from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateSecurity,
)

VALID_FOR = 600.0
"""Seconds from a question to its answer."""


class Seal:
    """AES-256-GCM with the keys that auth publishes."""

    def __init__(self) -> None:
        self._codec: AESGCMRequestStateCodec | None = None

    def use_keys(self, keys: tuple[str, ...]) -> None:
        """The first one seals, all of them open."""
        self._codec = AESGCMRequestStateCodec(keys) if keys else None

    def boundary(self, issuer: str) -> RequestStateBoundary:
        """The SDK's middleware: it binds the state to client, user, method, name and arguments."""
        return RequestStateBoundary(RequestStateSecurity(codec=self, ttl=VALID_FOR), default_audience=issuer)

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
