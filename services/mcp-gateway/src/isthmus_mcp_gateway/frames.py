"""What a worker says before its reply, on its way to the client: in order, and never in the way of other replies."""

import asyncio
import logging
from typing import Any

import mcp_types as types
import msgspec
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

from isthmus.messages import Log, LogLevel, Progress

logger = logging.getLogger("isthmus.frames")

MOST = 256
"""Frames of one call that wait for a slow client; more are left out."""
LAST_WITHIN = 1.0
"""Seconds that the last frames have to get out before the result."""
LEVELS: tuple[LogLevel, ...] = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class Frames:
    """The frames of one call; a task begins with the first one."""

    def __init__(self, context: ServerRequestContext[Any, Any], least: LogLevel | None) -> None:
        """`least` is the lowest level of log messages that the client wants; None: it wants none."""
        self._context = context
        self._levels = LEVELS[LEVELS.index(least) :] if least is not None else ()
        self._queue: asyncio.Queue[Progress | Log | None] = asyncio.Queue(MOST)
        self._telling: asyncio.Task[None] | None = None

    def put(self, frame: str, body: bytes) -> None:
        """One frame as it came. What cannot be read, or is too much, is left out."""
        try:
            match frame:
                case "progress":
                    said = msgspec.json.decode(body, type=Progress)
                case "log":
                    said = msgspec.json.decode(body, type=Log)
                    if said.level not in self._levels:
                        return
                case _:
                    return
            self._queue.put_nowait(said)
        except (msgspec.DecodeError, asyncio.QueueFull) as error:
            logger.debug("a frame is left out: %s", type(error).__name__)
            return
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def end(self) -> None:
        """Returns when everything is said, or the time for it is over."""
        if self._telling is None:
            return
        try:
            async with asyncio.timeout(LAST_WITHIN):
                await self._queue.put(None)
                await self._telling
        except TimeoutError:
            logger.debug("the client is too slow for the last frames")
        finally:
            self._telling.cancel()

    async def _tell(self) -> None:
        session, request = self._context.session, self._context.request_id
        while (said := await self._queue.get()) is not None:
            try:
                if isinstance(said, Progress):
                    await session.report_progress(said.progress, said.total, said.message)
                else:
                    params = types.LoggingMessageNotificationParams(
                        level=said.level, data=said.data, logger=said.logger
                    )
                    await session.send_notification(types.LoggingMessageNotification(params=params), request)
            except MCPError as error:
                logger.debug("a frame did not reach the client: %s", type(error).__name__)
