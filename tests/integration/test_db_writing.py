"""create_records, update_records and delete_records on real databases."""

from typing import Any

import pytest

from databases import Shop

pytest_plugins = ["database_fixtures"]


def orders(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.execute("select id, status, note from orders order by id")


async def test_created_records_get_their_keys_in_order(shop: Shop) -> None:
    records = [{"customer_id": 1, "total": "12.34", "placed_at": "2024-05-01T10:00:00"}, {"customer_id": 2, "id": 70}]
    outcome = await shop.call("create_records", table="orders", records=records)
    first = 101 if shop.engine == "postgresql" else 5
    assert outcome.value == {"created": 2, "ids": [first, 70]}
    assert outcome.text == f"2 records created: [{first},70]"
    rows = await shop.query(table="orders", columns=["status", "total", "placed_at"], filter=f"id = {first}")
    moment = "2024-05-01 10:00:00" if shop.engine == "sqlite" else "2024-05-01T10:00:00"
    assert rows == [["open", "12.34", moment]]
    assert await shop.query(table="orders", columns=["id"], filter="placed_at = '2024-05-01T10:00:00'") == [[first]]


async def test_a_key_of_several_columns_is_a_list(shop: Shop) -> None:
    created = await shop.call("create_records", table="prices", records=[{"item": "cap", "country": "IT", "price": 3}])
    assert created.value["ids"] == [["cap", "IT"]]
    ids = [["cap", "IT"], ["pen", "FR"], ["pen", "XX"]]
    assert (await shop.call("update_records", table="prices", values={"price": "7.5"}, ids=ids)).value == {"updated": 2}
    assert (await shop.call("delete_records", table="prices", ids=ids)).value == {"deleted": 2}
    assert len(await shop.query(table="prices")) == 2


async def test_a_null_key_is_numbered_and_other_nulls_are_nulls(shop: Shop) -> None:
    records = [{"id": None, "customer_id": 1, "note": None, "paid": None}]
    (key,) = (await shop.call("create_records", table="orders", records=records)).value["ids"]
    assert await shop.query(table="orders", columns=["note", "paid"], filter=f"id = {key}") == [[None, None]]


async def test_records_are_updated_by_ids_or_by_filter(shop: Shop) -> None:
    by_ids = await shop.call("update_records", table="orders", values={"note": "x", "paid": False}, ids=[1, 4, 99])
    assert by_ids.value == {"updated": 2}
    by_filter = await shop.call("update_records", table="orders", values={"note": None}, filter="status = 'paid'")
    assert by_filter.value == {"updated": 1}
    assert orders(shop) == [(1, "open", "x"), (2, "paid", None), (3, "open", None), (4, "lost", "x")]


async def test_records_are_deleted_by_ids_or_by_filter(shop: Shop) -> None:
    assert (await shop.call("delete_records", table="orders", ids=[1])).value == {"deleted": 1}
    assert (await shop.call("delete_records", table="orders", filter="status = 'open'")).text == "1 record deleted"
    assert [row[0] for row in orders(shop)] == [2, 4]


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("create_records", {"table": "orders", "records": []}, "invalid_arguments", "`records`"),
    ("create_records", {"table": "orders", "records": [{}]}, "invalid_arguments", "records[0] is empty"),
    ("create_records", {"table": "orders", "records": [{"totl": 1}]}, "not_found", "no column totl. Did you mean"),
    ("create_records", {"table": "orders", "records": [{"id": 1, "ID": 2}]}, "invalid_arguments", "names id twice"),
    (
        "create_records",
        {"table": "orders", "records": [{"customer_id": 1}, {"customer_id": "one"}]},
        "invalid_arguments",
        "records[1]: customer_id takes a whole number such as 42.",
    ),
    (
        "create_records",
        {"table": "orders", "records": [{"customer_id": 2**70}]},
        "invalid_arguments",
        "customer_id takes a whole number",
    ),
    ("create_records", {"table": "prices", "records": [{"item": "x"}]}, "invalid_arguments", "its key country"),
    ("create_records", {"table": "open_orders", "records": [{"id": 1}]}, "invalid_arguments", "is a view"),
    ("create_records", {"table": "nothing", "records": [{"id": 1}]}, "not_found", "There is no table nothing"),
    ("update_records", {"table": "orders", "values": {}, "ids": [1]}, "invalid_arguments", "values is empty"),
    ("update_records", {"table": "orders", "values": {"note": "x"}}, "invalid_arguments", "give ids or filter"),
    ("update_records", {"table": "orders", "values": {"note": 1}, "ids": [1]}, "invalid_arguments", "note takes"),
    ("delete_records", {"table": "orders"}, "invalid_arguments", "give ids or filter"),
    ("delete_records", {"table": "orders", "filter": "  "}, "invalid_arguments", "give ids or filter"),
    ("delete_records", {"table": "orders", "ids": []}, "invalid_arguments", "`ids`"),
    ("delete_records", {"table": "orders", "ids": [1], "filter": "id = 1"}, "invalid_arguments", "not both"),
    ("delete_records", {"table": "orders", "ids": ["x"]}, "invalid_arguments", "ids: id takes a whole number"),
    ("delete_records", {"table": "orders", "ids": [None]}, "invalid_arguments", "one id"),
    ("delete_records", {"table": "prices", "ids": ["pen"]}, "invalid_arguments", "a list: [item, country]"),
    ("delete_records", {"table": "lines", "ids": [1]}, "invalid_arguments", "has no key that you may use"),
    ("delete_records", {"table": "orders", "filter": "id = "}, "invalid_arguments", "cannot be read"),
]


