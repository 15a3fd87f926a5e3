"""Deadlines, cancellations, databases that are down: nothing goes on unseen, and everything comes back by itself."""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from databases import ENDLESS, Shop, restartable, url_of
from isthmus.errors import OutcomeUnknown

pytest_plugins = ["database_fixtures"]


async def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Returns once the condition holds; fails after the given time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def running(shop: Shop) -> int:
    """Statements of the worker that the server runs now."""
    ((count,),) = shop.execute(
        "select count(*) from information_schema.processlist where command = 'Query' and db = database() "
        "and id <> connection_id()"
        if shop.engine == "mariadb"
        else "select count(*) from pg_stat_activity where application_name = 'isthmus' and state <> 'idle' "
        "and datname = current_database()"
    )
    return int(count)


async def test_a_deadline_stops_the_query_in_the_server(server_shop: Shop) -> None:
    shop = server_shop
    shop.execute(ENDLESS[shop.engine])
    assert await shop.query(table="orders")
    call = asyncio.create_task(shop.call("query_table", table="endless", seconds=0.6))
    await wait_until(lambda: running(shop) == 1)
    assert (await call).error == "deadline_exceeded"
    assert running(shop) == 0


async def test_a_cancelled_call_stops_the_query_in_the_server(server_shop: Shop) -> None:
    shop = server_shop
    shop.execute(ENDLESS[shop.engine])
    call = asyncio.create_task(shop.call("query_table", table="endless"))
    await wait_until(lambda: running(shop) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert running(shop) == 0
    assert len(await shop.query(table="orders")) == 4


async def test_a_call_that_is_cancelled_twice_stops_its_query_in_the_server(server_shop: Shop) -> None:
    shop = server_shop
    shop.execute(ENDLESS[shop.engine])
    call = asyncio.create_task(shop.call("query_table", table="endless"))
    await wait_until(lambda: running(shop) == 1)
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wait_until(lambda: running(shop) == 0)
    assert len(await shop.query(table="orders")) == 4


async def test_a_read_that_the_server_ended_is_not_run_again(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.execute(ENDLESS[shop.engine])
    assert await shop.query(table="orders")
    call = asyncio.create_task(shop.call("query_table", table="endless"))
    await wait_until(lambda: running(shop) == 1)
    shop.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'isthmus' "
        "and state = 'active' and datname = current_database()"
    )
    assert (await call).error == "source_unavailable"
    assert len(await shop.query(table="orders")) == 4


async def test_a_connection_that_ended_while_nobody_asked_costs_no_call(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    await asyncio.gather(*(shop.query(table="orders") for _ in range(20)))
    ((ended,),) = shop.execute(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where application_name = 'isthmus' "
        "and datname = current_database()"
    )
    assert 0 < ended <= 2 * shop.limit
    for answer in await asyncio.gather(*(shop.call("query_table", table="orders") for _ in range(20))):
        assert len(answer.rows) == 4


async def test_a_deadline_stops_the_query_in_sqlite(sqlite_shop: Shop) -> None:
    shop = sqlite_shop
    shop.execute(ENDLESS["sqlite"])
    for _ in range(shop.limit + 1):
        assert (await shop.call("query_table", table="endless", seconds=0.2)).error == "deadline_exceeded"
    before = os.times()
    await asyncio.sleep(0.2)
    after = os.times()
    assert after.user - before.user < 0.15
    assert len(await shop.query(table="orders")) == 4


async def test_a_call_that_is_cancelled_twice_still_waits_for_its_query(sqlite_shop: Shop) -> None:
    shop = sqlite_shop
    shop.execute(ENDLESS["sqlite"])
    calls = [asyncio.create_task(shop.call("query_table", table="endless")) for _ in range(3)]
    await asyncio.sleep(0.1)
    for call in calls:
        call.cancel()
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*calls, return_exceptions=True))
    assert len(await shop.query(table="orders")) == 4


async def test_a_write_that_is_stopped_leaves_nothing(shop: Shop) -> None:
    if shop.engine == "postgresql":
        shop.execute(
            "create function slow() returns trigger language plpgsql as "
            "'begin perform pg_sleep(600)\\; return new\\; end'".replace("\\;", ";")
        )
        shop.execute("create trigger slow before insert on orders for each row when (new.note = 'slow') "
                     "execute function slow()")  # fmt: skip
    elif shop.engine == "mariadb":
        shop.execute(
            "create trigger slow before insert on orders for each row "
            "begin if new.note = 'slow' then do sleep(600); end if; end"
        )
    else:
        shop.execute(
            "create trigger slow before insert on orders when new.note = 'slow' begin select count(*) from "
            "(with recursive n(i) as (select 1 union all select i + 1 from n) select i from n where i < 0); end"
        )
    records = [{"customer_id": 1, "note": "quick"}, {"customer_id": 1, "note": "slow"}]
    outcome = await shop.call("create_records", table="orders", records=records, seconds=0.5)
    assert outcome.error == "deadline_exceeded"
    assert shop.execute("select count(*) from orders") == [(4,)]
    assert (await shop.call("create_records", table="orders", records=records[:1])).value["created"] == 1


