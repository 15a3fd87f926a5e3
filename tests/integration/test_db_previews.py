"""Previews and plans of changes, and sources that ask for them, on real databases."""

from typing import Any

import pytest

from databases import Outcome, Shop
from isthmus import plans
from isthmus.grants import EVERYTHING, Grant
from isthmus.messages import Principal

pytest_plugins = ["database_fixtures"]

PARENTS = (
    "create table parents (id integer primary key, name varchar(20));\n"
    "create table children (id integer primary key, parent_id integer, "
    "foreign key (parent_id) references parents (id) on delete cascade);\n"
    "create table toys (id integer primary key, child_id integer, "
    "foreign key (child_id) references children (id) on delete set null);\n"
    "insert into parents values (1, 'a'), (2, 'b');\n"
    "insert into children values (1, 1), (2, 1), (3, 2);\n"
    "insert into toys values (1, 1), (2, 2), (3, 3), (4, null)"
)


def everything(shop: Shop) -> list[list[tuple[Any, ...]]]:
    return [shop.execute(f"select * from {table} order by id") for table in ("customers", "orders")]  # noqa: S608


async def preview(shop: Shop, tool: str, **arguments: Any) -> Outcome:
    before = everything(shop)
    outcome = await shop.call(tool, preview=True, **arguments)
    assert everything(shop) == before
    return outcome


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("update_records", {"table": "customers", "values": {"country": "IT", "name": "x"}, "filter": "id < 3"}),
    ("update_records", {"table": "customers", "records": [{"id": 1, "name": "y", "orders": [{"total": 3}]}]}),
    ("delete_records", {"table": "orders", "ids": [1, 2]}),
    ("upsert_records", {"table": "customers", "records": [{"id": 2, "name": "B"}, {"id": 9, "name": "N"}]}),
    ("create_records", {"table": "customers", "records": [{"name": "Eve", "orders": [{"total": "1.5"}]}]}),
]


@pytest.mark.parametrize(("tool", "arguments"), CHANGES)
async def test_a_plan_does_what_its_preview_showed(shop: Shop, tool: str, arguments: dict[str, Any]) -> None:
    told = (await preview(shop, tool, **arguments)).value["preview"]
    done = (await shop.call(tool, plan=told["plan"], **arguments)).value
    counts = {"create": "created", "update": "updated", "delete": "deleted"}
    root = [change for change in told["changes"] if change["table"] == arguments["table"]]
    assert {counts[change["action"]]: change["count"] for change in root} == {
        word: done[word] for word in counts.values() if done.get(word)
    }
    for change in told["changes"]:
        if change["table"] != arguments["table"]:
            assert done["related"][change["table"]] == {counts[change["action"]]: change["count"]}
        if change["action"] == "update":
            rows = await shop.query(
                table=change["table"], columns=change["columns"], ids=[r[0] for r in change["after"]]
            )
            assert sorted(rows) == sorted(change["after"])
    assert everything(shop) != []


async def test_a_preview_shows_what_changes_before_and_after(shop: Shop) -> None:
    arguments: dict[str, Any] = {"table": "orders", "values": {"status": "sent"}, "filter": "customer_id = 1"}
    outcome = await preview(shop, "update_records", **arguments)
    (change,) = outcome.value["preview"]["changes"]
    assert change == {
        "table": "orders",
        "action": "update",
        "count": 2,
        "columns": ["id", "status"],
        "before": [[1, "open"], [2, "paid"]],
        "after": [[1, "sent"], [2, "sent"]],
    }
    lines = outcome.text.splitlines()
    assert lines[0] == "Nothing is changed yet. This call would:"
    assert lines[1:5] == ["update 2 records of orders", "id\tstatus", "1\topen → sent", "2\tpaid → sent"]
    assert lines[-1].startswith('To do exactly this, make the same call with plan "')
    assert outcome.value["preview"]["plan"] in lines[-1]
    created = await preview(
        shop, "create_records", table="customers", records=[{"name": "Eve", "orders": [{"total": 1}]}]
    )
    first, second = created.value["preview"]["changes"]
    assert (first["columns"], first["after"]) == (["name", "country"], [["Eve", "DE"]])
    assert second["columns"] == ["status", "total"]
    deleted = await preview(shop, "delete_records", table="orders", ids=[3])
    assert deleted.value["preview"]["changes"][0]["before"][0][:3] == [3, 2, "open"]


