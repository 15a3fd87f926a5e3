"""A worker for the tests, written with the kit: it says, holds, misses, fails and writes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from isthmus import bus, subjects
from isthmus.errors import NotFound
from isthmus.grants import EVERYTHING, Granted
from isthmus.messages import TIMEOUT_HEADER, VERSION_HEADER, Envelope, Principal
from isthmus.worker import Call, Source, Worker, WorkerSettings
from servers import NatsServer

T = TypeVar("T")


class Say(msgspec.Struct, forbid_unknown_fields=True):
    """What to say."""

    words: str
    """The words."""
    database: str | None = None


class Said(msgspec.Struct):
    """What was said."""

    words: str

    def text(self) -> str:
        return f"It said: {self.words}"


@dataclass
class Shelf:
    """What the tools of these tests work on: a gate that holds them."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    held: int = 0
    stopped: int = 0

    async def until_held(self, calls: int = 1) -> None:
        """So many calls have come to the gate."""
        async with asyncio.timeout(10):
            while self.held < calls:
                await asyncio.sleep(0.01)


def make_worker(shelf: Shelf, limit: int = 4) -> Worker[Shelf]:
    """Two sources on one shelf: `shelf` is writable, `closed` is not."""
    worker = Worker[Shelf]("db", argument="database")

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def say(call: Call[Shelf], arguments: Say) -> Said:
        """Says it."""
        return Said(arguments.words)

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def hold(call: Call[Shelf], arguments: Say) -> str:
        """Waits for the gate."""
        await call.progress(1, 2, "half way")
        call.source.handle.held += 1
        try:
            await call.source.handle.open.wait()
        except asyncio.CancelledError:
            call.source.handle.stopped += 1
            raise
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def miss(call: Call[Shelf], arguments: Say) -> str:
        """Finds nothing."""
        raise NotFound(f"There is no {arguments.words}.")

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def fall(call: Call[Shelf], arguments: Say) -> str:
        """Fails; on the word `socket` as a socket does."""
        raise TimeoutError("hunter2") if arguments.words == "socket" else RuntimeError("a secret: hunter2")

    @worker.tool(scope="data:write", action="update")
    async def write(call: Call[Shelf], arguments: Say) -> str:
        """Changes something."""
        return arguments.words

    worker.add(Source("shelf", shelf, engine="test", target="test://shelf", writable=True, limit=limit))
    worker.add(Source("closed", shelf, engine="test", target="test://closed"))
    return worker


@asynccontextmanager
async def served(
    worker: Worker[T], nats: NatsServer, heartbeat_path: str = "", *, user: str = "db_worker"
) -> AsyncGenerator[asyncio.Event]:
    """The worker on the bus; the event makes it leave before the context ends."""
    bus_settings = msgspec.structs.asdict(nats.settings(user))
    settings = WorkerSettings(**bus_settings, heartbeat_path=heartbeat_path)
    until = asyncio.Event()
    watcher = await bus.connect(nats.settings("gateway"), "gateway")
    joined = await watcher.subscribe(subjects.CATALOG_CHANGED)
    await watcher.flush()
    task = asyncio.create_task(worker.serve(settings, until))
    await joined.next_msg(5)
    await watcher.close()
    yield until
    until.set()
    await asyncio.wait_for(task, 5)


@asynccontextmanager
async def calling(nats: NatsServer) -> AsyncGenerator["asyncio.Queue[bytes]"]:
    """Sends `tool` on the shelf for each name that is put in, and returns once each call runs or was answered."""
    client = await bus.connect(nats.settings("gateway"), "gateway")
    heard = asyncio.Queue[bool]()
    names = asyncio.Queue[bytes]()

    async def on_reply(message: object) -> None:
        await heard.put(True)

    await client.subscribe("_INBOX_gateway.db.test.*", cb=on_reply)

    async def send() -> None:
        number = 0
        while True:
            tool = (await names.get()).decode()
            number += 1
            granted = {"db.shelf": Granted.of([EVERYTHING])}
            envelope = Envelope(f"c{number}", Principal("u", "c", "default"), granted, msgspec.Raw(b'{"words": "x"}'))
            await client.publish(
                subjects.call("db", "shelf", tool),
                msgspec.json.encode(envelope),
                reply=f"_INBOX_gateway.db.test.{number}",
                headers={VERSION_HEADER: "1", TIMEOUT_HEADER: "5000"},
            )
            await asyncio.wait_for(heard.get(), 5)
            names.task_done()

    sending = asyncio.create_task(send())
    yield names
    sending.cancel()
    await client.close()
