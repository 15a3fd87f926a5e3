"""Changes that others are in the way of, on real databases."""

import time

from databases import Shop

pytest_plugins = ["database_fixtures"]

IN_THE_WAY = {
    "postgresql": [
        "create sequence tries",
        "create function fail() returns trigger language plpgsql as $$ begin if nextval('tries') < {tries} then "
        "raise exception 'deadlock' using errcode = '40P01'; end if; return new; end $$",
        "create trigger failing before update on orders for each row execute function fail()",
    ],
    "mariadb": [
        "create sequence tries",
        "create trigger failing before update on orders for each row begin if nextval(tries) < {tries} then "
        "signal sqlstate '40001' set mysql_errno = 1213, message_text = 'deadlock'; end if; end",
    ],
}
"""A table whose updates meet a deadlock the first few times."""


def prepare(shop: Shop, tries: int) -> None:
    with shop.admin.begin() as connection:
        for statement in IN_THE_WAY[shop.engine]:
            connection.exec_driver_sql(statement.format(tries=tries))


async def test_a_change_that_meets_a_deadlock_is_done_again(server_shop: Shop) -> None:
    shop = server_shop
    prepare(shop, 4)
    outcome = await shop.call("update_records", table="orders", values={"note": "x"}, ids=[1])
    assert outcome.value == {"updated": 1}
    assert shop.execute("select note from orders where id = 1") == [("x",)]


async def test_a_batch_that_goes_on_is_done_again_as_a_whole(server_shop: Shop) -> None:
    shop = server_shop
    prepare(shop, 4)
    records = [{"id": 1, "note": "x"}, {"id": 2, "total": -1}, {"id": 3, "note": "y"}]
    outcome = await shop.call("update_records", table="orders", records=records, **{"continue": True})
    assert (outcome.value["updated"], [one["record"] for one in outcome.value["errors"]]) == (2, [1])
    assert shop.execute("select note from orders where id < 4 order by id") == [("x",), ("",), ("y",)]


async def test_what_is_in_the_way_all_the_time_is_told_within_the_time(server_shop: Shop) -> None:
    shop = server_shop
    prepare(shop, 1_000_000)
    began = time.monotonic()
    outcome = await shop.call("update_records", table="orders", values={"note": "x"}, ids=[1], seconds=0.8)
    assert (outcome.error, "in the way all the time; nothing was changed" in outcome.text) == ("conflict", True)
    assert time.monotonic() - began < 0.8
    assert shop.execute("select note from orders where id = 1") == [("a",)]


async def test_a_row_that_is_locked_all_the_time_ends_the_call_in_its_time(shop: Shop) -> None:
    with shop.admin.connect() as connection:
        if shop.engine == "sqlite":
            connection.exec_driver_sql("begin immediate")
        else:
            connection.exec_driver_sql("update orders set note = 'mine' where id = 1")
        outcome = await shop.call("update_records", table="orders", values={"note": "x"}, ids=[1], seconds=1.2)
        assert outcome.error in ("deadline_exceeded", "conflict")
        connection.rollback()
    assert shop.execute("select note from orders where id = 1") == [("a",)]
