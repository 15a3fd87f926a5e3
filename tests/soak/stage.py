"""What the load meets: a nats-server, two gateways behind a load balancer, two workers, and one that comes and goes."""

import asyncio
import contextlib
import itertools
import json
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from mcp.shared.exceptions import MCPError
from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError

import fleet
from fleet import Process
from isthmus import bus
from servers import NatsServer, nats_server
from soak.counters import FOLDER, Counters, file_of, resident
from soak.worker import SOURCE
from together import Together, processes

TESTS = Path(__file__).parents[1]
KICK_EVERY = 10.0
"""Seconds between two connections to the bus that are cut."""
STAYS = 2.0
"""Seconds that the worker which comes and goes is there."""
CALL_TIMEOUT = 10
EXCUSED_FOR = 5.0
"""Seconds after a cut in which calls may be lost: silence is noticed after 2 s, a read is sent once more."""


@dataclass
class Stage:
    """All of it, running."""

    folder: Path
    nats: NatsServer
    both: Together
    workers: dict[str, Process]
    monitor: NatsClient
    """As the system account's user."""
    kicked: list[float] = field(default_factory=list[float])
    visits: int = 0
    """Times that the third worker joined."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """The load ends. Nothing is cancelled for it: nats-py can lose that."""

    @property
    def processes(self) -> dict[str, Process]:
        gateways = {f"gateway {n}": process for n, process in enumerate(self.both.processes, 1)}
        return {**gateways, **self.workers}

    def excuses(self, since: float) -> bool:
        """Whether a call that began then may have been lost by a cut."""
        return any(at > since - EXCUSED_FOR for at in self.kicked)

    async def look(self) -> dict[str, Counters]:
        """Into every process."""
        return {name: await self.counters(process) for name, process in self.processes.items()}

    async def memory(self) -> dict[str, int]:
        """Bytes, by process."""
        assert self.nats.process is not None
        found = {name: counters.memory for name, counters in (await self.look()).items()}
        return {**found, "nats-server": resident(self.nats.process.pid)}

    async def on_the_bus(self) -> dict[str, int]:
        """What nats-server itself counts."""
        connections = await self._connections()
        return {"connections": len(connections), "subscriptions": sum(c["subscriptions"] for c in connections)}

    async def consumers(self) -> int:
        """JetStream's consumers: each watch of the policy leaves one behind that ends after five minutes."""
        return (await self._ask("PING.JSZ"))["data"]["consumers"]

    async def kick(self) -> None:
        """Cuts connections to the bus, the oldest first, until it is over."""
        while not await self._is_over(within=KICK_EVERY):
            connections = await self._connections()
            oldest = min(connection["cid"] for connection in connections)
            self.kicked.append(time.monotonic())
            await self._ask(f"{(await self._ask('PING.CONNZ'))['server']['id']}.KICK", {"cid": oldest})

    async def come_and_go(self) -> None:
        """A third worker joins under a new name each time, and leaves; every third time it is killed."""
        for number in itertools.count():
            if self.over.is_set():
                return
            name = f"visitor_{number}"
            with worker(self.nats, self.folder, name) as process:
                try:
                    async with self.both.behind.client() as client:
                        await fleet.until_listed(client, name)
                    self.visits += 1
                except* (MCPError, httpx2.HTTPError, AssertionError):
                    if not self.excuses(time.monotonic()):
                        raise
                await self._is_over(within=STAYS)
                if number % 3 != 2:
                    await asyncio.to_thread(process.terminate)

    async def _is_over(self, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.over.wait()
        return self.over.is_set()

    async def counters(self, process: Process) -> Counters:
        """Into one of them."""
        file = file_of(self.folder, process.popen.pid)
        file.unlink(missing_ok=True)
        process.popen.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(10):
            while not file.exists():
                assert process.popen.poll() is None, process.log.read_text()[-2000:]
                await asyncio.sleep(0.02)
        return msgspec.json.decode(file.read_bytes(), type=Counters)

    async def _connections(self) -> list[dict[str, Any]]:
        return (await self._ask("PING.CONNZ", {"acc": "ISTHMUS"}))["data"]["connections"]

    async def _ask(self, what: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        try:
            reply = await self.monitor.request(f"$SYS.REQ.SERVER.{what}", json.dumps(body or {}).encode(), timeout=5)
        except NatsError as error:
            raise RuntimeError(f"nats-server does not answer to {what}") from error
        return json.loads(reply.data)


def worker(nats: NatsServer, folder: Path, source: str) -> contextlib.AbstractContextManager[Process]:
    """A worker that serves one source."""
    settings = {**nats.environment("db_worker"), "ISTHMUS_FINGERPRINT_KEY": fleet.KEY, SOURCE: source}
    return fleet.process(folder, "soak.worker", PYTHONPATH=str(TESTS), **{FOLDER: str(folder)}, **settings)


@asynccontextmanager
async def stage(folder: Path) -> AsyncGenerator[Stage]:
    """Ready: both gateways know both workers."""
    async with AsyncExitStack() as stack:
        nats = stack.enter_context(nats_server(folder))
        settings = {"PYTHONPATH": str(TESTS), FOLDER: str(folder), "ISTHMUS_CALL_TIMEOUT": str(CALL_TIMEOUT)}
        both = await stack.enter_async_context(processes(nats, folder, "soak.gateway", **settings))
        workers = {f"worker {n}": stack.enter_context(worker(nats, folder, "shelf")) for n in (1, 2)}
        monitor = await bus.connect(nats.settings("sys"), "sys")
        stack.push_async_callback(monitor.close)
        built = Stage(folder, nats, both, workers, monitor)
        async with asyncio.timeout(20):
            for gateway in both.processes:  # a worker that is known listens to the signal, too
                while (await built.counters(gateway)).held["workers"] != 2:
                    await asyncio.sleep(0.1)
        yield built
