"""get_data_model, and what the configuration says tables mean: what is told, to whom, and in how many bytes."""

import logging
import time
from collections.abc import Generator
from typing import Any

import pytest

from databases import Shop
from isthmus.grants import Grant

pytest_plugins = ["database_fixtures"]

LINKED = """
create table tags (id {serial}, word varchar(30) unique);
create table order_tags (
  order_id integer references orders (id), tag_id integer references tags (id), created_at {moment},
  primary key (order_id, tag_id)
);
create table likes (
  id {serial}, customer_id integer not null references customers (id), tag_id integer not null references tags (id)
);
create table staff (id {serial}, boss_id integer references staff (id), "full name" varchar(30), pay numeric(9, 2));
create table parts (maker varchar(9), number integer, primary key (maker, number));
create table uses (
  id {serial}, maker varchar(9), number integer, foreign key (maker, number) references parts (maker, number),
  unique (maker, number)
)
"""
KEYS = {
    "sqlite": {"serial": "integer primary key", "moment": "datetime"},
    "postgresql": {"serial": "serial primary key", "moment": "timestamp"},
    "mariadb": {"serial": "integer auto_increment primary key", "moment": "datetime"},
}

SEMANTICS: dict[str, Any] = {
    "orders": {
        "description": "One row per order; cancelled ones stay",
        "synonyms": ["purchases", "Sales"],
        "columns": {"total": {"description": "Gross, in EUR", "synonyms": ["revenue"]}},
        "metrics": {
            "net_revenue": {
                "function": "sum", "column": "total", "filter": "status = 'paid'", "description": "What was paid for",
            },
            "open_orders": {"function": "count", "filter": "status = 'open' and month(placed_at) = '2024-01'"},
        },
    },
    "ordrs": {"description": "a slip of the pen"},
    "prices": {"columns": {"prize": {"description": "another"}}},
}  # fmt: skip


def reads(*objects: str, **options: tuple[str, ...] | str) -> list[Grant]:
    return [Grant(("db.*",), ("read",), objects, **options)]  # pyright: ignore[reportArgumentType]


async def model(shop: Shop, **arguments: Any) -> str:
    outcome = await shop.call("get_data_model", **arguments)
    assert not outcome.result.is_error, outcome.text
    return outcome.text


async def lines(shop: Shop, **arguments: Any) -> dict[str, str]:
    """A table's name → what is written about it."""
    found: dict[str, str] = {}
    for line in (await model(shop, **arguments)).splitlines()[1:]:
        if not line.startswith((" ", "(")):
            kind, _, rest = line.partition(" ")
            found[rest.split(" ")[0] if kind in ("view", "junction") else kind] = line
    return found


@pytest.fixture
def meant(sqlite_shop: Shop) -> Generator[Shop]:
    """A shop that is explained in the configuration."""
    shop = Shop("sqlite", sqlite_shop.url, settings={"semantics": SEMANTICS})
    yield shop
    shop.close()


async def test_keys_relations_junctions_and_self_references_are_named_on_every_engine(shop: Shop) -> None:
    shop.execute(LINKED.format(**KEYS[shop.engine]))
    found = await lines(shop, tables=["*"])
    assert list(found)[-2:] == ["likes", "order_tags"]
    assert "customer_id int → customers.id as customer" in found["orders"]
    assert found["orders"].endswith(") ← order_tags")
    assert found["customers"].endswith(") ← orders, likes") or found["customers"].endswith(") ← likes, orders")
    assert found["order_tags"].startswith("junction order_tags")
    assert "(order_id* int → orders.id as order, tag_id* int → tags.id as tag, created_at?" in found["order_tags"]
    assert found["likes"].startswith("junction likes")
    assert "boss_id? int self-reference → staff.id as boss" in found["staff"]
    assert found["staff"].endswith("← staff_by_boss_id")
    assert '"full name"? varchar' in found["staff"]
    assert "(maker, number) → parts (maker, number) as parts, unique (maker, number))" in found["uses"]
    assert "word? varchar unique" in found["tags"]
    assert found["open_orders"].startswith("view open_orders (")


