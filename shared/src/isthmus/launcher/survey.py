"""A connection for questions: of the user who may ask, given up at the first failure."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.errors import Error as NatsError

from isthmus import subjects
from isthmus.settings import BusSettings
from isthmus.survey import BusUnreachable, Survey

USER = "ops"
"""The NATS user that may ask, and nothing else; workers may answer in its inbox."""


@asynccontextmanager
async def surveying(settings: BusSettings) -> AsyncGenerator[Survey]:
    """A survey of this bus. Raises BusUnreachable."""
    async with connected(settings) as client:
        yield Survey(client, subjects.inbox(USER))


@asynccontextmanager
async def connected(settings: BusSettings, user: str = USER) -> AsyncGenerator[Client]:
    """A connection that is given up at the first failure; `user` may hear its inbox. Raises BusUnreachable."""

    async def quiet(_: Exception) -> None:
        """What fails is raised."""

    client = Client()
    try:
        async with asyncio.timeout(5):
            await client.connect(
                settings.nats_url,
                user=settings.nats_user or None,
                password=settings.nats_password or None,
                name="isthmus",
                inbox_prefix=subjects.inbox(user),
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=2,
                error_cb=quiet,
            )
        yield client
    except (NatsError, OSError, ValueError) as error:
        if "authorization violation" in str(error).lower():
            raise BusUnreachable(
                "The bus refused this user and password; ISTHMUS_NATS_USER and ISTHMUS_NATS_PASSWORD give them."
            ) from None
        raise BusUnreachable(f"Nothing answers at {_address(settings.nats_url)}.") from None
    finally:
        with contextlib.suppress(NatsError):
            await client.close()


def _address(url: str) -> str:
    """The URL without user and password."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]
