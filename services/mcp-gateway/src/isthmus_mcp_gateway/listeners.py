"""Clients that want to hear of changes: listen streams of 2026-07-28, and the sessions of the 2025 versions."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types import LOG_LEVEL_META_KEY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request

from isthmus.errors import TooLarge
from isthmus.messages import LogLevel
from isthmus_mcp_gateway.frames import LEVELS

logger = logging.getLogger("isthmus.listeners")

FOLLOWED = 1000
"""Resources that one session may follow."""


@dataclass(slots=True)
class Session:
    """What a client of a 2025 session asked for."""

    session: ServerSession
    follows: set[str] = field(default_factory=set[str])
    """URIs of resources."""
    least: LogLevel = "info"
    """The lowest level of log messages that it wants."""


class Listeners:
    """All of them, of this gateway."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self.streams = ListenHandler(self._bus)
        self._sessions: dict[str, Session] = {}

    def opened(self, context: ServerRequestContext[Any, Any]) -> None:
        """A 2025 session is there, until the SDK ends it."""
        session_id = _session_id(context)
        if session_id is None:
            return
        self._sessions[session_id] = Session(context.session)
        # The SDK has no public hook for the end of a session.
        stack = context.session._connection.exit_stack  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        stack.callback(self._sessions.pop, session_id, None)

    def least(self, context: ServerRequestContext[Any, Any]) -> LogLevel | None:
        """The lowest level of log messages that the client wants; None: none. Each request of 2026-07-28 says it."""
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            level = (context.meta or {}).get(LOG_LEVEL_META_KEY)
            return level if level in LEVELS else None
        session = self._session(context)
        return session.least if session is not None else None

    def set_least(self, context: ServerRequestContext[Any, Any], level: LogLevel) -> None:
        """`logging/setLevel`."""
        if (session := self._session(context)) is not None:
            session.least = level

    def follow(self, context: ServerRequestContext[Any, Any], uri: str) -> None:
        """`resources/subscribe`. Raises TooLarge."""
        if (session := self._session(context)) is not None:
            if len(session.follows) >= FOLLOWED:
                raise TooLarge(f"One session may follow {FOLLOWED} resources.")
            session.follows.add(uri)

    def unfollow(self, context: ServerRequestContext[Any, Any], uri: str) -> None:
        """`resources/unsubscribe`."""
        if (session := self._session(context)) is not None:
            session.follows.discard(uri)

    async def lists_changed(self) -> None:
        """Everybody's tools, prompts and resources may be others now."""
        for event in (ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()):
            await self._bus.publish(event)
        for session in list(self._sessions.values()):
            await _tell(session.session.send_tool_list_changed)
            await _tell(session.session.send_prompt_list_changed)
            await _tell(session.session.send_resource_list_changed)

    async def resource_updated(self, uri: str) -> None:
        """Tells those who follow the resource."""
        await self._bus.publish(ResourceUpdated(uri))
        for session in list(self._sessions.values()):
            if uri in session.follows:
                await _tell(lambda session=session: session.session.send_resource_updated(uri))

    def _session(self, context: ServerRequestContext[Any, Any]) -> Session | None:
        session_id = _session_id(context)
        return self._sessions.get(session_id) if session_id is not None else None


def _session_id(context: ServerRequestContext[Any, Any]) -> str | None:
    request: Request | None = context.request
    return request.headers.get("mcp-session-id") if request is not None else None


async def _tell(send: Callable[[], Awaitable[None]]) -> None:
    """A session that ends at this moment must not keep the news from the others."""
    try:
        await send()
    except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
        logger.debug("a session did not hear of a change: %s", type(error).__name__)