@pytest.mark.parametrize(("tool", "arguments", "code", "sentence"), REFUSED)
async def test_what_cannot_be_written_is_refused(
    shop: Shop, tool: str, arguments: dict[str, Any], code: str, sentence: str
) -> None:
    before = orders(shop)
    outcome = await shop.call(tool, **arguments)
    assert (outcome.error, sentence in outcome.text) == (code, True), outcome.text
    assert orders(shop) == before


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        (
            "create_records",
            {"table": "customers", "records": [{"name": "Eve"}, {"name": "Ada", "email": "ada@example.com"}]},
            "There is a record with that email already",
        ),
        (
            "create_records",
            {"table": "customers", "records": [{"name": "Eve"}, {"id": 1, "name": "Ada"}]},
            "records[1]: There is a record with that id already",
        ),
        (
            "create_records",
            {"table": "customers", "records": [{"name": "Eve"}, {"country": "DE"}]},
            "records[1]: name needs a value; nothing was changed.",
        ),
        (
            "create_records",
            {"table": "orders", "records": [{"customer_id": 1}, {"customer_id": 99}]},
            "records[1]: customer_id points at no record of customers; nothing was changed.",
        ),
        (
            "create_records",
            {"table": "orders", "records": [{"customer_id": 1}, {"customer_id": 1, "total": -1}]},
            "records[1]: The rule sensible of the table does not allow these values; nothing was changed.",
        ),
        (
            "update_records",
            {"table": "customers", "values": {"email": "same@example.com"}, "filter": "id > 0"},
            "There is a record with that email already",
        ),
        (
            "delete_records",
            {"table": "customers", "filter": "id > 0"},
            "still point at a record that this would delete",
        ),
    ],
)
async def test_a_broken_rule_is_a_conflict_in_plain_words_and_nothing_is_changed(
    shop: Shop, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    tables = ("customers", "orders")
    before = [shop.execute(f"select * from {table} order by id") for table in tables]  # noqa: S608
    outcome = await shop.call(tool, **arguments)
    assert outcome.error == "conflict"
    assert sentence in outcome.text
    assert outcome.text.endswith("; nothing was changed.")
    assert "constraint" not in outcome.text.lower()
    assert [shop.execute(f"select * from {table} order by id") for table in tables] == before  # noqa: S608


async def test_a_value_that_the_database_refuses_is_told_without_its_words(postgresql_shop: Shop) -> None:
    records = [{"customer_id": 3_000_000_000}]
    outcome = await postgresql_shop.call("create_records", table="orders", records=records)
    assert outcome.error == "invalid_arguments"
    assert outcome.text == "records[0]: A value does not fit the column that it is for; describe_table shows the types."
    outcome = await postgresql_shop.call("create_records", table="lines", records=[{"text": "a\x00b"}])
    assert outcome.error == "invalid_arguments"


async def test_text_that_is_too_long_and_numbers_out_of_range_are_told_in_mariadb(mariadb_shop: Shop) -> None:
    for record in ({"name": "x", "country": "y" * 70_000}, {"name": "x", "salary": 10**9}, {"id": 2**31, "name": "x"}):
        outcome = await mariadb_shop.call("create_records", table="customers", records=[record])
        assert outcome.error == "invalid_arguments"
        assert (
            outcome.text
            == "records[0]: A value does not fit the column that it is for; describe_table shows the types."
        )


async def test_a_key_of_zero_is_no_number_of_the_databases_own(mariadb_shop: Shop) -> None:
    records = [{"id": 0, "name": "x"}]
    assert (await mariadb_shop.call("create_records", table="customers", records=records)).value["ids"] == [0]


async def test_a_read_only_source_has_no_tools_that_write(shop: Shop) -> None:
    reader = Shop(shop.engine, shop.url, access="read-only")
    outcome = await reader.call("delete_records", table="orders", ids=[1])
    assert outcome.error == "unknown_tool"
    assert len(await reader.query(table="orders")) == 4
    reader.close()


async def test_a_thousand_records_go_in_at_once_and_no_more(shop: Shop) -> None:
    records = [{"text": str(number), "number": number} for number in range(1000)]
    assert (await shop.call("create_records", table="lines", records=records)).value == {"created": 1000, "ids": None}
    outcome = await shop.call("create_records", table="lines", records=[*records, {"text": "x"}])
    assert outcome.error == "invalid_arguments"
    assert shop.execute('select count(*) from "lines"') == [(1003,)]
    ids = list(range(1, 1001))
    assert (await shop.call("update_records", table="orders", values={"note": "y"}, ids=ids)).value == {"updated": 4}


async def test_generated_columns_are_described_and_never_written(shop: Shop) -> None:
    stored = "stored" if shop.engine == "postgresql" else "virtual"
    shop.execute(
        f"create table sums (id integer primary key, a integer, b integer generated always as (a + 1) {stored})"
    )
    described = (await shop.call("describe_table", table="sums")).value["columns"]
    assert [column["generated"] for column in described] == ["", "", "always"]
    outcome = await shop.call("create_records", table="sums", records=[{"id": 1, "b": 2}])
    assert "b is generated by the database" in outcome.text
    assert (await shop.call("create_records", table="sums", records=[{"id": 1, "a": 2}])).value["ids"] == [1]
    assert await shop.query(table="sums") == [[1, 2, 3]]


async def test_a_key_with_a_default_comes_back(shop: Shop) -> None:
    default = {
        "sqlite": "(lower(hex(randomblob(16))))",
        "postgresql": "gen_random_uuid()::text",
        "mariadb": "uuid()",
    }[shop.engine]
    shop.execute(f"create table tokens (id varchar(40) primary key default {default}, note text)")
    created = (await shop.call("create_records", table="tokens", records=[{"note": "a"}, {"note": "b"}])).value
    assert sorted(created["ids"]) == sorted(row[0] for row in await shop.query(table="tokens", columns=["id"]))


async def test_the_keys_of_a_batch_stand_in_the_order_of_its_records_whatever_they_give(shop: Shop) -> None:
    shapes: list[dict[str, Any]] = [{}, {"note": None}, {"note": "n"}, {"id": None}, {"id": 5000}, {"paid": True}]
    records = [{"customer_id": 1, "total": n, **shapes[n % len(shapes)]} for n in range(60)]
    for n, record in enumerate(records):
        if record.get("id"):
            record["id"] += n
    ids = (await shop.call("create_records", table="orders", records=records)).value["ids"]
    stored = dict(shop.execute("select id, total from orders where id > 4"))
    assert [float(stored[key]) for key in ids] == list(range(60))
    assert len(set(ids)) == 60


@pytest.mark.parametrize("columns", ["code varchar(9) primary key, note text", "id bigint, note text", "note text"])
async def test_batches_go_into_tables_with_any_key_or_none(shop: Shop, columns: str) -> None:
    shop.execute(f"create table things ({columns})")
    name = columns.split()[0]
    records = [{name: str(n) if name != "id" else n} for n in range(50)]
    outcome = await shop.call("create_records", table="things", records=records)
    assert outcome.value == {"created": 50, "ids": [str(n) for n in range(50)] if name == "code" else None}
    assert shop.execute("select count(*) from things") == [(50,)]