async def test_the_names_that_are_shown_work_in_a_query(shop: Shop) -> None:
    shop.execute(LINKED.format(**KEYS[shop.engine]))
    described = (await shop.call("describe_table", table="orders")).value
    assert [key["relation"] for key in described["foreign_keys"] + described["referenced_by"]] == [
        "customer", "order_tags",
    ]  # fmt: skip
    assert await shop.query(table="orders", columns=["customer.name"], filter="id = 1") == [["Ada"]]
    assert not (await shop.call("query_table", table="orders", related=["order_tags.tag"])).result.is_error
    assert not (await shop.call("query_table", table="staff", related=["staff_by_boss_id"])).result.is_error


async def test_each_detail_tells_more_than_the_one_before(shop: Shop) -> None:
    only = ["customers"]
    names, keys, columns, full = [
        (await model(shop, tables=only, detail=detail)).split("\n", 1)[1]
        for detail in ("names", "keys", "columns", "full")
    ]
    assert names.split(" ")[0] == "customers"
    assert "(id* int, email? " in keys
    assert "+4 columns) ← orders" in keys
    assert "salary? decimal(10,2)" in columns
    assert full.startswith("customers")
    assert "\n  country? " in full
    assert "DE" in full
    assert len(names) < len(keys) < len(columns) < len(full)


async def test_comments_of_the_database_are_told(server_shop: Shop) -> None:
    shop = server_shop
    if shop.engine == "mariadb":
        shop.execute("alter table orders comment 'all orders';\nalter table orders modify note text comment 'a word'")
    else:
        shop.execute("comment on table orders is 'all orders';\ncomment on column orders.note is 'a word'")
    assert (await lines(shop))["orders"].endswith(": all orders")
    assert "\n  note? text: a word" in (await model(shop, tables=["orders"], detail="full")).replace("longtext", "text")


async def test_what_a_grant_hides_is_not_told(sqlite_shop: Shop) -> None:
    shop = sqlite_shop
    shop.execute(LINKED.format(**KEYS["sqlite"]))
    shop.grants = reads("orders", "customers", "likes", "staff", hidden=("pay", "customer_id"))
    text = await model(shop, detail="full")
    for hidden in ("pay", "customer_id", "tags", "prices", "→ customers", "←  orders", "junction"):
        assert hidden not in text, hidden
    shop.grants = reads("orders", "customers", masked=("customer_id", "email"))
    found = await lines(shop)
    assert "customer_id int masked → customers.id," in found["orders"]
    assert "←" not in found["customers"]
    assert "email? text unique masked" in found["customers"]
    shop.grants = reads("nothing")
    assert "no tables that you may read" in await model(shop)


async def test_row_estimates_are_told_to_those_alone_who_may_read_all_rows(shop: Shop) -> None:
    shop.execute("create index by_status on orders (status)")
    shop.execute({"mariadb": "analyze table orders"}.get(shop.engine, "analyze"))
    for detail in ("names", "columns"):
        assert (await lines(shop, detail=detail))["orders"].startswith("orders ~4 rows")
    shop.grants = reads("orders", rows="owner = {user.id}")
    assert "rows" not in (await lines(shop, detail="names"))["orders"]
    shop.grants = [*reads("orders", rows="id = 1"), *reads("customers")]
    assert "rows" not in (await lines(shop))["orders"]


async def test_tables_are_chosen_by_pattern_in_any_schema_and_letter_case(postgresql_shop: Shop) -> None:
    postgresql_shop.execute("create schema crm;\ncreate table crm.calls (id integer primary key)")
    shop = Shop("postgresql", postgresql_shop.url, schemas=("public", "crm"))
    assert list(await lines(shop, tables=["crm.*"])) == ["crm.calls"]
    assert list(await lines(shop, tables=["ORD*", "p?ices"])) == ["orders", "prices"]
    assert list(await lines(shop, tables=["public.orders"])) == ["orders"]
    text = await model(shop, tables=["orders", "prizes"])
    assert text.splitlines()[-1].startswith("There is no table like prizes. Did you mean prices")
    missed = await shop.call("get_data_model", tables=["ordrs"])
    assert (missed.error, "Did you mean orders" in missed.text) == ("not_found", True)
    shop.close()


