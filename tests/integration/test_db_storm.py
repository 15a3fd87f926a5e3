"""Many writers at the same time, through a gateway and two workers, and workers that are killed in the middle.

`make storm` runs the long form: 500 batches.
"""

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from databases import Shop
from fleet import Process, db_worker, until_listed
from gateways import running_gateway
from servers import NatsServer

pytest_plugins = ["database_fixtures"]
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

BATCHES = int(os.environ.get("ISTHMUS_STORM", "40"))
EVERY = 100
"""Batches between two kills."""
SIZE = 20
"""Records in one."""
WRITERS = 50
ROUNDS = 1 if BATCHES < 100 else 4

TABLES = (
    "create table counters (id integer primary key, number integer not null);\n"
    "create table tokens (token varchar(40) primary key, writer integer);\n"
    "create table pieces (batch integer not null, piece integer not null, primary key (batch, piece))"
)


class Storm:
    """Two workers of one database, and a client of the gateway before them."""

    def __init__(self, client: Client, start: Callable[[], Process]) -> None:
        self.client = client
        self.start = start
        self.workers = [start(), start()]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer, or the code of the error as `error`."""
        result = await self.client.call_tool(tool, {"database": "shop", **arguments})
        if result.is_error:
            return {"error": (result.meta or {}).get("isthmus/error", ""), "text": str(result.content)}
        return result.structured_content or {}

    async def increment(self, counter: int) -> None:
        """Reads a number and writes the next one, if it is still the same, until that was so."""
        done = 0
        while not done:
            ((number,),) = (await self.call("query_table", table="counters", ids=[counter], columns=["number"]))["rows"]
            met, values = f"id = {counter} and number = {number}", {"number": number + 1}
            changed = await self.call("update_records", table="counters", filter=met, values=values)
            assert "error" not in changed, changed
            done = changed["updated"]

    async def create(self, token: str, writer: int) -> str:
        records = [{"token": token, "writer": writer}]
        return (await self.call("create_records", table="tokens", records=records)).get("error", "created")

    async def upsert(self, token: str, writer: int) -> str:
        records = [{"token": token, "writer": writer}]
        stored = await self.call("upsert_records", table="tokens", records=records)
        assert "error" not in stored, stored
        return "created" if stored["created"] else "updated"

    async def cross(self, ids: list[int]) -> dict[str, Any]:
        """Locks one row after the other."""
        records = [{"id": key, "note": "crossed"} for key in ids]
        return await self.call("update_records", table="orders", records=records, **{"continue": True})


@asynccontextmanager
async def storm(nats: NatsServer, folder: Path, shop: Shop) -> AsyncGenerator[Storm]:
    """Once both workers serve."""
    with ExitStack() as stack:

        def start() -> Process:
            return stack.enter_context(db_worker(nats, folder, shop=shop.url))

        async with running_gateway(nats, call_timeout=20) as gateway, gateway.client() as client:
            running = Storm(client, start)
            await until(lambda: all("serving" in worker.log.read_text() for worker in running.workers))
            await until_listed(client, "shop")
            yield running


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_many_writers_lose_and_double_nothing_and_a_batch_is_whole_or_absent(
    nats: NatsServer, tmp_path: Path, shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    shop.execute(TABLES)
    for counter in range(10):
        shop.execute("insert into counters values (:id, 0)", id=counter)
    tokens = [uuid.uuid4().hex for _ in range(WRITERS // 2)]
    async with storm(nats, tmp_path, shop) as running:
        for _ in range(ROUNDS):
            await asyncio.gather(*(running.increment(writer % 10) for writer in range(WRITERS)))
        created = Counter(await asyncio.gather(*(running.create(tokens[w // 2], w) for w in range(WRITERS))))
        stored = Counter(await asyncio.gather(*(running.upsert(f"u-{tokens[w // 2]}", w) for w in range(WRITERS))))
        crossed = await asyncio.gather(*(running.cross([1, 2] if n % 2 else [2, 1]) for n in range(4 * ROUNDS)))
        told = await write_batches(running)
    assert shop.execute("select sum(number) from counters") == [(ROUNDS * WRITERS,)]
    assert created == {"created": WRITERS // 2, "conflict": WRITERS // 2}
    assert stored == {"created": WRITERS // 2, "updated": WRITERS // 2}
    assert shop.execute("select count(*) from tokens") == [(WRITERS,)]
    for outcome in crossed:
        assert outcome.get("updated") == 2 or outcome.get("error") == "conflict", outcome
    assert shop.execute("select count(*) from orders where note = 'crossed'") == [(2,)]

    found = dict(shop.execute("select batch, count(*) from pieces group by batch"))
    counts = dict(Counter(told.values()))
    record_property("summary", f"{shop.engine}: {BATCHES} batches: {counts}; {len(found)} are there, all of them whole")
    assert set(found.values()) <= {SIZE}
    for batch, outcome in told.items():
        allowed = {"done": {True}, "outcome_unknown": {True, False}}.get(outcome, {False})
        assert (batch in found) in allowed, (batch, outcome)
    assert counts["done"] > BATCHES // 2


async def write_batches(running: Storm) -> dict[int, str]:
    """What was said of each batch, while workers are killed and others started."""
    told: dict[int, str] = {}
    batches = iter(range(BATCHES))

    async def write() -> None:
        for batch in batches:
            records = [{"batch": batch, "piece": piece} for piece in range(SIZE)]
            outcome = await running.call("create_records", table="pieces", records=records)
            told[batch] = outcome.get("error", "done")

    writers = [asyncio.create_task(write()) for _ in range(16)]
    for done in range(BATCHES // 4, BATCHES, EVERY):
        await until(lambda done=done: len(told) >= done)
        running.workers.pop(0).kill()
        if done + EVERY < BATCHES:
            running.workers.append(running.start())
    await asyncio.gather(*writers)
    return told
