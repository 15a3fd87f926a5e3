"""A small load balancer without stickiness: each request goes to the next gateway that says it is ready."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx2
import uvicorn
from starlette.types import Receive, Scope, Send

from servers import TLS, free_port

Choose = Callable[[Scope, list[str]], list[str]]
"""Puts the gateways that are ready in the order in which a request tries them."""

CHECK_EVERY = 0.1
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding"})


def in_turn() -> Choose:
    """Round robin."""
    turns = itertools.count()

    def choose(_scope: Scope, ready: list[str]) -> list[str]:
        first = next(turns) % len(ready)
        return ready[first:] + ready[:first]

    return choose


def sessions_elsewhere(_scope: Scope, ready: list[str]) -> list[str]:
    """The first gateway gets what begins sessions, the second all that belongs to one."""
    has_session = any(name == b"mcp-session-id" for name, _ in _scope["headers"])
    return ready[1:] if has_session else ready[:1]


class Balancer:
    """As an ASGI application: bodies and streams go through as they come, in both directions."""

    def __init__(self, http: httpx2.AsyncClient, choose: Choose) -> None:
        self.port = free_port()
        self.gateways: list[str] = []
        self.ready: list[str] = []
        self.asked: Counter[str] = Counter()
        self.choose = choose
        self._http = http

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def check(self) -> None:
        """Looks who is ready, for ever."""
        while True:
            self.ready = [gateway for gateway in self.gateways if await self._answers(gateway)]
            await asyncio.sleep(CHECK_EVERY)

    async def until_ready(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.ready) != count:
                await asyncio.sleep(0.01)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive()).get("more_body", False):
            body += message["body"]
        body += message.get("body", b"")

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        with contextlib.suppress(BaseExceptionGroup):  # the gateway died: the client's connection is cut, too
            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await self._pass_on(scope, body, send)
                group.cancel_scope.cancel()

    async def _pass_on(self, scope: Scope, body: bytes, send: Send) -> None:
        for gateway in self.choose(scope, self.ready) if self.ready else []:
            url = f"{gateway}{scope['path']}"
            request = self._http.build_request(scope["method"], url, headers=scope["headers"], content=body)
            try:
                response = await self._http.send(request, stream=True)
            except httpx2.ConnectError:
                continue
            self.asked[gateway] += 1
            try:
                headers = [(n, v) for n, v in response.headers.raw if n.lower() not in HOP_BY_HOP]
                await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
                async for part in response.aiter_raw():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
            return
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"no gateway is ready"})

    async def _answers(self, gateway: str) -> bool:
        try:
            return (await self._http.get(f"{gateway}/readyz", timeout=1)).status_code == 200
        except httpx2.HTTPError:
            return False


@asynccontextmanager
async def balancer(choose: Choose | None = None) -> AsyncGenerator[Balancer]:
    """A running load balancer; its gateways are to be named to it."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=None, limits=limits, verify=TLS) as http:
        running = Balancer(http, choose or in_turn())
        config = uvicorn.Config(
            running, port=running.port, lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        tasks = [asyncio.create_task(server.serve()), asyncio.create_task(running.check())]
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield running
        finally:
            server.should_exit = True
            tasks[1].cancel()
            await asyncio.wait(tasks)
