"""Connecting to NATS: one way for every service."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable

import nkeys
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError, StaleConnectionError, UnexpectedEOF

from isthmus import lifetime, subjects
from isthmus.errors import ConfigurationError
from isthmus.settings import BusSettings

logger = logging.getLogger("isthmus.bus")

BUFFERED = 2 * 1024 * 1024
"""Bytes that may wait while the bus is away; a gateway passes 0, so that no call is sent late."""

CANCEL_AGAIN = 0.2
"""Seconds between two cancellations of an attempt to connect: nats-py can lose one."""


class Connection(Client):
    """A client that says once that the bus is away, once that it is back, and ends the process where it cannot go on.

    A denied subscription raises nothing in nats-py: it arrives as an error, and ends the process, because a service
    that may not do its work must not look as if it did. So does a refused password. A denied publish is only logged:
    whoever asks chooses where the answer goes, and must not be able to end the one who answers.
    """

    def __init__(self, *, needs_tls: bool = False) -> None:
        super().__init__()
        self._needs_tls = needs_tls
        self._leaving = False
        self._away_said = False
        self._problem = ""

    async def close(self) -> None:
        """Ends the connection, or the attempts to have one."""
        self._leaving = True
        if not self.is_connected:
            self._pending = []  # nats-py would write it to a transport that is closed, and uvloop refuses that
            self._pending_data_size = 0
        await super().close()

    def _connect_command(self) -> bytes:
        """The first thing that is sent: nats-py itself would send it, with the password, to a server without TLS."""
        if self._needs_tls and not self._server_info.get("tls_required"):
            raise NatsError("the server does not speak TLS")
        return super()._connect_command()

    async def on_error(self, error: Exception) -> None:
        """Everything that nats-py has to say comes here, each failed attempt to connect too."""
        text = str(error).lower()
        if "authorization violation" in text or "permissions violation for subscription" in text:
            lifetime.fail(f"the bus refused this service: {error}")
        elif "permissions violation" in text:
            logger.error("the bus refused a message: %s", error)
        elif isinstance(error, UnexpectedEOF | StaleConnectionError | NoServersError | TimeoutError) or (
            isinstance(error, OSError) and not isinstance(error, ssl.SSLError)
        ):
            self._say_away()
        elif self.is_connected:
            logger.warning("bus: %s: %s", type(error).__name__, error)
        elif str(error) != self._problem:
            self._problem = str(error)
            logger.warning("the bus cannot be used: %s", error)

    async def on_loss(self) -> None:
        """The connection is gone; nats-py begins to look for a server."""
        if not self._leaving:
            self._say_away()
        if self._max_pending_size == 0:  # what was not sent yet would be sent after the return
            self._pending.clear()
            self._pending_data_size = 0

    async def on_close(self) -> None:
        """The connection is gone for good; nats-py does so when the server refuses to go on."""
        if not self._leaving:
            lifetime.fail(f"the bus ended the connection: {self.last_error or 'no reason given'}")

    def here(self) -> None:
        """The bus answers."""
        if self._away_said or self._problem:
            logger.info("the bus is back")
        self._away_said, self._problem = False, ""

    def _say_away(self) -> None:
        if not self._away_said and not self._problem:
            self._away_said = True
            logger.warning("the bus is away; waiting for it")


def make_connection(settings: BusSettings) -> Connection:
    """A connection that is not open yet, for those who hold it before the bus answers."""
    return Connection(needs_tls=bool(settings.nats_ca))


async def connect(
    settings: BusSettings,
    user: str,
    *,
    connection: Connection | None = None,
    pending_size: int = BUFFERED,
    on_disconnect: Callable[[], None] | None = None,
    on_reconnect: Callable[[], Awaitable[None]] | None = None,
) -> Connection:
    """A connection that comes back for ever. `user` names the service: its inbox prefix and its name in monitoring.

    Waits until a server answers; can be cancelled meanwhile. Raises ConfigurationError for credentials that cannot be.
    """
    client = connection or make_connection(settings)

    async def on_loss() -> None:
        await client.on_loss()
        if on_disconnect is not None:
            on_disconnect()

    async def on_connect_again() -> None:
        client.here()
        if on_reconnect is not None:
            await on_reconnect()

    connecting = asyncio.create_task(
        client.connect(
            settings.nats_url,
            user=settings.nats_user or None,
            password=settings.nats_password or None,
            nkeys_seed_str=_seed(settings),
            tls=_tls(settings),
            name=user,
            inbox_prefix=subjects.inbox(user),
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,  # pyright: ignore[reportArgumentType]  (seconds; sleeps take fractions)
            connect_timeout=2,
            ping_interval=2,
            max_outstanding_pings=2,
            pending_size=pending_size,
            error_cb=client.on_error,
            disconnected_cb=on_loss,
            reconnected_cb=on_connect_again,
            closed_cb=client.on_close,
        )
    )
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        while not connecting.done():
            connecting.cancel()
            await asyncio.wait([connecting], timeout=CANCEL_AGAIN)
        await client.close()
        raise
    client.here()
    return client


def _seed(settings: BusSettings) -> str | None:
    if not settings.nats_nkey_seed:
        return None
    try:
        nkeys.from_seed(bytearray(settings.nats_nkey_seed.encode())).wipe()
    except (nkeys.NkeysError, ValueError):
        raise ConfigurationError("ISTHMUS_NATS_NKEY_SEED is not the seed of an nkey.") from None
    return settings.nats_nkey_seed


def _tls(settings: BusSettings) -> ssl.SSLContext | None:
    """None: nats-py's own, with the system's certificates, if the server asks for TLS."""
    if not settings.nats_ca and not settings.nats_cert:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_ca or None)
    except (OSError, ValueError):
        raise ConfigurationError("ISTHMUS_NATS_CA does not name a file with certificates.") from None
    if settings.nats_cert:
        try:
            context.load_cert_chain(settings.nats_cert, settings.nats_key or None)
        except (OSError, ValueError):
            raise ConfigurationError(
                "ISTHMUS_NATS_CERT and ISTHMUS_NATS_KEY do not name files with a certificate and its key."
            ) from None
    return context