async def test_a_connection_that_is_lost_during_the_commit_leaves_the_outcome_unknown(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.execute(
        "create function die() returns trigger language plpgsql as "
        "'begin perform pg_terminate_backend(pg_backend_pid()); return null; end'"
    )
    shop.execute(
        "create constraint trigger die after insert on lines deferrable initially deferred for each row "
        "execute function die()"
    )
    with pytest.raises(OutcomeUnknown, match="outcome unknown; read the data"):
        await shop.call("create_records", table="lines", records=[{"text": "x"}])
    assert (await shop.call("delete_records", table="lines", filter="text = 'one'")).value == {"deleted": 1}


async def test_a_file_that_is_missing_is_unavailable_is_not_made_and_is_found_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "later.db"
    shop = Shop("sqlite", f"sqlite:///{path}")
    for tool in ("get_data_model", "list_tables", "describe_table", "query_table"):
        arguments: dict[str, Any] = {} if tool in ("get_data_model", "list_tables") else {"table": "orders"}
        outcome = await shop.call(tool, **arguments)
        assert outcome.error == "source_unavailable"
        assert outcome.text == "The database cannot be reached at the moment; try again later."
    assert not path.exists()
    assert "unable to open database file" in caplog.text
    connection = sqlite3.connect(path)
    connection.execute("create table orders (id integer primary key)")
    connection.close()
    assert await shop.query(table="orders") == []
    shop.close()


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("This is a letter, not a database. " * 100)
    shop = Shop("sqlite", f"sqlite:///{tmp_path / 'no.db'}")
    assert (await shop.call("list_tables")).error == "source_unavailable"
    shop.close()


async def test_a_locked_file_is_told_and_nothing_is_changed(sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus_db_worker.dialects.sqlite.BUSY_SECONDS", 0.05)
    connection = sqlite3.connect(sqlite_shop.url.removeprefix("sqlite:///"))
    connection.execute("begin immediate")
    outcome = await sqlite_shop.call("delete_records", table="orders", ids=[1], seconds=1)
    assert outcome.error == "conflict"
    assert "in the way all the time; nothing was changed" in outcome.text
    connection.close()
    assert (await sqlite_shop.call("delete_records", table="orders", ids=[1])).value == {"deleted": 1}


async def test_a_server_that_is_down_is_unavailable_and_comes_back_by_itself(
    postgres: str, postgresql_shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server's socket is reached over a link: without it, and with its connections ended, it is gone."""
    caplog.set_level(logging.INFO)
    link = tmp_path / "sockets"
    socket = postgres.rpartition("host=")[2]
    database = postgresql_shop.url.rpartition("/")[2].partition("?")[0]
    url = url_of(f"postgresql://postgres:hunter2@/{database}?host={link}", database)
    shop = Shop("postgresql", url)
    assert (await shop.call("query_table", table="orders")).error == "source_unavailable"
    link.symlink_to(socket)
    assert len(await shop.query(table="orders")) == 4
    link.unlink()
    postgresql_shop.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'isthmus' "
        "and datname = current_database()"
    )
    for _ in range(3):
        outcome = await shop.call("query_table", table="orders")
        assert outcome.error == "source_unavailable"
        assert outcome.text == "The database cannot be reached at the moment; try again later."
    link.symlink_to(socket)
    for _ in range(3):
        assert len(await shop.query(table="orders")) == 4
    assert "unreachable" in caplog.text
    assert "hunter2" not in caplog.text
    shop.close()


async def test_a_reader_cannot_write_in_the_database_itself(shop: Shop) -> None:
    handle = shop.source.handle
    engine = handle.dialect.create_engine(handle.url, 1, read_only=True)
    with engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(sa.text("delete from orders"))
    engine.dispose()
    assert len(await shop.query(table="orders")) == 4


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
async def test_a_server_that_restarts_costs_the_calls_in_flight_alone(engine: str) -> None:
    """Each of them is answered with a sentence, and reads work again by themselves."""
    with restartable(engine) as (shop, stop, start):
        shop.execute(ENDLESS[engine])
        await asyncio.gather(*(shop.query(table="orders") for _ in range(shop.limit)))
        calls = [asyncio.create_task(shop.call("query_table", table="endless")) for _ in range(shop.limit)]
        await wait_until(lambda: running(shop) == shop.limit)
        await asyncio.to_thread(stop)
        for outcome in await asyncio.gather(*calls):
            assert outcome.error == "source_unavailable"
            assert outcome.text == "The database cannot be reached at the moment; try again later."
        assert (await shop.call("query_table", table="orders")).error == "source_unavailable"
        await asyncio.to_thread(start)
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(*(shop.call("query_table", table="orders") for _ in range(shop.limit)))
        assert [len(outcome.rows) for outcome in outcomes] == [4] * shop.limit
        assert (await shop.call("delete_records", table="orders", ids=[1])).value == {"deleted": 1}


async def test_a_wrong_password_is_unavailable_and_stays_out_of_log_and_answer(
    mariadb_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    poor = Shop("mariadb", mariadb_shop.url.replace("root@", "root:hunter2@"))
    outcome = await poor.call("list_tables")
    assert outcome.error == "source_unavailable"
    assert "hunter2" not in outcome.text + caplog.text
    assert "Access denied" in caplog.text
    poor.close()


async def test_a_table_that_the_account_may_not_read_is_told(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    with psycopg.connect(shop.url, autocommit=True) as admin:
        role = f"reader_{os.getpid()}_{id(shop)}"
        admin.execute(f"create role {role} login".encode())
        poor = Shop("postgresql", shop.url.replace("postgres:", f"{role}:", 1))
        outcome = await poor.call("query_table", table="orders")
        assert outcome.error == "not_allowed"
        assert outcome.text == "The database does not allow this to the account that it is reached with."
        poor.close()


async def test_many_calls_at_once_are_all_answered(shop: Shop) -> None:
    outcomes = await asyncio.gather(*(shop.call("query_table", table="orders") for _ in range(40)))
    assert {len(outcome.rows) for outcome in outcomes} == {4}
