"""Related records, upserts, batches that go on, what comes back, and versions, on real databases."""

from typing import Any

import pytest

from databases import Shop
from isthmus.grants import Grant

pytest_plugins = ["database_fixtures"]


def customers(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.execute("select id, name, email from customers order by id")


async def test_a_record_comes_with_those_that_it_points_at_and_those_that_point_at_it(shop: Shop) -> None:
    records = [
        {"name": "Eve", "orders": [{"total": "1.50"}, {"total": 2, "status": "paid"}]},
        {"name": "Fay"},
        {"name": "Gus", "orders": [{"total": 3}]},
    ]
    outcome = await shop.call("create_records", table="customers", records=records)
    assert outcome.value["created"] == 3
    assert outcome.value["related"] == {"orders": {"created": 3}}
    assert "3 records created in orders" in outcome.text
    rows = shop.execute(
        "select c.name, o.total, o.status from orders o join customers c on c.id = o.customer_id "
        "where o.id > 4 order by o.total"
    )
    assert [(name, float(total), status) for name, total, status in rows] == [
        ("Eve", 1.5, "open"),
        ("Eve", 2, "paid"),
        ("Gus", 3, "open"),
    ]
    order = {"total": 9, "customer": {"name": "Hal", "orders": [{"total": 10}]}}
    (key,) = (await shop.call("create_records", table="orders", records=[order])).value["ids"]
    found = await shop.query(table="orders", columns=["customer.name"], filter=f"id = {key}")
    assert found == [["Hal"]]
    assert len(await shop.query(table="orders", filter="customer.name = 'Hal'")) == 2


@pytest.mark.parametrize(
    ("tool", "record", "sentence"),
    [
        ("create_records", {"name": "x", "orders": {"total": 1}}, "records[0].orders takes a list of records"),
        ("create_records", {"name": "x", "orders": [1]}, "records[0].orders[0] takes a record of orders"),
        ("create_records", {"name": "x", "orders": [{"total": "much"}]}, "records[0].orders[0]: total takes a number"),
        ("create_records", {"name": "x", "orders": [{"customer_id": 1}]}, "customer_id is set by the record around it"),
        ("create_records", {"name": "x", "oders": [{"total": 1}]}, "no column or relation oders. Did you mean orders"),
        ("create_records", {"name": "x", "orders": [{"total": -1}]}, "records[0].orders[0]: The rule sensible"),
        ("upsert_records", {"name": "x", "id": 1, "orders": [{"id": 3, "total": 1}]}, "no record 3 in orders here"),
        (
            "create_records",
            {"name": "x", "orders": [{"customer": {"name": "y", "orders": [{"customer": {"name": "z"}}]}}]},
            "away at most",
        ),
    ],
)
async def test_what_is_wrong_with_a_related_record_is_told_with_its_place(
    shop: Shop, tool: str, record: dict[str, Any], sentence: str
) -> None:
    before = customers(shop)
    outcome = await shop.call(tool, table="customers", records=[{"name": "ok"}, record] if not sentence else [record])
    assert outcome.result.is_error
    assert sentence in outcome.text
    assert customers(shop) == before


async def test_related_records_need_the_rights_on_their_own_table(shop: Shop) -> None:
    shop.grants = [
        Grant(sources=("db.*",), actions=("read",)),
        Grant(sources=("db.*",), actions=("create",), objects=("customers",)),
    ]
    record = {"name": "x", "orders": [{"total": 1}]}
    outcome = await shop.call("create_records", table="customers", records=[record])
    assert (outcome.error, "not create in it" in outcome.text) == ("not_allowed", True)
    shop.grants[0] = Grant(sources=("db.*",), actions=("read",), objects=("customers",))
    outcome = await shop.call("create_records", table="customers", records=[record])
    assert (outcome.error, "no column or relation orders" in outcome.text) == ("not_found", True)
    assert len(customers(shop)) == 4


async def test_a_relation_sets_no_column_that_may_not_be_written(shop: Shop) -> None:
    read = Grant(sources=("db.*",), actions=("read",))
    masked = Grant(sources=("db.*",), actions=("create", "update"), masked=("customer_id",))
    shop.grants = [read, masked]
    record = {"total": 1, "customer": {"name": "x"}}
    assert (await shop.call("create_records", table="orders", records=[record])).error == "not_allowed"
    record = {"name": "x", "orders": [{"total": 1}]}
    assert (await shop.call("create_records", table="customers", records=[record])).error == "not_allowed"
    assert len(customers(shop)) == 4


async def test_records_are_updated_each_with_values_of_its_own_and_with_related_ones(shop: Shop) -> None:
    records: list[dict[str, Any]] = [
        {"id": 1, "name": "Ada L.", "orders": [{"id": 2, "status": "sent"}, {"total": 77}]},
        {"id": 2, "email": "bob@example.com"},
    ]
    outcome = await shop.call("update_records", table="customers", records=records, returning=["id", "name", "email"])
    assert outcome.value["updated"] == 2
    assert outcome.value["related"] == {"orders": {"updated": 1, "created": 1}}
    assert outcome.value["rows"] == [[1, "Ada L.", "ada@example.com"], [2, "Bob", "bob@example.com"]]
    assert sorted(await shop.query(table="orders", columns=["status", "total"], filter="customer_id = 1")) == [
        ["open", "10.00" if shop.engine != "sqlite" else "10"],
        ["open", "77.00" if shop.engine != "sqlite" else "77"],
        ["sent", "20.50" if shop.engine != "sqlite" else "20.5"],
    ]
    stolen = await shop.call(
        "update_records", table="customers", records=[{"id": 2, "orders": [{"id": 1, "note": ""}]}]
    )
    assert (stolen.error, "no record 1 in orders here" in stolen.text) == ("not_found", True)
    missing = await shop.call(
        "update_records", table="customers", records=[{"id": 1, "name": "x"}, {"id": 9, "name": "x"}]
    )
    assert (missing.error, missing.text.startswith("records[1]: there is no record 9")) == ("not_found", True)
    assert shop.execute("select name from customers where id = 1") == [("Ada L.",)]


async def test_upserts_create_what_is_not_there_and_change_what_is(shop: Shop) -> None:
    records = [{"item": "pen", "country": "DE", "price": 2}, {"item": "cap", "country": "DE", "price": 7}]
    outcome = await shop.call("upsert_records", table="prices", records=records)
    assert outcome.value == {"created": 1, "updated": 1, "ids": [["pen", "DE"], ["cap", "DE"]]}
    assert outcome.text == '1 record created, 1 record updated: [["pen","DE"],["cap","DE"]]'
    records = [{"email": "ada@example.com", "name": "Ada X"}, {"email": "new@example.com", "name": "New"}]
    outcome = await shop.call("upsert_records", table="customers", records=records, key=["email"])
    assert (outcome.value["created"], outcome.value["updated"], outcome.value["ids"][0]) == (1, 1, 1)
    names = shop.execute("select name from customers where email is not null order by id")
    assert names == [("Ada X",), ("Cem",), ("Dee",), ("New",)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"records": [{"name": "x"}], "key": ["name"]}, "name is not unique in customers; id or email is"),
        ({"records": [{"name": "x"}], "key": ["email"]}, "records[0] needs email, by which the record is found"),
        ({"records": [{"email": "a", "name": "x"}, {"email": "a"}], "key": ["email"]}, "with that email before it"),
    ],
)
async def test_an_upsert_needs_to_tell_its_records_apart(shop: Shop, arguments: dict[str, Any], sentence: str) -> None:
    outcome = await shop.call("upsert_records", table="customers", **arguments)
    assert outcome.result.is_error
    assert sentence in outcome.text
    assert len(customers(shop)) == 4


