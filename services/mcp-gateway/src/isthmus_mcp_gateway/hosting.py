"""The owner's side of forwarding: requests that came to another gateway, answered here over the bus."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from starlette.types import ASGIApp, Message, Scope

from isthmus import subjects
from isthmus.errors import BadCall, Busy, IsthmusError, WorkerFailed
from isthmus.messages import CODE_HEADER, ERROR_CODE_HEADER, ERROR_HEADER, FRAME_HEADER
from isthmus_mcp_gateway.gate import admit
from isthmus_mcp_gateway.peers import MOST, PART, WINDOW, WORKING_EVERY, Forwarded, Heard, Start

logger = logging.getLogger("isthmus.hosting")

LOST_AFTER = 3.0
"""Seconds without a word from the gateway that forwarded a request, after which it counts as gone."""
STALLED_AFTER = 30.0
"""Seconds for which a client may take nothing of its response while more is waiting."""
LEAVE_WITHIN = 1.0


class Hosted:
    """One forwarded request, as an ASGI server shows it to its application."""

    def __init__(self, client: Client, request: Forwarded, reply: str) -> None:
        self.request = request
        self.over = asyncio.Event()
        """The response is complete, or there is nobody left to send it to."""
        self.heard = time.monotonic()
        self._client = client
        self._reply = reply
        self._read = False
        self._complete = False
        self._sent = 0
        self._taken = 0
        self._moved = asyncio.Event()

    def hear(self, taken: int) -> None:
        """The other side is there; so much has gone out to the client."""
        self.heard = time.monotonic()
        self._taken = max(self._taken, taken)
        self._moved.set()

    def end(self) -> None:
        """There is nobody to send to any more."""
        self.over.set()
        self._moved.set()

    async def receive(self) -> Message:
        """The request, then that the client is gone."""
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": self.request.body, "more_body": False}
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """The response as frames; what nobody waits for is dropped, as a web server does."""
        try:
            if message["type"] == "http.response.start":
                start = Start(message["status"], list(message.get("headers", [])))
                await self._frame("start", msgspec.msgpack.encode(start))
                return
            body: bytes = message.get("body", b"")
            for begin in range(0, len(body), PART):
                await self._frame("body", body[begin : begin + PART])
            if not message.get("more_body", False) and not self.over.is_set():
                self._complete = True
                self.end()
                await self._client.publish(self._reply)
        except (NatsError, TimeoutError) as error:
            logger.info("a response to another gateway was given up: %s", type(error).__name__)
            self.end()

    async def work(self) -> None:
        """Says that the response still comes."""
        if not self.over.is_set():
            await self._client.publish(self._reply, headers={FRAME_HEADER: "working"})

    async def close(self) -> None:
        """The application is done: a response that is not complete never will be."""
        self.end()
        if not self._complete:
            await refuse(self._client, self._reply, WorkerFailed())

    async def _frame(self, kind: str, body: bytes) -> None:
        async with asyncio.timeout(STALLED_AFTER):
            while self._sent - self._taken >= WINDOW and not self.over.is_set():
                self._moved.clear()
                await self._moved.wait()
        if not self.over.is_set():
            self._sent += 1
            await self._client.publish(self._reply, body, headers={FRAME_HEADER: kind})


class Hosting:
    """Answers what other gateways forward to this one: its sessions and tasks live here."""

    def __init__(self, client: Client, gateway_id: str, app: ASGIApp) -> None:
        self._client = client
        self._gateway_id = gateway_id
        self._app = app
        self._hosted: dict[str, Hosted] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: Subscription | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """From now on other gateways find this one."""
        await self._subscribe("heard", self._on_heard)
        await self._subscribe("gone", self._on_gone)
        self._requests = await self._subscribe("request", self._on_request)
        await self._client.flush()
        self._ticker = asyncio.create_task(self._tick())

    async def leave(self) -> None:
        """From now on other gateways hear that what is owned here is gone; what has arrived is still answered."""
        requests, self._requests = self._requests, None
        if requests is None or not self._client.is_connected:
            return
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                await requests.drain()
        except (NatsError, TimeoutError):
            logger.debug("the bus is away")

    async def finish(self, seconds: float) -> None:
        """Waits for what is under way; what takes longer is ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, seconds))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()

    async def _subscribe(self, topic: str, on_message: Callable[[Msg], Awaitable[None]]) -> Subscription:
        return await self._client.subscribe(subjects.gateway(self._gateway_id, topic), cb=on_message)

    async def _on_heard(self, message: Msg) -> None:
        heard = msgspec.msgpack.decode(message.data, type=Heard)
        if (hosted := self._hosted.get(heard.id)) is not None:
            hosted.hear(heard.taken)

    async def _on_gone(self, message: Msg) -> None:
        if (hosted := self._hosted.get(message.data.decode("latin-1"))) is not None:
            hosted.end()

    async def _on_request(self, message: Msg) -> None:
        try:
            request = msgspec.msgpack.decode(message.data, type=Forwarded)
        except msgspec.DecodeError:
            await refuse(self._client, message.reply, BadCall())
            return
        if len(self._hosted) >= MOST:
            await refuse(self._client, message.reply, Busy())
            return
        hosted = self._hosted[request.id] = Hosted(self._client, request, message.reply)
        task = asyncio.create_task(self._run(hosted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, hosted: Hosted) -> None:
        try:
            await self._app(_scope(hosted.request), hosted.receive, hosted.send)
        except Exception:  # here the application's server is us
            logger.exception("a forwarded request failed")
        finally:
            del self._hosted[hosted.request.id]
            await hosted.close()

    async def _tick(self) -> None:
        ticked = time.monotonic()
        while True:
            await asyncio.sleep(WORKING_EVERY)
            now = time.monotonic()
            stood_still, ticked = now - ticked - WORKING_EVERY, now  # what came meanwhile has not been read yet
            await self._work(now, stood_still)

    async def _work(self, now: float, stood_still: float) -> None:
        """A function of its own: a loop in the ticker would hold the last request until the next one."""
        for hosted in list(self._hosted.values()):
            hosted.heard += stood_still
            if now - hosted.heard > LOST_AFTER:
                hosted.end()
            try:
                await hosted.work()
            except NatsError:
                hosted.end()


async def refuse(client: Client, reply: str, error: IsthmusError) -> None:
    """Ends a request with one of the catalogue's errors (ADR-32)."""
    headers = {ERROR_CODE_HEADER: str(error.status), ERROR_HEADER: error.message, CODE_HEADER: error.code}
    try:
        await client.publish(reply, headers=headers)
    except NatsError:
        logger.debug("the bus is away")


def _scope(request: Forwarded) -> Scope:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": request.headers,
        "client": None,
        "server": None,
    }
    admit(scope, request.claims)
    return scope
