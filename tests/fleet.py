"""Services as processes of their own, to be killed, stopped and started, and a load that checks every answer."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from mcp import Client

from gateways import Gateway
from servers import TLS, NatsServer, free_port

ROWS = 100
KEY = "one key for all workers"


@dataclass
class Process:
    """A service as a process."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(5)

    def pause(self) -> None:
        """Returns once it stands still."""
        self.popen.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            pass

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def terminate(self, most: float = 15) -> float:
        """The seconds that it took to end in order."""
        began = time.monotonic()
        self.popen.terminate()
        self.popen.wait(most)
        return time.monotonic() - began


@contextmanager
def process(folder: Path, module: str, **settings: str) -> Generator[Process]:
    """`python -m module` with these settings and no others; killed at the end if it still runs."""
    name = f"{module}-{uuid.uuid4().hex[:6]}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ISTHMUS_")}
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen([sys.executable, "-m", module], env={**environment, **settings}, stderr=output)
    try:
        yield Process(name, popen, log)
    finally:
        popen.kill()
        popen.wait(5)


@contextmanager
def db_worker(nats: NatsServer, folder: Path, **databases: str) -> Generator[Process]:
    """A db worker that serves these databases, each given by its URL, read-write."""
    served = {name: {"url": url, "access": "read-write"} for name, url in databases.items()}
    settings = {"ISTHMUS_DATABASES": json.dumps(served), "ISTHMUS_FINGERPRINT_KEY": KEY}
    with process(folder, "isthmus_db_worker", **nats.environment("db_worker"), **settings) as running:
        yield running


@contextmanager
def auth(nats: NatsServer, folder: Path, port: int, **settings: str) -> Generator[Process]:
    """The authorization server, with its state in the folder."""
    usual = {"ISTHMUS_PORT": str(port), "ISTHMUS_DATA_DIR": str(folder / "auth"), **settings}
    with process(folder, "isthmus_auth", **nats.environment("auth"), **usual) as running:
        yield running


@contextmanager
def gateway(
    nats: NatsServer, folder: Path, port: int, module: str = "isthmus_mcp_gateway", **settings: str
) -> Generator[Process]:
    """A gateway; another module is one that starts it."""
    with process(folder, module, **nats.environment("gateway"), ISTHMUS_PORT=str(port), **settings) as running:
        yield running


async def answers(url: str, path: str = "/readyz", seconds: float = 15) -> float:
    """The seconds until the service answers 200."""
    began = time.monotonic()
    async with httpx2.AsyncClient(verify=TLS) as http:
        while time.monotonic() - began < seconds:
            with contextlib.suppress(httpx2.HTTPError):
                if (await http.get(url + path)).status_code == 200:
                    return time.monotonic() - began
            await asyncio.sleep(0.02)
    raise TimeoutError(f"{url}{path} does not answer")


def ledger(folder: Path) -> Path:
    """A database with something to read, and a table that takes a token for each attempt to write."""
    file = folder / "ledger.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table numbers (id integer primary key, square integer)")
        database.execute("create table attempts (id integer primary key, token text not null)")
        database.executemany("insert into numbers values (?, ?)", [(n, n * n) for n in range(ROWS)])
        database.commit()
    return file


@dataclass
class Attempt:
    """One call that writes: when it was made, and what the caller was told: `done`, or the code of an error."""

    began: float
    told: str = "nothing"


@dataclass
class Load:
    """Clients that read and write all the time."""

    client: Client
    database: str
    reads: int = 0
    slowest: float = 0.0
    failed: list[str] = field(default_factory=list[str])
    """Reads that did not come back with the right row."""
    attempts: dict[str, Attempt] = field(default_factory=dict[str, Attempt])
    over: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def begin_writing(self, writers: int) -> None:
        self.tasks += [asyncio.create_task(self.write()) for _ in range(writers)]

    async def read(self) -> None:
        number = 0
        while not self.over:
            number = (number + 7) % ROWS
            began = time.monotonic()
            arguments = {"database": self.database, "table": "numbers", "filter": f"id = {number}"}
            result = await self.client.call_tool("query_table", arguments)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.reads += 1
            content = result.structured_content
            if result.is_error or content is None or content["rows"] != [[number, number * number]]:
                self.failed.append(f"{result.meta} {result.content}")
                await asyncio.sleep(0.02)

    async def write(self) -> None:
        while not self.over:
            token = uuid.uuid4().hex
            attempt = self.attempts[token] = Attempt(time.monotonic())
            arguments = {"database": self.database, "table": "attempts", "records": [{"token": token}]}
            result = await self.client.call_tool("create_records", arguments)
            attempt.told = (result.meta or {}).get("isthmus/error", "") if result.is_error else "done"

    def told(self) -> Counter[str]:
        """How often callers of writes were told what."""
        return Counter(attempt.told for attempt in self.attempts.values())

    def check_writes(self, file: Path) -> None:
        """What was told is true in this SQLite file."""
        with closing(sqlite3.connect(file)) as database:
            self.check_told(Counter(token for (token,) in database.execute("select token from attempts")))

    def check_told(self, found: Mapping[str, int]) -> None:
        """Done is there once, unknown at most once, everything else is not there."""
        for token, attempt in self.attempts.items():
            allowed = {"done": {1}, "outcome_unknown": {0, 1}}.get(attempt.told, {0})
            assert found[token] in allowed, f"{attempt} is there {found[token]} times"

    def late(self, file: Path, since: float) -> int:
        """How many writes that were begun after the time, and whose callers were not told that they are done, ran."""
        unwanted = [token for token, a in self.attempts.items() if a.began >= since and a.told != "done"]
        with closing(sqlite3.connect(file)) as database:
            found = Counter(token for (token,) in database.execute("select token from attempts"))
        return sum(found[token] for token in unwanted)

    async def until_answered(self, seconds: float = 10) -> float:
        """The seconds until a read that begins now or later is answered."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            arguments = {"database": self.database, "table": "numbers", "limit": 1}
            if not (await self.client.call_tool("query_table", arguments)).is_error:
                return time.monotonic() - began
            await asyncio.sleep(0.02)
        raise TimeoutError("no answer")


@asynccontextmanager
async def under_load(gateway: Gateway, database: str, readers: int = 3, writers: int = 3) -> AsyncGenerator[Load]:
    """Calls all the time, from the first moment that the database is there to the end of the context."""
    async with gateway.client() as client:
        load = Load(client, database)
        await until_listed(client, database)
        load.tasks += [asyncio.create_task(load.read()) for _ in range(readers)]
        load.begin_writing(writers)
        try:
            yield load
        finally:
            load.over = True
            await asyncio.wait_for(asyncio.gather(*load.tasks), 15)


async def sources(client: Client) -> dict[str, dict[str, str]]:
    """The catalog as list_sources shows it."""
    content = (await client.call_tool("list_sources", {"limit": 200})).structured_content
    assert content is not None
    return {source["name"]: source for source in content["sources"]}


async def until_listed(client: Client, name: str, *, listed: bool = True, seconds: float = 15) -> float:
    """The seconds until the source is, or is not, in the catalog."""
    began = time.monotonic()
    while (name in await sources(client)) is not listed:
        assert time.monotonic() - began < seconds, f"{name} after {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def free_ports() -> tuple[int, int]:
    """Two different ones."""
    first = free_port()
    while (second := free_port()) == first:
        pass
    return first, second