async def test_an_upsert_without_its_key_is_a_new_record(shop: Shop) -> None:
    outcome = await shop.call("upsert_records", table="customers", records=[{"name": "Eve"}, {"id": 2, "name": "Bo"}])
    assert (outcome.value["created"], outcome.value["updated"]) == (1, 1)
    assert [row[1] for row in customers(shop)] == ["Ada", "Bo", "Cem", "Dee", "Eve"]


async def test_an_upsert_takes_the_rights_to_create_and_to_update(shop: Shop) -> None:
    for action in ("create", "update"):
        shop.grants = [Grant(sources=("db.*",), actions=("read", action))]
        outcome = await shop.call("upsert_records", table="customers", records=[{"id": 1, "name": "x"}])
        assert outcome.error == "not_allowed"
    shop.grants = [Grant(sources=("db.*",), actions=("*",), rows="owner = {user.id}")]
    outcome = await shop.call("upsert_records", table="customers", records=[{"id": 2, "name": "x", "owner": "u_1"}])
    assert outcome.error in ("not_found", "not_allowed")
    assert len(customers(shop)) == 4


async def test_a_batch_that_goes_on_leaves_out_what_does_not_fit_and_says_why(shop: Shop) -> None:
    records: list[dict[str, Any]] = [
        {"name": "Eve"},
        {"name": "Ada", "email": "ada@example.com"},
        {"nme": "x"},
        {"name": "Fay", "orders": [{"total": -1}]},
        {"name": "Gus", "orders": [{"total": 1}]},
    ]
    outcome = await shop.call("create_records", table="customers", records=records, **{"continue": True})
    value = outcome.value
    assert value["created"] == 2
    assert [key is None for key in value["ids"]] == [False, True, True, True, False]
    assert [one["record"] for one in value["errors"]] == [1, 2, 3]
    told = [one["error"] for one in value["errors"]]
    assert told[0].startswith("There is a record with that email already")
    assert told[1].startswith("customers has no column nme")
    assert "The rule sensible" in told[2]
    assert "left out records[1]: There is a record with that email" in outcome.text
    assert not any("nothing was changed" in text for text in told)
    assert [row[1] for row in customers(shop)] == ["Ada", "Bob", "Cem", "Dee", "Eve", "Gus"]
    assert shop.execute("select count(*) from orders") == [(5,)]