async def test_a_preview_keeps_rows_together_whatever_the_order_and_the_key(shop: Shop) -> None:
    records = [{"id": 3, "status": "c"}, {"id": 1, "status": "a"}]
    told = (await preview(shop, "update_records", table="orders", records=records)).value["preview"]["changes"][0]
    assert sorted(zip(told["before"], told["after"], strict=True)) == [
        ([1, "open"], [1, "a"]),
        ([3, "open"], [3, "c"]),
    ]
    arguments: dict[str, Any] = {"table": "prices", "ids": [["pen", "FR"], ["ink", "DE"]], "values": {"country": "IT"}}
    outcome = await preview(shop, "update_records", **arguments)
    assert {"ink\tDE → IT", "pen\tFR → IT"} < set(outcome.text.splitlines())
    plan = outcome.value["preview"]["plan"]
    assert (await shop.call("update_records", plan=plan, **arguments)).value == {"updated": 2}


async def test_a_preview_names_what_the_database_does_by_itself(shop: Shop) -> None:
    shop.execute(PARENTS)
    outcome = await shop.call("delete_records", table="parents", ids=[1], preview=True)
    told = outcome.value["preview"]
    assert told["cascades"] == [
        {"table": "children", "action": "delete", "count": 2},
        {"table": "toys", "action": "update", "count": 2},
    ]
    assert "the database itself would delete 2 records of children" in outcome.text
    shop.execute("insert into children values (4, 1)")
    changed = await shop.call("delete_records", table="parents", ids=[1], plan=told["plan"])
    assert (changed.error, "what the database does in children was changed" in changed.text) == ("conflict", True)
    told = (await shop.call("delete_records", table="parents", ids=[1], preview=True)).value["preview"]
    assert (await shop.call("delete_records", table="parents", ids=[1], plan=told["plan"])).value == {"deleted": 1}
    assert shop.execute("select id, child_id from toys order by id") == [(1, None), (2, None), (3, 3), (4, None)]


@pytest.mark.parametrize(
    ("meanwhile", "sentence"),
    [
        ("update orders set note = 'other' where id = 1", "record 1 of orders was changed"),
        ("delete from orders where id = 2", "1 record is gone or no longer meant"),
        ("update orders set customer_id = 1 where id = 3", "record 3 of orders came to it"),
        ("update orders set customer_id = 2 where id = 1", "1 record is gone or no longer meant"),
    ],
)
async def test_a_plan_fails_when_the_rows_are_others_and_says_which(shop: Shop, meanwhile: str, sentence: str) -> None:
    arguments: dict[str, Any] = {"table": "orders", "values": {"status": "sent"}, "filter": "customer_id = 1"}
    plan = (await preview(shop, "update_records", **arguments)).value["preview"]["plan"]
    shop.execute(meanwhile)
    before = everything(shop)
    outcome = await shop.call("update_records", plan=plan, **arguments)
    assert (outcome.error, sentence in outcome.text) == ("conflict", True), outcome.text
    assert everything(shop) == before


