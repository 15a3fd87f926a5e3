"""The receiver's side of forwarding: a request that belongs to another gateway goes there over the bus."""

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field

import anyio
import msgspec
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from nats.errors import Error as NatsError
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus import subjects
from isthmus.errors import CallError, IsthmusError, NoWorker, WorkerLost
from isthmus_mcp_gateway.gate import CLAIMS, read_body, replay_body, respond
from isthmus_mcp_gateway.inbox import Inbox
from isthmus_mcp_gateway.peers import MOST, WINDOW, WORKING_EVERY, Forwarded, Heard, Start, owner_of, wanted

logger = logging.getLogger("isthmus.forwarding")

ABSENT_FOR = 1.0
"""Seconds for which an owner that is not there is looked for: it may be about to reconnect, as this gateway did."""

_TYPE = b"content-type"


class Forward:
    """One request on its way to its owner, and the response on its way back."""

    def __init__(self, inbox: Inbox, owner: str, request: Forwarded, send: Send) -> None:
        self.failure: IsthmusError | None = None
        """Why there is no whole response."""
        self.started = False
        self.complete = False
        self._inbox = inbox
        self._owner = owner
        self._request = request
        self._send = send
        self._is_stream = False
        self._taken = 0
        self._told = 0
        self._arriving, self._arrived = anyio.create_memory_object_stream[tuple[str, bytes]](WINDOW)

    async def ask(self) -> None:
        """Sends the request and lets the frames of its response come, to the last."""
        subject = subjects.gateway(self._owner, "request")
        body = msgspec.msgpack.encode(self._request)
        end = time.monotonic() + ABSENT_FOR
        with self._arriving:
            while True:
                try:
                    await self._inbox.request(subjects.PEER, subject, body, on_frame=self._on_frame)
                except NoWorker as error:
                    if time.monotonic() < end:
                        await asyncio.sleep(0.05)
                        continue
                    self.failure = error
                except IsthmusError as error:
                    self.failure = error
                except NatsError as error:
                    logger.info("a request was not forwarded: %s", type(error).__name__)
                    self.failure = CallError()
                return

    async def relay(self) -> None:
        """Passes the response on to the client."""
        with self._arrived:
            async for kind, body in self._arrived:
                if kind == "start":
                    start = msgspec.msgpack.decode(body, type=Start)
                    self._is_stream = any(v.startswith(b"text/event-stream") for n, v in start.headers if n == _TYPE)
                    self.started = True
                    await self._send({"type": "http.response.start", "status": start.status, "headers": start.headers})
                else:
                    await self._send({"type": "http.response.body", "body": body, "more_body": True})
                self._taken += 1
                if self._taken - self._told >= WINDOW // 2:
                    await self.tell()
        if self.started and (self.failure is None or self._is_stream):  # a stream of events may end anywhere
            self.complete = self.failure is None
            await self._send({"type": "http.response.body", "body": b""})

    async def tell(self) -> None:
        """Says that this gateway is there, and how much its client has taken."""
        self._told = self._taken
        await self._publish("heard", msgspec.msgpack.encode(Heard(self._request.id, self._taken)))

    async def give_up(self) -> None:
        """Says that nobody waits for the response any more."""
        await self._publish("gone", self._request.id.encode())

    async def _publish(self, topic: str, body: bytes) -> None:
        try:
            await self._inbox.client.publish(subjects.gateway(self._owner, topic), body)
        except NatsError:
            logger.debug("the bus is away")

    def _on_frame(self, kind: str, body: bytes) -> None:
        """Never waits: every other reply would wait with it."""
        if kind == "working":
            return
        try:
            self._arriving.send_nowait((kind, body))
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self.failure = WorkerLost()
            self._arriving.close()


@dataclass(slots=True)
class Forwarding:
    """Forwards what another gateway owns; answers the rest here."""

    inbox: Inbox
    gateway_id: str
    inner: ASGIApp
    security: TransportSecuritySettings
    _under_way: dict[str, Forward] = field(default_factory=dict[str, Forward])
    _ticker: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Ready to hear from other gateways."""
        await self.inbox.open_kind(subjects.PEER)
        self._ticker = asyncio.create_task(self._tick())

    def close(self) -> None:
        """Ends what `open` began."""
        if self._ticker is not None:
            self._ticker.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        owner = owner_of(scope["headers"])
        is_post = scope["method"] == "POST"
        if owner is None or owner == self.gateway_id:
            await self.inner(scope, receive, send)
        elif refusal := await TransportSecurityMiddleware(self.security).validate_request(Request(scope), is_post):
            await refusal(scope, receive, send)
        elif len(self._under_way) >= MOST:
            await respond(send, 503)
        elif (body := await read_body(receive) if is_post else b"") is None:
            await respond(send, 413)
        else:
            await self._forward(owner, body, scope, receive, send)

    async def _forward(self, owner: str, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        request = Forwarded(
            secrets.token_hex(12), scope["method"], scope["path"], wanted(scope["headers"]), body, scope[CLAIMS]
        )
        forward = self._under_way[request.id] = Forward(self.inbox, owner, request, send)
        connected = True

        async def watch() -> None:
            nonlocal connected
            while (await receive())["type"] != "http.disconnect":
                pass
            connected = False
            group.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(forward.ask)
                group.start_soon(watch)
                await forward.relay()
                group.cancel_scope.cancel()
        finally:
            del self._under_way[request.id]
            if not forward.complete:
                await forward.give_up()
        if not connected or forward.started or forward.failure is None:
            return
        if isinstance(forward.failure, NoWorker):  # nothing of it is left: here it is as unknown as anywhere
            await self.inner(scope, replay_body(body, receive), send)
        else:
            await respond(send, 504 if isinstance(forward.failure, WorkerLost) else 503)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(WORKING_EVERY)
            await self._tell()

    async def _tell(self) -> None:
        """A function of its own: a loop in the ticker would hold the last request until the next one."""
        for forward in list(self._under_way.values()):
            await forward.tell()