async def test_updates_and_deletes_go_on_by_ids_alone(shop: Shop) -> None:
    outcome = await shop.call("delete_records", table="customers", ids=[1, 3, 9], **{"continue": True})
    assert (outcome.value["deleted"], [e["record"] for e in outcome.value["errors"]]) == (1, [0])
    assert "still point at" in outcome.value["errors"][0]["error"]
    returned = await shop.call("delete_records", table="customers", ids=[1], returning=["id"], **{"continue": True})
    assert returned.value["rows"] == []
    values = {"email": "dee@example.com"}
    outcome = await shop.call("update_records", table="customers", ids=[1, 4], values=values, **{"continue": True})
    assert (outcome.value["updated"], [e["record"] for e in outcome.value["errors"]]) == (1, [0])
    outcome = await shop.call("delete_records", table="customers", filter="id > 0", **{"continue": True})
    assert (outcome.error, "continue goes with ids" in outcome.text) == ("invalid_arguments", True)
    assert [row[0] for row in customers(shop)] == [1, 2, 4]


async def test_what_was_written_comes_back_as_query_table_shows_it(shop: Shop) -> None:
    records = [{"customer_id": 2, "total": "5.50"}, {"customer_id": 1}]
    columns = ["customer.name", "status", "total"]
    created = await shop.call("create_records", table="orders", records=records, returning=columns)
    assert created.value["columns"] == columns
    assert created.value["rows"] == [
        ["Bob", "open", "5.50" if shop.engine != "sqlite" else "5.5"],
        ["Ada", "open", None],
    ]
    assert created.text.splitlines()[1] == "customer.name\tstatus\ttotal"
    deleted = await shop.call("delete_records", table="orders", ids=[4, 1], returning=["id", "note"])
    assert deleted.value["rows"] == [[1, "a"], [4, "tab\tline\nend"]]
    shop.grants = [Grant(sources=("db.*",), actions=("*",), hidden=("email",), masked=("salary",))]
    updated = await shop.call("update_records", table="customers", ids=[1], values={"name": "A"}, returning=["*"])
    assert updated.value["rows"] == [[1, "A", "DE", "***", "u_1"]]
    shop.grants = [Grant(sources=("db.*",), actions=("update",))]
    refused = await shop.call("update_records", table="customers", ids=[1], values={"name": "B"}, returning=["id"])
    assert (refused.error, "You may not read customers" in refused.text) == ("not_allowed", True)
    assert customers(shop)[0][1] == "A"


async def test_a_filter_of_a_change_goes_over_relations(shop: Shop) -> None:
    found = await shop.call("update_records", table="orders", values={"note": "x"}, filter="customer.country = 'DE'")
    assert found.value == {"updated": 3}
    found = await shop.call("update_records", table="customers", values={"owner": "z"}, filter="orders.status = 'lost'")
    assert found.value == {"updated": 1}
    assert (await shop.call("delete_records", table="orders", filter="customer.name = 'Bob'")).value == {"deleted": 1}
    assert shop.execute("select id from orders where note = 'x' order by id") == [(1,), (2,), (4,)]


