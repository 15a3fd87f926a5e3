"""Connecting to NATS: one way for every service."""

import logging
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.errors import AuthorizationError

from isthmus import lifetime, subjects
from isthmus.settings import BusSettings

logger = logging.getLogger("isthmus.bus")

BUFFERED = 2 * 1024 * 1024
"""Bytes that may wait while the bus is away; a gateway passes 0, so that no call is sent late."""


async def connect(
    settings: BusSettings,
    user: str,
    *,
    pending_size: int = BUFFERED,
    on_reconnect: Callable[[], Awaitable[None]] | None = None,
) -> Client:
    """A connection that comes back for ever. `user` names the service: its inbox prefix and its name in monitoring.

    A denied publish or subscribe raises nothing in nats-py: it arrives here as an error, and ends the process,
    because a service that may not do its work must not look as if it did.
    """

    client = Client()

    async def on_error(error: Exception) -> None:
        if isinstance(error, AuthorizationError) or "permissions violation" in str(error).lower():
            lifetime.fail(f"the bus refused {user}: {error}")
        else:
            logger.warning("bus: %s: %s", type(error).__name__, error)

    async def on_disconnect() -> None:
        if not client.is_closed:
            logger.warning("bus: disconnected")

    async def on_connect_again() -> None:
        logger.info("bus: connected again")
        if on_reconnect is not None:
            await on_reconnect()

    await client.connect(
        settings.nats_url,
        user=settings.nats_user or None,
        password=settings.nats_password or None,
        name=user,
        inbox_prefix=subjects.inbox(user),
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.2,  # pyright: ignore[reportArgumentType]  (seconds; sleeps take fractions)
        connect_timeout=2,
        ping_interval=2,
        max_outstanding_pings=2,
        pending_size=pending_size,
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_connect_again,
    )
    return client