async def test_a_plan_is_for_one_call_of_one_caller_only(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments: dict[str, Any] = {"table": "orders", "values": {"status": "sent"}, "ids": [1]}
    plan = (await preview(shop, "update_records", **arguments)).value["preview"]["plan"]
    others: list[tuple[str, dict[str, Any]]] = [
        ("update_records", {**arguments, "ids": [2]}),
        ("update_records", {**arguments, "values": {"status": "paid"}}),
        ("update_records", {**arguments, "table": "customers", "values": {"name": "x"}}),
        ("delete_records", {"table": "orders", "ids": [1]}),
    ]
    for tool, other in others:
        outcome = await shop.call(tool, plan=plan, **other)
        assert (outcome.error, "another change or another caller" in outcome.text) == ("invalid_arguments", True)
    for wrong in ("x", plan[:-4], plan[:-1] + ("A" if plan[-1] != "A" else "B"), "é"):
        assert (await shop.call("update_records", plan=wrong, **arguments)).error == "invalid_arguments"
    me = shop.principal
    for shop.principal in (Principal("u_2", "client", "default"), Principal("u_1", "other", "default")):
        assert (await shop.call("update_records", plan=plan, **arguments)).error == "invalid_arguments"
    shop.principal = me
    both = await shop.call("update_records", plan=plan, preview=True, **arguments)
    assert both.error == "invalid_arguments"
    monkeypatch.setattr(plans, "SECONDS", -1)
    old = (await preview(shop, "update_records", **arguments)).value["preview"]["plan"]
    outcome = await shop.call("update_records", plan=old, **arguments)
    assert (outcome.error, "too old" in outcome.text) == ("conflict", True)
    assert (await shop.call("update_records", plan=plan, **arguments)).value == {"updated": 1}
    again = await shop.call("update_records", plan=plan, **arguments)
    assert again.error == "conflict"


async def test_a_preview_keeps_what_may_not_be_seen(shop: Shop) -> None:
    shop.grants = [Grant(sources=("db.*",), actions=("*",), hidden=("email",), masked=("salary",), rows="id < 3")]
    told = (await preview(shop, "delete_records", table="customers", filter="id > 1")).result
    assert told.is_error  # orders point at it
    outcome = await preview(shop, "update_records", table="customers", values={"name": "x"}, filter="id > 0")
    assert outcome.value["preview"]["changes"][0]["before"] == [[1, "Ada"], [2, "Bob"]]
    shop.execute("delete from orders")
    outcome = await preview(shop, "delete_records", table="customers", filter="id > 0")
    (change,) = outcome.value["preview"]["changes"]
    assert change["columns"] == ["id", "name", "country", "salary", "owner"]
    assert [row[3] for row in change["before"]] == ["***", "***"]
    shop.grants = [Grant(sources=("db.*",), actions=("update",))]
    blind = await preview(shop, "update_records", table="customers", values={"name": "x"}, ids=[1])
    assert blind.value["preview"]["changes"] == [
        {"table": "customers", "action": "update", "count": 1, "columns": [], "before": [], "after": []}
    ]


async def test_a_preview_of_many_rows_shows_the_first_and_counts_all(shop: Shop) -> None:
    shop.execute("delete from orders")
    records = [{"customer_id": 1, "total": number} for number in range(500)]
    told = (await preview(shop, "create_records", table="orders", records=records)).value["preview"]
    assert (told["changes"][0]["count"], len(told["changes"][0]["after"])) == (500, 20)
    assert (await shop.call("create_records", table="orders", records=records, plan=told["plan"])).value[
        "created"
    ] == 500
    arguments: dict[str, Any] = {"table": "orders", "values": {"note": "x"}, "filter": "total >= 0"}
    outcome = await preview(shop, "update_records", **arguments)
    assert "(20 of 500 shown)" in outcome.text
    plan = outcome.value["preview"]["plan"]
    assert len(plan) < 60
    shop.execute("update orders set status = 'lost' where total = 400")
    changed = await shop.call("update_records", plan=plan, **arguments)
    assert (changed.error, "Some of the 500 rows were changed" in changed.text) == ("conflict", True)
    shop.execute("delete from orders where total = 400")
    changed = await shop.call("update_records", plan=plan, **arguments)
    assert (changed.error, "499 rows now, not 500" in changed.text) == ("conflict", True)


async def test_rows_without_a_key_are_previewed_too(shop: Shop) -> None:
    arguments: dict[str, Any] = {"table": "lines", "values": {"text": "x"}, "filter": "number = 2"}
    told = (await shop.call("update_records", preview=True, **arguments)).value["preview"]
    assert told["changes"][0]["count"] == 2
    assert (await shop.call("update_records", plan=told["plan"], **arguments)).value == {"updated": 2}
    assert (await shop.call("update_records", plan=told["plan"], **arguments)).error == "conflict"


async def test_what_a_constraint_forbids_shows_in_the_preview(shop: Shop) -> None:
    outcome = await preview(shop, "create_records", table="customers", records=[{"id": 1, "name": "x"}])
    assert (outcome.error, "There is a record with that id" in outcome.text) == ("conflict", True)
    outcome = await preview(
        shop, "create_records", table="customers", records=[{"id": 1, "name": "x"}, {"name": "y"}], **{"continue": True}
    )
    assert [one["record"] for one in outcome.value["errors"]] == [0]
    assert outcome.value["preview"]["changes"][0]["count"] == 1


async def test_a_source_may_want_a_preview_of_every_change(shop: Shop) -> None:
    shop.configured(writes="preview")
    before = everything(shop)
    arguments: dict[str, Any] = {"table": "orders", "ids": [1]}
    outcome = await shop.call("delete_records", **arguments)
    assert outcome.text.startswith("Nothing is changed yet.")
    assert everything(shop) == before
    plan = outcome.value["preview"]["plan"]
    assert (await shop.call("delete_records", plan=plan, **arguments)).value == {"deleted": 1}


async def test_a_client_that_cannot_ask_its_user_gets_a_preview_instead(shop: Shop) -> None:
    shop.configured(writes="confirm")
    arguments: dict[str, Any] = {"table": "orders", "ids": [1]}
    outcome = await shop.call("delete_records", **arguments)
    plan = outcome.value["preview"]["plan"]
    assert len(shop.execute("select id from orders")) == 4
    assert (await shop.call("delete_records", plan=plan, **arguments)).value == {"deleted": 1}


async def test_tables_that_cannot_be_rolled_back_are_not_previewed(mariadb_shop: Shop) -> None:
    mariadb_shop.execute("create table old (id integer primary key) engine = myisam")
    outcome = await mariadb_shop.call("create_records", table="old", records=[{"id": 1}], preview=True)
    assert (outcome.error, "cannot be previewed" in outcome.text) == ("invalid_arguments", True)
    assert mariadb_shop.execute("select * from old") == []


async def test_the_effect_of_a_trigger_shows_in_the_preview(postgresql_shop: Shop) -> None:
    shop = postgresql_shop
    shop.grants = [EVERYTHING]
    with shop.admin.begin() as connection:
        connection.exec_driver_sql(
            "create function shout() returns trigger language plpgsql as "
            "$$ begin new.name := upper(new.name); return new; end $$;"
            "create trigger shouting before update on customers for each row execute function shout()"
        )
    outcome = await preview(shop, "update_records", table="customers", values={"name": "ada b"}, ids=[1])
    assert outcome.value["preview"]["changes"][0]["after"] == [[1, "ADA B"]]


async def test_what_is_checked_at_the_commit_alone_is_checked_by_the_preview(postgresql_shop: Shop) -> None:
    postgresql_shop.execute(
        "create table links (id integer primary key, to_id integer references links (id) deferrable initially deferred)"
    )
    records = [{"id": 1, "to_id": 2}, {"id": 2, "to_id": 1}]
    whole = await postgresql_shop.call("create_records", table="links", records=records, preview=True)
    assert whole.value["preview"]["changes"][0]["count"] == 2
    half = await postgresql_shop.call("create_records", table="links", records=records[:1], preview=True)
    assert (half.error, "to_id points at no record of links" in half.text) == ("conflict", True)


async def test_what_is_given_back_is_no_part_of_the_plan(shop: Shop) -> None:
    arguments: dict[str, Any] = {"table": "orders", "values": {"status": "sent"}, "ids": [1]}
    plan = (await preview(shop, "update_records", **arguments)).value["preview"]["plan"]
    outcome = await shop.call("update_records", plan=plan, returning=["status"], **arguments)
    assert outcome.value["rows"] == [["sent"]]


async def test_a_preview_of_nothing_says_so(shop: Shop) -> None:
    outcome = await preview(shop, "delete_records", table="orders", filter="id = 99")
    assert outcome.text == "This call would change nothing: no record is meant."
    told = outcome.value["preview"]
    assert told["changes"] == []
    shop.execute("insert into orders (id, customer_id) values (99, 1)")
    found = await shop.call("delete_records", table="orders", filter="id = 99", plan=told["plan"])
    assert (found.error, "record 99 of orders came to it" in found.text) == ("conflict", True)
