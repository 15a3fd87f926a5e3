"""The application: bus, policy, discovery and the MCP endpoint, opened together and closed in order."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator
from typing import Any, cast
from urllib.parse import urlsplit

from litestar import Litestar, Response, asgi, get
from litestar.params import FromPath
from litestar.types import Receive, Scope, Send
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from isthmus import bus, lifetime, policy, subjects
from isthmus.errors import ConfigurationError
from isthmus.origins import ENDPOINT_PATH, METADATA_PATH, Origins
from isthmus.scopes import DEFAULT_SCOPES
from isthmus_mcp_gateway import sources_tool
from isthmus_mcp_gateway.calls import Calls
from isthmus_mcp_gateway.discovery import Discovery
from isthmus_mcp_gateway.endpoint import Endpoint
from isthmus_mcp_gateway.gate import Gate
from isthmus_mcp_gateway.inbox import USER, Inbox
from isthmus_mcp_gateway.policy import PolicyWatch
from isthmus_mcp_gateway.settings import Settings
from isthmus_mcp_gateway.tokens import Verifier

logger = logging.getLogger("isthmus.gateway")


class Gateway:
    """Everything that lives as long as the connection to the bus."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.id = secrets.token_hex(6)
        self.origins = Origins.of(settings)
        self.verifier = Verifier(self.origins.issuer)
        self.inbox = Inbox(client)
        self.discovery = Discovery(client, self.inbox, self._catalog_changed, frozenset({sources_tool.NAME}))
        self.policy = PolicyWatch(client, self._policy_changed)
        self.endpoint = Endpoint(
            self.discovery, self.policy, Calls(self.inbox, self.discovery.look_again), settings.call_timeout, self.id
        )
        self.manager = StreamableHTTPSessionManager(
            self.endpoint.server(self.origins.issuer), security_settings=_transport_security(self.origins)
        )
        self.gate = Gate(
            AuthContextMiddleware(StreamableHTTPASGIApp(self.manager)),  # pyright: ignore[reportArgumentType]
            self.origins,
            self.verifier,
            lambda: self.policy.current,
            lambda: self.discovery.catalog,
        )
        self._telling: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begins to follow policy and catalog."""
        await self.inbox.open()
        await self.inbox.client.subscribe(subjects.updated("*", "*"), cb=self._resource_updated)
        self.policy.start()
        await self.discovery.start()

    def stop(self) -> None:
        """Ends what `start` began."""
        self.endpoint.tasks.end()
        self.policy.stop()
        self.discovery.stop()
        self.inbox.close()

    async def reconnected(self) -> None:
        """The bus is back: what was missed meanwhile is read anew."""
        self.policy.start()
        self.discovery.forgive()
        self.discovery.look_again()

    @property
    def ready(self) -> bool:
        """Whether policy and catalog have been read once, and the bus is there."""
        return self.inbox.client.is_connected and self.policy.ready.is_set() and self.discovery.ready.is_set()

    async def _resource_updated(self, message: Msg) -> None:
        _, _, kind, source = message.subject.split(".", 3)
        with contextlib.suppress(UnicodeDecodeError):
            await self.endpoint.resource_updated(kind, source, message.data.decode())

    def _catalog_changed(self) -> None:
        self.endpoint.views.forget()
        self._tell()

    def _policy_changed(self, section: str) -> None:
        self.endpoint.views.forget()
        if section in ("", policy.JWKS):
            self.verifier.use_keys(self.policy.current.keys)
        if section in ("", policy.STATE_KEY):
            self.endpoint.seal.use_keys(self.policy.current.state_keys)
        if section in ("", "service", "role", "user"):
            self._tell()

    def _tell(self) -> None:
        task = asyncio.create_task(self.endpoint.listeners.lists_changed())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def create_app(settings: Settings) -> Litestar:
    """The ASGI application."""
    client = bus.make_connection(settings)
    gateway = Gateway(client, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        app.state.gateway = gateway
        async with gateway.manager.run():
            opening = asyncio.create_task(_open(client, gateway, settings))
            yield
            opening.cancel()
            await asyncio.wait([opening])
            gateway.stop()
        await client.close()

    @asgi(ENDPOINT_PATH, is_mount=True, copy_scope=True)
    async def mcp(scope: Scope, receive: Receive, send: Send) -> None:
        await gateway.gate(cast("Any", scope), cast("Any", receive), cast("Any", send))  # Litestar's names for ASGI

    def metadata(namespace: str) -> Response[dict[str, str | list[str]]]:
        """Protected resource metadata (RFC 9728): each URL names the resource that it was asked for."""
        if gateway.policy.current.service(namespace) is None:
            return Response({"error": "not_found"}, status_code=404)
        return Response(
            {
                "resource": gateway.origins.endpoint(namespace),
                "authorization_servers": [gateway.origins.issuer],
                "scopes_supported": gateway.discovery.catalog.scopes or list(DEFAULT_SCOPES),
                "bearer_methods_supported": ["header"],
                "resource_name": "Isthmus",
            },
            headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"},
        )

    @get([METADATA_PATH, METADATA_PATH + ENDPOINT_PATH], sync_to_thread=False)
    def default_metadata() -> Response[dict[str, str | list[str]]]:
        return metadata("")

    @get(METADATA_PATH + ENDPOINT_PATH + "/{namespace:str}", sync_to_thread=False)
    def service_metadata(namespace: FromPath[str]) -> Response[dict[str, str | list[str]]]:
        return metadata(namespace)

    @get("/healthz", sync_to_thread=False)
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", sync_to_thread=False)
    def readyz() -> Response[dict[str, str]]:
        ready = gateway.ready
        return Response({"status": "ready" if ready else "starting"}, status_code=200 if ready else 503)

    return Litestar(
        [mcp, default_metadata, service_metadata, healthz, readyz],
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )


async def _open(client: bus.Connection, gateway: Gateway, settings: Settings) -> None:
    """Connects, however long that takes: until then the gateway answers that it is not ready."""
    try:
        # Nothing is buffered while the bus is away: a write must not run after its caller has given up.
        await bus.connect(settings, USER, connection=client, pending_size=0, on_reconnect=gateway.reconnected)
        await gateway.start()
    except (ConfigurationError, NatsError) as error:
        lifetime.fail(f"the bus cannot be used: {error}")


def _transport_security(origins: Origins) -> TransportSecuritySettings:
    """Only our own name as Host (no DNS rebinding), only our own pages as Origin."""
    gateway = urlsplit(origins.gateway)
    hosts = {gateway.netloc}
    if gateway.hostname in ("127.0.0.1", "localhost"):
        hosts |= {f"127.0.0.1:{gateway.port}", f"localhost:{gateway.port}"}
    return TransportSecuritySettings(
        allowed_hosts=sorted(hosts),
        allowed_origins=sorted({origins.issuer} | {f"{gateway.scheme}://{host}" for host in hosts}),
    )
