"""Clients that want to hear of changes: listen streams of 2026-07-28, and the sessions of the 2025 versions."""

import asyncio
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


@dataclass(slots=True, eq=False)
class Session:
    """What a client of a 2025 session asked for, and what it is still to hear."""

    session: ServerSession
    follows: set[str] = field(default_factory=set[str])
    """URIs of resources."""
    least: LogLevel = "info"
    """The lowest level of log messages that it wants."""
    _news: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict[str, Callable[[], Awaitable[None]]])
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, about: str, send: Callable[[], Awaitable[None]]) -> None:
        """Says it when the client reads: once, however often the same thing changed meanwhile."""
        self._news[about] = send
        self._more.set()

    def forget(self, about: str) -> None:
        """The client need not hear of it any more."""
        self._news.pop(about, None)

    async def deliver(self) -> None:
        """Runs as long as the session: a client that does not read keeps the news from nobody else."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._news:
                send = self._news.pop(next(iter(self._news)))
                try:
                    await send()
                except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
                    logger.debug("a session did not hear of a change: %s", type(error).__name__)


class Listeners:
    """All of them, of this gateway."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self.streams = ListenHandler(self._bus)
        self._sessions: dict[str, Session] = {}

    def opened(self, context: ServerRequestContext[Any, Any]) -> None:
        """A 2025 session is there, until the SDK ends it."""
        session_id = _session_id(context)
        if session_id is None or session_id in self._sessions:
            return
        session = self._sessions[session_id] = Session(context.session)
        delivering = asyncio.create_task(session.deliver())
        # The SDK has no public hook for the end of a session.
        stack = context.session._connection.exit_stack  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        stack.callback(self._sessions.pop, session_id, None)
        stack.callback(delivering.cancel)

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
            session.forget(uri)

    async def lists_changed(self) -> None:
        """Everybody's tools, prompts and resources may be others now."""
        for event in (ToolsListChanged(), PromptsListChanged(), ResourcesListChanged()):
            await self._bus.publish(event)
        for session in self._sessions.values():
            session.tell("tools", session.session.send_tool_list_changed)
            session.tell("prompts", session.session.send_prompt_list_changed)
            session.tell("resources", session.session.send_resource_list_changed)

    async def resource_updated(self, uri: str) -> None:
        """Tells those who follow the resource."""
        await self._bus.publish(ResourceUpdated(uri))
        for session in self._sessions.values():
            if uri in session.follows:
                session.tell(uri, lambda session=session: session.session.send_resource_updated(uri))

    def _session(self, context: ServerRequestContext[Any, Any]) -> Session | None:
        session_id = _session_id(context)
        return self._sessions.get(session_id) if session_id is not None else None


def _session_id(context: ServerRequestContext[Any, Any]) -> str | None:
    request: Request | None = context.request
    return request.headers.get("mcp-session-id") if request is not None else None