async def test_a_new_table_is_seen_when_it_is_named_or_the_model_refreshed(sqlite_shop: Shop) -> None:
    assert "newest" not in await model(sqlite_shop)
    sqlite_shop.execute("create table newest (id integer)")
    assert "newest" not in await model(sqlite_shop)
    assert "newest (id? int)" in await model(sqlite_shop, tables=["newest"])
    sqlite_shop.execute("alter table newest add column word text")
    assert "newest (id? int, word? text)" in await model(sqlite_shop, refresh=True)


@pytest.mark.parametrize("detail", ["names", "keys", "columns", "full"])
async def test_it_never_is_longer_than_it_may_be_and_says_what_is_left_out(sqlite_shop: Shop, detail: str) -> None:
    wide = ", ".join(f"a_long_name_of_a_column_{n} text" for n in range(200))
    sqlite_shop.execute(
        ";\n".join(
            [f"create table sale_{n} (id integer primary key, word text default 'x')" for n in range(300)]
            + [f"create table wide (id integer primary key, {wide})"]
        )
    )
    for most in (2000, 5000, 20_000):
        text = await model(sqlite_shop, max_bytes=most, detail=detail)
        assert len(text.encode()) <= most
        if most == 2000:
            assert 'call get_data_model with tables such as ["sale_*"]' in text.splitlines()[-1]
            assert " more.\n" in text
            assert len(text.encode()) > 1400


async def test_semantics_are_told_wherever_tables_are(meant: Shop) -> None:
    told = "One row per order; cancelled ones stay; also called purchases, Sales"
    found = await model(meant, tables=["orders"])
    assert f"): {told}\n" in found
    assert "\n  metric net_revenue = sum(total) where status = 'paid': What was paid for" in found
    assert "\n  metric open_orders = count(*) where status = 'open'" in found
    full = await model(meant, tables=["orders"], detail="full")
    assert "\n  total? decimal(10,2): Gross, in EUR; also called revenue" in full
    (listed,) = (await meant.call("list_tables", query="SALES")).value["tables"]
    assert listed == {"name": "orders", "kind": "table", "comment": told}
    assert list(await lines(meant, tables=["purch*"])) == ["orders"]
    described = await meant.call("describe_table", table="orders")
    assert described.value["comment"] == told
    assert described.value["metrics"][0] == "net_revenue = sum(total) where status = 'paid': What was paid for"
    assert "total\tNUMERIC(10, 2)\tmay be null; Gross, in EUR; also called revenue" in described.text


@pytest.mark.parametrize("closed", [{"hidden": ("total",)}, {"masked": ("orders.status",)}])
async def test_a_metric_of_what_the_caller_may_not_know_is_not_told(meant: Shop, closed: dict[str, Any]) -> None:
    meant.grants = reads("**", **closed)
    assert "net_revenue" not in await model(meant, detail="full")
    assert "net_revenue" not in (await meant.call("describe_table", table="orders")).text
    assert ("open_orders = count(*)" in await model(meant)) == ("hidden" in closed)


async def test_semantics_of_what_is_not_there_are_logged_once(meant: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "isthmus.db"):
        await model(meant)
        await model(meant, refresh=True)
    assert [record.message for record in caplog.records] == [
        "shop: semantics name the table ordrs, which is not there. Did you mean orders, open_orders?",
        "shop: semantics name the column of prices prize, which is not there. Did you mean price?",
    ]


@pytest.mark.alone
async def test_a_thousand_tables_are_read_in_a_few_seconds_and_told_in_under_one(sqlite_shop: Shop) -> None:
    kinds = ", ".join(f"c{number} {kind}" for number, kind in enumerate(["text", "numeric(10, 2)", "date"] * 2))
    sqlite_shop.execute(
        ";\n".join(
            f"create table t_{n:03} (id integer primary key, up integer references t_{n // 10:03}, {kinds})"
            for n in range(1000)
        )
    )
    catalog = sqlite_shop.source.handle.catalog
    began = time.monotonic()
    assert len(await catalog.tables((await catalog.names()).values())) == 1005
    described = time.monotonic()
    assert "1005 tables and views" in await model(sqlite_shop, max_bytes=131_072)
    assert described - began < 3
    assert time.monotonic() - described < 1
