"""The application: bus, policy, discovery and the MCP endpoint, opened together and closed in order."""

import asyncio
import contextlib
import logging
import time
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
from sse_starlette.sse import AppStatus

from isthmus import bus, lifetime, policy, subjects
from isthmus.errors import ConfigurationError
from isthmus.origins import ENDPOINT_PATH, METADATA_PATH, Origins
from isthmus.scopes import DEFAULT_SCOPES
from isthmus_mcp_gateway import peers, redaction, sources_tool
from isthmus_mcp_gateway.audit import Audit
from isthmus_mcp_gateway.calls import Calls
from isthmus_mcp_gateway.discovery import Discovery
from isthmus_mcp_gateway.endpoint import Endpoint
from isthmus_mcp_gateway.forwarding import Forwarding
from isthmus_mcp_gateway.gate import Gate, offered_scopes
from isthmus_mcp_gateway.goodbyes import Goodbyes
from isthmus_mcp_gateway.hosting import Hosting
from isthmus_mcp_gateway.inbox import USER, Inbox
from isthmus_mcp_gateway.peers import SessionIds
from isthmus_mcp_gateway.policy import PolicyWatch
from isthmus_mcp_gateway.quick import Quick
from isthmus_mcp_gateway.settings import Settings
from isthmus_mcp_gateway.streams import Streams
from isthmus_mcp_gateway.tokens import Verifier

logger = logging.getLogger("isthmus.gateway")

CALLS_END_WITHIN = 10.0
"""Seconds for calls that are under way when the gateway leaves."""


class Gateway:
    """Everything that lives as long as the connection to the bus."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self.settings = settings
        self.id = peers.new_id()
        self.origins = Origins.of(settings)
        self.verifier = Verifier(self.origins.issuer)
        self.inbox = Inbox(client)
        self.discovery = Discovery(client, self.inbox, self._catalog_changed, frozenset({sources_tool.NAME}))
        self.policy = PolicyWatch(client, self._policy_changed)
        self.audit = Audit(client, self.id)
        self.endpoint = Endpoint(
            self.discovery,
            self.policy,
            Calls(self.inbox, self.discovery.look_again),
            self.audit,
            call_timeout=settings.call_timeout,
            gateway_id=self.id,
            issuer=self.origins.issuer,
            on_record=redaction.KEPT[settings.audit_arguments],
        )
        security = _transport_security(self.origins)
        server = self.endpoint.server()
        self.manager = StreamableHTTPSessionManager(server, security_settings=security)
        self.streams = Streams()
        mcp = SessionIds(
            Goodbyes(AuthContextMiddleware(StreamableHTTPASGIApp(self.manager))),  # pyright: ignore[reportArgumentType]
            self.id,
        )
        self.forwarding = Forwarding(self.inbox, self.id, mcp, security)
        self.hosting = Hosting(client, self.id, self.streams.ending(mcp))
        self.gate = Gate(
            Quick(self.streams.ending(self.forwarding), self.endpoint, security, server.server_info_stamp),
            self.origins,
            self.verifier,
            lambda: self.policy.current,
            self.policy.arrived,
            lambda: self.discovery.catalog,
            self.audit.refuse,
        )
        self.leaving = False
        """Load balancers are to look elsewhere."""
        self._telling: set[asyncio.Task[None]] = set()
        self._calls_end = float("inf")

    async def start(self) -> None:
        """Begins to follow policy and catalog."""
        await self.inbox.open()
        self.audit.start()
        await self.inbox.client.subscribe(subjects.updated("*", "*"), cb=self._resource_updated)
        self.policy.start()
        await self.discovery.start()
        await self.forwarding.open()
        await self.hosting.open()

    async def leave(self) -> None:
        """Calls go on, for CALLS_END_WITHIN; streams without an end of their own end, and sessions are unknown."""
        self.leaving = True
        self._calls_end = min(self._calls_end, time.monotonic() + CALLS_END_WITHIN)
        await self.hosting.leave()
        self.endpoint.listeners.streams.close()
        self.streams.end()

    async def finish(self) -> None:
        """Waits for the calls that other gateways forwarded here."""
        await self.leave()
        await self.hosting.finish(self._calls_end - time.monotonic())

    def stop(self) -> None:
        """Ends what `start` began."""
        self.endpoint.tasks.end()
        self.forwarding.close()
        self.policy.stop()
        self.discovery.stop()
        self.inbox.close()

    async def reconnected(self) -> None:
        """The bus is back: what was missed meanwhile is read anew."""
        await self.inbox.back()
        self.policy.start()
        self.discovery.forgive()
        self.discovery.look_again()

    @property
    def ready(self) -> bool:
        """Whether policy and catalog have been read once, the bus is there, and this gateway is not about to end."""
        return (
            not self.leaving
            and self.inbox.client.is_connected
            and self.policy.ready.is_set()
            and self.discovery.ready.is_set()
        )

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
            self.endpoint.seal.keys.use(self.policy.current.state_keys)
        if section in ("", "service", "role", "user"):
            self._tell()

    def _tell(self) -> None:
        task = asyncio.create_task(self.endpoint.listeners.lists_changed())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def create_app(settings: Settings) -> Litestar:
    """The ASGI application."""
    AppStatus.disable_automatic_graceful_drain()  # at a signal it would cut the streams that answer calls
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
            await gateway.finish()
            gateway.stop()
        await gateway.audit.close()
        await client.close()

    @asgi(ENDPOINT_PATH, is_mount=True, copy_scope=True)
    async def mcp(scope: Scope, receive: Receive, send: Send) -> None:
        await gateway.gate(cast("Any", scope), cast("Any", receive), cast("Any", send))  # Litestar's names for ASGI

    def metadata(namespace: str) -> Response[dict[str, str | list[str]]]:
        """Protected resource metadata (RFC 9728): each URL names the resource that it was asked for."""
        service = gateway.policy.current.service(namespace)
        if service is None:
            return Response({"error": "not_found"}, status_code=404)
        return Response(
            {
                "resource": gateway.origins.endpoint(namespace),
                "authorization_servers": [gateway.origins.issuer],
                "scopes_supported": offered_scopes(gateway.discovery.catalog, service) or list(DEFAULT_SCOPES),
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
        if gateway.ready:
            return Response({"status": "ready"})
        return Response({"status": "leaving" if gateway.leaving else "starting"}, status_code=503)

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
        await bus.connect(
            settings,
            USER,
            connection=client,
            pending_size=0,
            on_disconnect=gateway.inbox.away,
            on_reconnect=gateway.reconnected,
        )
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