async def test_a_row_of_another_version_is_not_changed(shop: Shop) -> None:
    if shop.engine == "postgresql":
        version = "xmin"
    else:
        version = "owner"
        shop.configured(semantics={"customers": {"version": "owner"}})
    assert f"version of a row: {version}" in (await shop.call("describe_table", table="customers")).text
    ((first,), (second,)) = await shop.query(table="customers", columns=[version], ids=[1, 2], order_by=["id"])
    shop.execute("update customers set owner = 'somebody' where id = 2")
    arguments: dict[str, Any] = {"table": "customers", "ids": [1, 2], "if_version": [first, second]}
    outcome = await shop.call("update_records", values={"name": "x"}, **arguments)
    assert (outcome.error, outcome.text.startswith("record 2 was changed meanwhile: its")) == ("conflict", True)
    assert (await shop.call("delete_records", **arguments)).error == "conflict"
    records = [{"id": 1, "name": "y"}]
    outcome = await shop.call(
        "update_records", table="customers", records=records, if_version=[first], returning=["id", version]
    )
    assert outcome.value["updated"] == 1
    assert (outcome.value["rows"][0][1] != first) == (shop.engine == "postgresql")
    gone = await shop.call("update_records", table="customers", ids=[99], values={"name": "x"}, if_version=[first])
    assert (gone.error, "is not there any more" in gone.text) == ("conflict", True)
    both = await shop.call("update_records", table="customers", ids=[1, 2], values={"name": "x"}, if_version=[first])
    assert (both.error, "one version for each record: 2, not 1" in both.text) == ("invalid_arguments", True)


async def test_without_versions_if_version_is_refused(shop: Shop) -> None:
    if shop.engine == "postgresql":
        shop.configured(semantics={"customers": {"version": "owner"}})
        shop.grants = [Grant(sources=("db.*",), actions=("*",), masked=("owner",))]
    outcome = await shop.call("update_records", table="customers", ids=[1], values={"name": "x"}, if_version=["1"])
    assert (outcome.error, "tells the versions of its rows apart" in outcome.text) == ("invalid_arguments", True)


async def test_a_cascade_may_not_reach_what_the_caller_may_not_change(shop: Shop) -> None:
    shop.execute(
        "create table parents (id integer primary key, name varchar(20));\n"
        "create table children (id integer primary key, parent_id integer, owner varchar(20), "
        "foreign key (parent_id) references parents (id) on delete cascade);\n"
        "insert into parents values (1, 'a'), (2, 'b'), (3, 'c');\n"
        "insert into children values (1, 1, 'u_1'), (2, 2, 'u_2')"
    )
    assert ", on delete cascade" in (await shop.call("describe_table", table="parents")).text
    parents = Grant(sources=("db.*",), actions=("*",), objects=("parents",))
    shop.grants = [parents]
    refused = await shop.call("delete_records", table="parents", ids=[1])
    assert (refused.error, "records of other tables" in refused.text) == ("not_allowed", True)
    shop.grants = [
        parents,
        Grant(sources=("db.*",), actions=("delete",), objects=("children",), rows="owner = {user.id}"),
    ]
    assert (await shop.call("delete_records", table="parents", ids=[2])).error == "not_allowed"
    assert (await shop.call("delete_records", table="parents", ids=[1, 3])).value == {"deleted": 2}
    assert shop.execute("select id from children") == [(2,)]


async def test_what_was_written_is_put_on_record_by_table_key_and_count(shop: Shop) -> None:
    record = {"name": "Eve", "salary": "77.70", "orders": [{"total": "55.50"}, {"total": 1}]}
    (key,) = (await shop.call("create_records", table="customers", records=[record])).value["ids"]
    first, second = shop.heard.written
    assert (first.object, first.action, first.count, first.keys, first.plan) == ("customers", "create", 1, (key,), "")
    assert (second.object, second.action, second.count, len(second.keys)) == ("orders", "create", 2, 2)
    assert not any(value in str(shop.heard.written) for value in ("Eve", "77.7", "55.5"))
    arguments: dict[str, Any] = {"table": "prices", "filter": "item = 'pen'"}
    plan = (await shop.call("delete_records", preview=True, **arguments)).value["preview"]["plan"]
    assert shop.heard.written == []
    await shop.call("delete_records", plan=plan, **arguments)
    (deleted,) = shop.heard.written
    assert (deleted.action, deleted.keys, deleted.plan) == ("delete", (["pen", "DE"], ["pen", "FR"]), plan[:16])
    await shop.call("create_records", table="customers", records=[{"id": 1, "name": "x"}])
    assert shop.heard.written == []


async def test_rows_that_do_not_fit_the_answer_are_said_to_be_missing(shop: Shop) -> None:
    shop.configured(max_bytes=16_384)
    records = [{"customer_id": 1, "note": "x" * 200} for _ in range(100)]
    outcome = await shop.call("create_records", table="orders", records=records, returning=["note"])
    assert outcome.value["created"] == 100
    assert outcome.value["truncated"] is True
    assert 10 < len(outcome.value["rows"]) < 100
    assert "more rows were changed than are shown" in outcome.text
