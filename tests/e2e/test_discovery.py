"""Workers that come and go while clients work."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mcp import Client

from isthmus.launcher.state import Run, read
from stack import Person, Stack, Storage


@contextmanager
def another_worker(stack: Stack, folder: Path) -> Generator[subprocess.Popen[bytes]]:
    """A second db-worker on the same bus, with a database of its own."""
    with closing(sqlite3.connect(folder / "extra.db")) as database:
        database.execute("create table if not exists things (id integer primary key, name text)")
        database.commit()
    run = read(stack.folder.run_file, Run)
    assert run is not None
    environment = {
        **os.environ,
        "ISTHMUS_NATS_URL": stack.connection.nats_url,
        "ISTHMUS_NATS_USER": "db_worker",
        "ISTHMUS_NATS_PASSWORD": stack.folder.secrets().nats_passwords["db_worker"],
        "ISTHMUS_DATABASES": f'{{"extra": {{"url": "sqlite:///{folder}/extra.db"}}}}',
    }
    process = subprocess.Popen([sys.executable, "-m", "isthmus_db_worker"], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
async def client(stack: Stack) -> AsyncGenerator[Client]:
    async with Person(stack.connection, Storage()).client() as connected:
        yield connected


async def databases(client: Client) -> list[str]:
    """What the argument `database` of query_table offers."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    return tools["query_table"].input_schema["properties"]["database"]["enum"]


async def seconds_until(client: Client, name: str, *, there: bool, most: float) -> float:
    began = time.monotonic()
    while (name in await databases(client)) is not there:
        assert time.monotonic() - began < most
        assert not (await client.call_tool("query_table", {"database": "shop", "table": "orders"})).is_error
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_a_worker_that_starts_shows_one_that_stops_goes_and_the_others_work(
    client: Client, stack: Stack, tmp_path: Path
) -> None:
    with another_worker(stack, tmp_path) as worker:
        await seconds_until(client, "extra", there=True, most=10)
        assert not (await client.call_tool("query_table", {"database": "extra", "table": "things"})).is_error
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 5) == 0
        assert await seconds_until(client, "extra", there=False, most=1) < 1


async def test_a_killed_worker_goes_within_ten_seconds_and_its_calls_are_answered(
    client: Client, stack: Stack, tmp_path: Path
) -> None:
    with another_worker(stack, tmp_path) as worker:
        await seconds_until(client, "extra", there=True, most=10)
        worker.kill()
        worker.wait()
        answer = await client.call_tool("query_table", {"database": "extra", "table": "things"})
        assert answer.is_error
        assert "worker" in str(answer.content[0])
        assert await seconds_until(client, "extra", there=False, most=10) < 10
