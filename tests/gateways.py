"""A real mcp-gateway on a real port for the tests, with a policy and tokens as auth makes them."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from litestar import Litestar
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from nats.js.api import KeyValueConfig

from isthmus import bus, policy
from isthmus.grants import EVERYTHING, Grant
from isthmus.policy import Role, Service, StateKeys, User
from isthmus_auth import audit_stream
from isthmus_mcp_gateway.__main__ import Server
from isthmus_mcp_gateway.app import create_app
from isthmus_mcp_gateway.settings import Settings
from servers import TLS, NatsServer, free_port

ISSUER = "http://127.0.0.1:7411"


@dataclass
class Authority:
    """Stands where auth stands: the only one that writes the policy and signs tokens."""

    nats: NatsServer
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    audience: str = ""
    state_keys: StateKeys = field(default_factory=lambda: StateKeys((secrets.token_hex(32),)))

    async def publish(self, entries: Mapping[str, object]) -> None:
        client = await bus.connect(self.nats.settings("auth"), "auth")
        stream = client.jetstream()
        await stream.create_key_value(KeyValueConfig(bucket=policy.BUCKET, history=1, direct=True))
        bucket = await stream.key_value(policy.BUCKET)
        for name, value in entries.items():
            await bucket.put(name, msgspec.json.encode(value))
        await client.close()

    async def publish_all(self) -> None:
        """Two services; `ann` may do everything, `bob` may read, `eve` has no role. And the stream of the audit."""
        client = await bus.connect(self.nats.settings("auth"), "auth")
        await audit_stream.make(client.jetstream())
        await client.close()
        await self.publish(
            {
                "service.default": Service("default", "Isthmus", default=True),
                "service.other": Service("other", "Other", sources=("db.closed",)),
                "role.everything": Role("everything", "Everything", (EVERYTHING,)),
                "role.reader": Role("reader", "Reader", (Grant(("db.*",), ("read",)),)),
                "user.ann": User("ann", ("everything",)),
                "user.bob": User("bob", ("reader",)),
                "user.eve": User("eve"),
                policy.JWKS: KeySet([self.key]).as_dict(private=False),
                policy.STATE_KEY: self.state_keys,
            }
        )

    def token(self, key: ECKey | None = None, algorithm: str = "ES256", **changes: Any) -> str:
        """A valid token for ann, but for the changes."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "ann",
            "client_id": "c",
            "jti": "j1",
            "service": "default",
            "aud": self.audience,
            "scope": "data:read data:write",
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        signer = key or self.key
        return jwt.encode({"alg": algorithm, "typ": "at+jwt", "kid": "k1"}, claims, signer)


@dataclass
class Gateway:
    """A running gateway."""

    url: str
    authority: Authority
    app: Litestar | None = None
    """What serves it, where that is this process."""
    host: str = ""
    """What its clients send as `Host`, if not where they connect to."""

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @asynccontextmanager
    async def client(self, mode: str = "auto", path: str = "/mcp", **options: Any) -> AsyncGenerator[Client]:
        """The SDK's client with ann's token, or with `token=`."""
        token = options.pop("token", None) or self.authority.token()
        headers = {"Authorization": f"Bearer {token}", **({"Host": self.host} if self.host else {})}
        async with httpx2.AsyncClient(headers=headers, timeout=30, verify=TLS) as http:
            transport = streamable_http_client(self.url + path, http_client=http)
            async with Client(transport, mode=mode, **options) as client:
                yield client


@asynccontextmanager
async def running_gateway(
    nats: NatsServer, authority: Authority | None = None, *, call_timeout: float = 2, behind: str = ""
) -> AsyncGenerator[Gateway]:
    """Starts a gateway and waits until it is ready. `behind`: the origin of the proxy that clients know instead."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    if authority is None:
        authority = Authority(nats, audience=f"{behind or url}/mcp")
        await authority.publish_all()
    settings = Settings(
        **msgspec.structs.asdict(nats.settings("gateway")),
        port=port,
        issuer=ISSUER,
        gateway_url=behind or url,
        call_timeout=call_timeout,
        leave_after=0,
    )
    app = create_app(settings)
    server = Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    try:
        await _ready(url, serving)
        yield Gateway(url, authority, app)
    finally:
        server.should_exit = True
        await serving


async def _ready(url: str, serving: asyncio.Task[None]) -> None:
    end = time.monotonic() + 20
    async with httpx2.AsyncClient(verify=TLS) as http:
        while time.monotonic() < end:
            assert not serving.done()
            try:
                if (await http.get(f"{url}/readyz")).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(0.01)
    raise TimeoutError(f"the gateway at {url} is not ready")
