"""Deadlines are set in the engine too: it ends a statement by itself, whatever became of the worker."""

import asyncio
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from databases import ENDLESS, Shop
from isthmus_db_worker.dialects import Failure
from isthmus_db_worker.statements import Statement

pytest_plugins = ["database_fixtures"]

SHOWN = {
    "postgresql": "create view limits as select current_setting('statement_timeout') as it",
    "mariadb": "create function shown() returns text reads sql data return @@max_statement_time;\n"
    "create view limits as select shown() as it",
}
TRACED = {
    "postgresql": "create table traces (id serial primary key, word text, "
    "it text default current_setting('statement_timeout'))",
    "mariadb": "create table traces (id integer auto_increment primary key, word text, it text);\n"
    "create trigger trace before insert on traces for each row set new.it = @@max_statement_time",
}
WRITTEN = {"postgresql": "{}s", "mariadb": "{}"}


def stopped(shop: Shop, error: Exception) -> bool:
    diagnosis = shop.source.handle.dialect.diagnose(getattr(error, "orig", None) or error)
    return diagnosis is not None and diagnosis.failure is Failure.STOPPED


async def test_the_engine_ends_a_read_at_its_deadline_when_nobody_cancels_it(shop: Shop) -> None:
    shop.execute(ENDLESS[shop.engine])
    began = time.monotonic()
    endless = Statement(sa.select(sa.text("i from endless")))
    with pytest.raises((DBAPIError, psycopg.Error)) as error:
        await shop.source.handle.runner.read(endless, lambda _: False, 0.9)
    assert stopped(shop, error.value)
    assert 0.9 <= time.monotonic() - began < 2
    assert len(await shop.query(table="orders")) == 4


async def test_the_engine_ends_a_write_at_its_deadline_when_nobody_cancels_it(shop: Shop) -> None:
    shop.execute(ENDLESS[shop.engine])
    insert = sa.text("""insert into prices (item, country, price) select 'x', 'y', i from endless""")
    began = time.monotonic()
    with pytest.raises(DBAPIError) as error:
        await shop.source.handle.runner.transaction(lambda connection: connection.execute(insert), 0.9)
    assert stopped(shop, error.value)
    assert 0.9 <= time.monotonic() - began < 2
    assert len(await shop.query(table="prices")) == 3


async def test_the_statement_of_a_call_has_its_time_as_its_limit(server_shop: Shop) -> None:
    shop = server_shop
    shop.execute(SHOWN[shop.engine])
    shop.execute(TRACED[shop.engine])
    for seconds in (3, 7):
        limit = WRITTEN[shop.engine].format(seconds)
        assert await shop.query(table="limits", seconds=seconds) == [[limit]]
        assert (await shop.call("create_records", table="traces", records=[{"word": "x"}], seconds=seconds)).value
        assert (await shop.query(table="traces", order_by=["-id"], limit=1))[0][2] == limit


@contextmanager
def statements() -> Generator[list[str]]:
    """Everything that the worker sends meanwhile."""
    sent: list[str] = []

    def on_statement(*told: object) -> None:
        sent.append(str(told[2]))

    execute = psycopg.AsyncConnection.execute

    async def noted(*arguments: Any, **options: Any) -> Any:
        sent.append(str(arguments[1]))
        return await execute(*arguments, **options)

    event.listen(sa.Engine, "before_cursor_execute", on_statement)
    try:
        with patch.object(psycopg.AsyncConnection, "execute", noted):
            yield sent
    finally:
        event.remove(sa.Engine, "before_cursor_execute", on_statement)


async def test_calls_with_the_same_time_set_the_limit_once_for_each_connection(server_shop: Shop) -> None:
    await server_shop.query(table="orders", seconds=8.9)
    with statements() as sent:
        for _ in range(5):
            await server_shop.query(table="orders", seconds=8.9)
    assert len(sent) == 5, sent


async def test_a_write_that_waits_for_the_lock_of_a_file_stops_when_it_is_cancelled(sqlite_shop: Shop) -> None:
    shop = sqlite_shop
    assert await shop.query(table="lines")
    with closing(sqlite3.connect(shop.url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("begin immediate")
        write = asyncio.create_task(shop.call("create_records", table="lines", records=[{"text": "late"}]))
        done, _ = await asyncio.wait([write], timeout=0.3)
        assert not done
        write.cancel()
        done, _ = await asyncio.wait([write], timeout=1)
        assert done
        assert write.cancelled()
        other.execute("rollback")
    assert len(await shop.query(table="lines")) == 3


async def test_a_write_that_waits_for_the_lock_of_a_file_gets_it_when_it_is_free(sqlite_shop: Shop) -> None:
    shop = sqlite_shop
    assert await shop.query(table="lines")
    with closing(sqlite3.connect(shop.url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("begin immediate")
        write = asyncio.create_task(shop.call("create_records", table="lines", records=[{"text": "late"}]))
        done, _ = await asyncio.wait([write], timeout=0.5)
        assert not done
        other.execute("rollback")
    assert (await write).value["created"] == 1
