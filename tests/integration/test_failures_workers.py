"""Workers that die, stop and come back while clients read and write: what was answered is true."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from fleet import Load, Process, db_worker, ledger, sources, under_load, until_listed
from gateways import running_gateway
from servers import NatsServer

PAUSE = 3.0
"""Seconds for which a worker is stopped: long enough that callers give up, too short for the bus to drop it."""

pytestmark = [pytest.mark.timeout(60), pytest.mark.alone]


@asynccontextmanager
async def two_workers(nats: NatsServer, folder: Path) -> AsyncGenerator[tuple[Load, Process, Process, Path]]:
    """Two workers of one database, and a load."""
    file = ledger(folder)
    url = f"sqlite:///{file}"
    with db_worker(nats, folder, ledger=url) as one, db_worker(nats, folder, ledger=url) as two:
        async with running_gateway(nats, call_timeout=8) as gateway, gateway.client() as client:
            await until(lambda: "serving" in one.log.read_text() and "serving" in two.log.read_text())
            await until_listed(client, "ledger")
            async with under_load(gateway, "ledger", readers=3, writers=12) as load:
                yield load, one, two, file


async def test_a_killed_worker_fails_no_read_doubles_no_write_and_the_lost_ones_are_said(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with two_workers(nats, tmp_path) as (load, victim, _, file):
        await until(lambda: load.told()["done"] > 20)
        with closing(sqlite3.connect(file, isolation_level=None)) as lock:
            lock.execute("begin immediate")  # so that every writer waits in a worker
            before = load.reads
            await until(lambda: load.reads > before + 20)
            victim.kill()
            killed = time.monotonic()
            lock.execute("rollback")
        await until(lambda: load.told()["outcome_unknown"] > 0)
        told_after = time.monotonic() - killed
        more = load.told()["done"]
        await until(lambda: load.told()["done"] > more + 20)
    print(f"killed: {load.reads} reads, slowest {load.slowest:.2f} s; {dict(load.told())}, told in {told_after:.2f} s")
    assert load.failed == []
    assert load.told().keys() == {"done", "outcome_unknown"}
    assert told_after < 3
    load.check_writes(file)


async def test_a_worker_that_is_told_to_stop_fails_no_call(nats: NatsServer, tmp_path: Path) -> None:
    async with two_workers(nats, tmp_path) as (load, leaver, _, file):
        await until(lambda: load.told()["done"] > 50)
        took = await asyncio.to_thread(leaver.terminate)
        before = load.told()["done"]
        await until(lambda: load.told()["done"] > before + 50)
    print(f"told to stop: ended in {took:.2f} s; {load.reads} reads, slowest {load.slowest:.2f} s; {dict(load.told())}")
    assert load.failed == []
    assert load.told().keys() == {"done"}
    assert took < 3
    load.check_writes(file)


async def test_a_write_that_a_stopped_worker_got_never_runs_later(nats: NatsServer, tmp_path: Path) -> None:
    file = ledger(tmp_path)
    with db_worker(nats, tmp_path, ledger=f"sqlite:///{file}") as worker:
        async with running_gateway(nats, call_timeout=8) as gateway, under_load(gateway, "ledger", 1, 0) as load:
            await until(lambda: load.reads > 5)
            worker.pause()
            paused = time.monotonic()
            load.begin_writing(4)
            await until(lambda: load.told()["outcome_unknown"] >= 4)
            await asyncio.sleep(max(0.0, paused + PAUSE - time.monotonic()))
            worker.resume()
            await until(lambda: load.told()["done"] > 20)
    late = load.late(file, paused)
    print(f"stopped for {PAUSE} s: {dict(load.told())}, ran later: {late}")
    assert late == 0
    load.check_writes(file)


async def test_a_write_made_while_the_bus_is_away_never_runs(nats: NatsServer, tmp_path: Path) -> None:
    file = ledger(tmp_path)
    with db_worker(nats, tmp_path, ledger=f"sqlite:///{file}"):
        async with running_gateway(nats, call_timeout=8) as gateway, under_load(gateway, "ledger", 1, 4) as load:
            await until(lambda: load.told()["done"] > 20)
            nats.stop()
            stopped = time.monotonic()
            await until(lambda: load.told()["no_worker"] >= 4)
            nats.start()
            before = load.told()["done"]
            await until(lambda: load.told()["done"] > before + 20)
    late = load.late(file, stopped)
    print(f"bus away: {dict(load.told())}, ran later: {late}")
    assert late == 0
    load.check_writes(file)


async def test_a_stopped_worker_leaves_the_catalog_within_ten_seconds_and_comes_back(
    nats: NatsServer, tmp_path: Path
) -> None:
    file = ledger(tmp_path)
    with db_worker(nats, tmp_path, ledger=f"sqlite:///{file}") as worker:
        async with running_gateway(nats) as gateway, gateway.client() as client:
            await until_listed(client, "ledger")
            worker.pause()
            out = await until_listed(client, "ledger", listed=False)
            worker.resume()
            back = await until_listed(client, "ledger")
            async with asyncio.timeout(3):
                while (await client.call_tool("query_table", {"database": "ledger", "table": "numbers"})).is_error:
                    await asyncio.sleep(0.02)
    print(f"stopped: out of the catalog after {out:.1f} s, back {back:.1f} s after it went on")
    assert out < 10
    assert back < 5


async def test_one_name_for_two_targets_is_a_conflict_and_is_not_called(nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = ledger(tmp_path / "one"), ledger(tmp_path / "two")
    write = {"database": "ledger", "table": "attempts", "records": [{"token": "x"}]}
    with db_worker(nats, tmp_path, ledger=f"sqlite:///{first}"):
        async with running_gateway(nats) as gateway, gateway.client() as client:
            await until_listed(client, "ledger")
            with db_worker(nats, tmp_path, ledger=f"sqlite:///{second}") as other:
                async with asyncio.timeout(10):
                    while not (problem := (await sources(client))["ledger"]["problem"]):
                        await asyncio.sleep(0.02)
                assert "different targets" in problem
                assert (await sources(client))["ledger"]["tools"] == []
                assert (await client.call_tool("create_records", write)).is_error
                await asyncio.to_thread(other.terminate)
            async with asyncio.timeout(5):
                while (await sources(client))["ledger"]["problem"]:
                    await asyncio.sleep(0.02)
            assert not (await client.call_tool("create_records", write)).is_error
    for file, rows in ((first, 1), (second, 0)):
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("select count(*) from attempts").fetchone() == (rows,)


async def until(holds: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)
