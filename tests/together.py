"""Several gateways behind one load balancer, in this process or as processes, and 2025 sessions led by hand."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client

import fleet
from balancer import Balancer, Choose, balancer
from fleet import Process
from gateways import ISSUER, Authority, Gateway, running_gateway
from servers import TLS, NatsServer

INITIALIZE: dict[str, object] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
LIST: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@dataclass
class Together:
    """Two gateways, and what stands in front of them."""

    front: Balancer
    gateways: list[Gateway]
    processes: list[Process] = field(default_factory=list[Process])

    @property
    def authority(self) -> Authority:
        return self.gateways[0].authority

    @property
    def behind(self) -> Gateway:
        """Both, as clients see them."""
        return Gateway(self.front.url, self.authority)

    def alone(self, gateway: Gateway) -> Gateway:
        """One of them, reached without the load balancer by clients that say the name which all have."""
        return Gateway(gateway.url, self.authority, host=self.front.url.removeprefix("http://"))


@asynccontextmanager
async def together(nats: NatsServer, choose: Choose | None = None, call_timeout: float = 5) -> AsyncGenerator[Together]:
    """Both in this process."""
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(balancer(choose))
        authority = Authority(nats, audience=f"{front.url}/mcp")
        await authority.publish_all()
        gateways = [
            await stack.enter_async_context(
                running_gateway(nats, authority, call_timeout=call_timeout, behind=front.url)
            )
            for _ in range(2)
        ]
        front.gateways = [gateway.url for gateway in gateways]
        await front.until_ready(2)
        yield Together(front, gateways)


@asynccontextmanager
async def processes(
    nats: NatsServer, folder: Path, module: str = "isthmus_mcp_gateway", **settings: str
) -> AsyncGenerator[Together]:
    """Each started as the product starts it; another module is one that does so."""
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(balancer())
        authority = Authority(nats, audience=f"{front.url}/mcp")
        await authority.publish_all()
        origins = {"ISTHMUS_ISSUER": ISSUER, "ISTHMUS_GATEWAY_URL": front.url}
        both = Together(front, [])
        for port in fleet.free_ports():
            both.processes.append(stack.enter_context(fleet.gateway(nats, folder, port, module, **origins, **settings)))
            both.gateways.append(Gateway(f"http://127.0.0.1:{port}", authority))
        front.gateways = [gateway.url for gateway in both.gateways]
        await front.until_ready(2)
        yield both


@dataclass
class Session:
    """A 2025 session that a test leads by hand, with a different gateway for each request if it likes."""

    http: httpx2.AsyncClient
    host: str
    token: str
    id: str = ""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Host": self.host,
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            **({"Mcp-Session-Id": self.id, "MCP-Protocol-Version": "2025-11-25"} if self.id else {}),
        }

    async def post(self, gateway: Gateway, body: dict[str, object], **headers: str) -> httpx2.Response:
        numbered = {**body, "id": next(self.numbers)} if "id" in body else body  # one of its own, as sessions need it
        return await self.http.post(gateway.mcp, json=numbered, headers={**self.headers, **headers})

    async def delete(self, gateway: Gateway) -> httpx2.Response:
        return await self.http.delete(gateway.mcp, headers=self.headers)

    @asynccontextmanager
    async def listen(self, gateway: Gateway) -> AsyncGenerator[httpx2.Response]:
        async with self.http.stream("GET", gateway.mcp, headers=self.headers) as response:
            yield response


@asynccontextmanager
async def session(both: Together, at: Gateway, token: str = "") -> AsyncGenerator[Session]:
    """A session that begins at the gateway."""
    async with httpx2.AsyncClient(timeout=20, verify=TLS) as http:
        opened = Session(http, both.front.url.removeprefix("http://"), token or both.authority.token())
        answer = await opened.post(at, INITIALIZE)
        assert answer.status_code == 200, answer.text
        opened.id = answer.headers["mcp-session-id"]
        initialized: dict[str, object] = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await opened.post(at, initialized)).status_code == 202
        yield opened


def event(response: httpx2.Response) -> dict[str, Any]:
    """The one message of a response that is a stream of events."""
    (data,) = (line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: "))
    return json.loads(data)


def tools(response: httpx2.Response) -> list[str]:
    return [tool["name"] for tool in event(response)["result"]["tools"]]


async def until_said(client: Client, words: str = "x") -> None:
    """The shelf is in the catalog of whichever gateways answer."""
    async with asyncio.timeout(10):
        said = 0
        while said < 4:  # whichever gateway is asked
            result = await client.call_tool("say", {"words": words, "database": "shelf"})
            said = 0 if result.is_error else said + 1
            await asyncio.sleep(0.01)


def say(words: str) -> dict[str, object]:
    params: dict[str, object] = {"name": "say", "arguments": {"words": words, "database": "shelf"}}
    return {**LIST, "method": "tools/call", "params": params}


async def until_free(opened: Session, gateway: Gateway, seconds: float) -> None:
    """The owner has noticed that the session's stream has no reader any more."""
    async with asyncio.timeout(seconds):
        while True:
            async with opened.listen(gateway) as stream:
                if stream.status_code == 200:
                    return
                assert stream.status_code == 409
            await asyncio.sleep(0.02)
