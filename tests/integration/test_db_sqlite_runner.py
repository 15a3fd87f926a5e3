"""Short reads of SQLite run on the event loop, all others in a thread."""

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError

from databases import ENDLESS, Shop
from isthmus_db_worker.runner import ThreadRunner
from isthmus_db_worker.sqlite_runner import BUDGET, SqliteRunner
from isthmus_db_worker.statements import Row, Statement

pytest_plugins = ["database_fixtures"]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """The statements that went to a thread."""
    seen: list[Statement] = []
    read = ThreadRunner.read

    async def noted(self: ThreadRunner, statement: Statement, *rest: object) -> None:
        seen.append(statement)
        await read(self, statement, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ThreadRunner, "read", noted)
    return seen


async def rows_of(shop: Shop, statement: Statement, seconds: float = 5) -> list[Row]:
    rows: list[Row] = []
    await shop.source.handle.runner.read(statement, lambda row: rows.append(row) is not None, seconds)
    return rows


async def test_a_short_read_takes_no_thread(sqlite_shop: Shop, threads: list[Statement]) -> None:
    assert isinstance(sqlite_shop.source.handle.runner, SqliteRunner)
    assert await sqlite_shop.query(table="orders", columns=["id"], filter="total > 15") == [[2], [3]]
    assert threads == []


def test_a_value_that_stands_in_a_statement_more_than_once_is_bound_as_often() -> None:
    least = sa.bindparam("least", type_=sa.Integer)
    number = sa.column("id", sa.Integer)
    select = sa.select(number).where(number >= least, number != 7, number < least)
    assert Statement(select).compiled(sqlite.dialect()).in_order({"least": 2}) == [2, 7, 2]


async def test_a_long_read_begins_anew_in_a_thread_and_holds_up_nobody(
    sqlite_shop: Shop, threads: list[Statement]
) -> None:
    sqlite_shop.execute(ENDLESS["sqlite"])
    await sqlite_shop.query(table="orders", limit=1)
    endless = Statement(sa.select(sa.text("i from endless")))
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)

    ticking = asyncio.create_task(tick())
    with pytest.raises(OperationalError):
        await rows_of(sqlite_shop, endless, 0.3)
    ticking.cancel()
    assert threads == [endless]
    assert longest < 0.1 + BUDGET
    began = time.monotonic()
    with pytest.raises(OperationalError):
        await rows_of(sqlite_shop, endless, 0.2)
    assert time.monotonic() - began < 1
    assert threads == [endless, endless]


async def test_many_rows_are_read_once_each_wherever_they_are_read(sqlite_shop: Shop, threads: list[Statement]) -> None:
    numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) select i, hex(i) from n"
    statement = Statement(sa.select(sa.text(f"* from ({numbers})")))
    rows = await rows_of(sqlite_shop, statement)
    assert [row[0] for row in rows] == list(range(1, 50_001))
    assert len(threads) == 1


async def test_a_read_that_meets_a_lock_waits_in_a_thread(
    sqlite_shop: Shop, threads: list[Statement], tmp_path: Path
) -> None:
    await sqlite_shop.query(table="orders", limit=1)
    writer = sqlite3.connect(tmp_path / "shop.db", isolation_level=None, check_same_thread=False)
    writer.execute("begin exclusive")
    release = threading.Timer(0.2, writer.execute, ["commit"])
    release.start()
    assert len(await sqlite_shop.query(table="orders")) == 4
    release.join()
    writer.close()
    assert len(threads) == 1


async def test_a_worker_for_one_call_at_a_time_has_a_place_for_the_thread_too(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "one.db") as connection:
        connection.execute("create table things (id integer primary key)")
    shop = Shop("sqlite", f"sqlite:///{tmp_path / 'one.db'}", limit=1)
    shop.execute(ENDLESS["sqlite"])
    assert await shop.query(table="things") == []
    began = time.monotonic()
    assert (await shop.call("query_table", table="endless", seconds=0.5)).error == "deadline_exceeded"
    assert time.monotonic() - began < 3
    shop.close()
