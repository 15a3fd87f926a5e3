"""Related rows: dotted names in every place, lists within rows, and what grants leave of them."""

from datetime import UTC, datetime, tzinfo
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from databases import Shop
from isthmus.grants import Grant
from isthmus.messages import Principal

pytest_plugins = ["database_fixtures"]

SHELVES = """
create table makers (id integer primary key, name {text} not null, boss_id integer,
  foreign key (boss_id) references makers (id));
create table goods (
  maker_id integer not null, code {text} not null, maker_name {text}, price numeric(10, 2),
  primary key (maker_id, code), foreign key (maker_id) references makers (id)
);
create table sales (
  id integer primary key, order_id integer not null, maker_id integer, code {text}, amount integer not null,
  foreign key (order_id) references orders (id), foreign key (maker_id, code) references goods (maker_id, code)
);
create table tags (sale_id integer not null, word {text} not null, primary key (sale_id, word),
  foreign key (sale_id) references sales (id));
alter table customers add column data {json};
insert into makers values (1, 'Acme', null), (2, 'Bolt', 1), (3, 'Core', 1);
insert into goods values (1, 'pen', 'x', 1.50), (1, 'ink', null, 9.00), (2, 'pen', null, 2.25);
insert into sales values (1, 1, 1, 'pen', 10), (2, 1, 1, 'ink', 1), (3, 2, 2, 'pen', 4), (4, 3, null, null, 7),
  (5, 1, 2, 'pen', 2);
insert into tags values (1, 'red'), (1, 'big'), (3, 'red');
update customers set data = '{{"city": "Bonn", "age": 41, "tags": ["a", "b"], "on": true, "none": null}}' where id = 1;
update customers set data = '{{"city": "Nice", "age": "old"}}' where id = 2;
"""
CHAIN = """
create table parents (id integer primary key);
create table children (id integer primary key, parent_id integer references parents (id));
create table toys (id integer primary key, child_id integer references children (id));
insert into parents with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) select i from n;
insert into children select id, id from parents;
insert into toys select id, id from children;
"""
JSON = {"sqlite": "json", "postgresql": "jsonb", "mariadb": "json"}


@pytest.fixture
def shelves(shop: Shop) -> Shop:
    """The shop with relations of every kind; orders point at customers."""
    text = {"sqlite": "text", "postgresql": "text", "mariadb": "varchar(100)"}[shop.engine]
    shop.execute(SHELVES.format(text=text, json=JSON[shop.engine]))
    return shop


async def test_a_dotted_name_reads_a_column_of_the_row_that_a_relation_leads_to(shelves: Shop) -> None:
    outcome = await shelves.call("query_table", table="orders", columns=["id", "customer.name"], order_by=["id"])
    assert outcome.value["columns"] == ["id", "customer.name"]
    assert outcome.rows == [[1, "Ada"], [2, "Ada"], [3, "Bob"], [4, "Dee"]]
    assert await shelves.query(table="sales", columns=["id", "goods.maker.name"], order_by=["id"]) == [
        [1, "Acme"], [2, "Acme"], [3, "Bolt"], [4, None], [5, "Bolt"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "condition", "ids"),
    [
        ("orders", "customer.country = 'DE'", [1, 2, 4]),
        ("orders", "customer.country = 'DE' and not customer.name = 'Ada'", [4]),
        ("orders", "orders.id = 1 or customers.name = 'Bob'", [1, 3]),
        ("orders", "sales.amount > 5", [1, 3]),
        ("orders", "not sales.amount > 5", [2, 4]),
        ("orders", "sales.goods.maker.name = 'Bolt'", [1, 2]),
        ("orders", "sales.tags.word = 'red'", [1, 2]),
        ("orders", "sales.id is null", []),
        ("customers", "orders.sales.amount between 7 and 9", [2]),
        ("customers", "orders.customer.name = name", [1, 2, 4]),
        ("makers", "boss.name = 'Acme'", [2, 3]),
        ("makers", "makers_by_boss_id.name = 'Core'", [1]),
        ("makers", "boss.id is null", [1]),
        ("sales", "goods.price >= 2 and order.customer.email ilike 'ADA%'", [2, 3, 5]),
    ],
)
async def test_filters_reach_through_relations_in_both_directions(
    shelves: Shop, table: str, condition: str, ids: list[int]
) -> None:
    assert await shelves.query(table=table, columns=["id"], filter=condition, order_by=["id"]) == [[n] for n in ids]


async def test_rows_are_sorted_by_related_columns_page_by_page(shelves: Shop) -> None:
    arguments: dict[str, Any] = {
        "table": "sales", "columns": ["id"], "order_by": ["-goods.maker.name nulls last", "amount"], "limit": 2,
    }  # fmt: skip
    first = await shelves.call("query_table", **arguments)
    second = await shelves.call("query_table", **arguments, cursor=first.value["next_cursor"])
    third = await shelves.call("query_table", **arguments, cursor=second.value["next_cursor"])
    assert [first.rows, second.rows, third.rows] == [[[5], [3]], [[2], [1]], [[4]]]
    assert first.value["reason"] == "limit"
    assert third.value["next_cursor"] is None


async def test_related_shows_one_row_as_columns_and_several_as_lists(shelves: Shop) -> None:
    outcome = await shelves.call(
        "query_table",
        table="orders",
        columns=["id"],
        related=[
            {"path": "customer", "columns": ["name"]},
            {"path": "sales", "columns": ["amount", "goods.code"], "order_by": ["-amount"]},
            {"path": "sales.tags", "columns": ["word"]},
        ],
        order_by=["id"],
    )
    assert outcome.value["columns"] == ["id", "customer.name", "sales"]
    assert outcome.value["related"] == {"sales": ["amount", "goods.code", "tags"], "sales.tags": ["word"]}
    assert outcome.rows == [
        [1, "Ada", [[10, "pen", [["big"], ["red"]]], [2, "pen", []], [1, "ink", []]]],
        [2, "Ada", [[4, "pen", [["red"]]]]],
        [3, "Bob", [[7, None, []]]],
        [4, "Dee", []],
    ]
    assert outcome.text.splitlines()[0] == "id\tcustomer.name\tsales[amount,goods.code,tags[word]]"


async def test_lists_can_hang_below_a_row_that_a_relation_leads_to(shelves: Shop) -> None:
    outcome = await shelves.call(
        "query_table",
        table="sales",
        columns=["id"],
        related=[{"path": "order.sales", "columns": ["id"]}],
        order_by=["id"],
    )
    assert outcome.value["columns"] == ["id", "order.sales"]
    assert outcome.rows == [[1, [[1], [2], [5]]], [2, [[1], [2], [5]]], [3, [[3]]], [4, [[4]]], [5, [[1], [2], [5]]]]


async def test_a_list_can_be_filtered_and_cut_and_says_so(shelves: Shop) -> None:
    outcome = await shelves.call(
        "query_table",
        table="orders",
        columns=["id"],
        related=[{"path": "sales", "columns": ["id"], "filter": "amount >= 2", "order_by": ["amount"], "limit": 1}],
        order_by=["id"],
    )
    assert outcome.rows == [[1, [[5]]], [2, [[3]]], [3, [[4]]], [4, []]]
    assert outcome.value["cut"] == ["sales"]
    assert "lists in sales are cut" in outcome.text


async def test_related_rows_take_a_statement_for_each_relation_and_not_for_each_row(sqlite_shop: Shop) -> None:
    sqlite_shop.execute(CHAIN)
    seen: list[str] = []
    related = [{"path": "children.toys"}]

    def count(*arguments: Any) -> None:
        seen.append(arguments[2])

    await sqlite_shop.query(table="parents", limit=1)
    event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        rows = await sqlite_shop.query(table="parents", related=related, limit=300)
    finally:
        event.remove(sa.Engine, "before_cursor_execute", count)
    assert len(rows) == 300
    assert rows[7] == [8, [[8, 8, [[8, 8]]]]]
    reads = [text for text in seen if text.startswith("SELECT") and "sqlite_" not in text]
    assert len(reads) <= 1 + 3 + 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"columns": ["sales.amount"]}, "leads to several rows of sales"),
        ({"order_by": ["sales.amount"]}, "leads to several rows of sales"),
        ({"related": ["customre"]}, "orders has no relation customre. Did you mean customer"),
        ({"related": ["sales", {"path": "sales"}]}, "related names sales twice"),
        ({"related": [{"path": "customer", "filter": "id = 1"}]}, "customer leads to one row"),
        (
            {"related": ["customer.orders.customer.orders.customer.orders.customer.orders.x.y.z.a.b"]},
            "at most 12 parts",
        ),
        ({"columns": ["customer.nam"]}, "customers has no column nam. Did you mean name"),
        ({"filter": "customer.sales.x.y = 1"}, "customers has no column or relation sales"),
        ({"related": [{"path": "sales", "limit": 1000}]}, "`related[0].limit`: expected `integer` <= 100"),
        ({"distinct": True, "related": ["sales"]}, "leave related out"),
    ],
)
async def test_a_path_that_leads_nowhere_is_refused_with_the_nearest_names(
    shelves: Shop, arguments: dict[str, Any], sentence: str
) -> None:
    outcome = await shelves.call("query_table", table="orders", **arguments)
    assert outcome.error in ("invalid_arguments", "not_found")
    assert sentence.lower() in outcome.text.lower()


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("data.city = 'Bonn'", [1]),
        ("data->>'city' like 'N%'", [2]),
        ("data.age > 40", [1]),
        ("data.age >= 41 and data.age in (41, 42)", [1]),
        ("data.age = 'old'", [2]),
        ("data.tags.1 = 'b'", [1]),
        ("data->'tags'->>0 = 'a'", [1]),
        ("data.on = 'true'", [1]),
        ("data.none is null", [1, 2, 3, 4]),
        ("data.city is not null", [1, 2]),
        ("data.city contains 'i' and not data.city starts with 'B'", [2]),
    ],
)
async def test_what_is_in_json_is_filtered_by(shelves: Shop, condition: str, ids: list[int]) -> None:
    assert await shelves.query(table="customers", columns=["id"], filter=condition, order_by=["id"]) == [
        [n] for n in ids
    ]


async def test_what_is_in_json_is_read_and_sorted_by(shelves: Shop) -> None:
    rows = await shelves.query(
        table="orders", columns=["id", "customer.data.city"], order_by=["customer.data.city nulls first", "id"]
    )
    assert rows == [[4, None], [1, "Bonn"], [2, "Bonn"], [3, "Nice"]]


def grants(**other: Any) -> list[Grant]:
    """All tables to read, and of one of them less."""
    rest = ("orders", "sales", "goods", "makers", "tags")
    return [Grant(("db.*",), ("read",), rest), Grant(("db.*",), ("read",), ("customers",), **other)]


async def test_what_is_hidden_is_not_reached(shelves: Shop) -> None:
    shelves.grants = [Grant(("db.*",), ("read",), ("orders",))]
    tries: list[dict[str, Any]] = [
        {"related": ["customer"]}, {"columns": ["customer.name"]}, {"filter": "customer.name = 'Ada'"},
        {"order_by": ["customer.name"]},
    ]  # fmt: skip
    for arguments in tries:
        outcome = await shelves.call("query_table", table="orders", **arguments)
        assert outcome.error == "not_found"
        assert "customers" not in outcome.text
    shelves.grants = grants(hidden=("name",))
    for arguments in tries[1:]:
        assert (await shelves.call("query_table", table="orders", **arguments)).error == "not_found"
    rows = await shelves.query(table="orders", columns=["id"], related=["customer"], ids=[1])
    assert "Ada" not in str(rows)
    shelves.grants = grants(hidden=("id",))
    assert (await shelves.call("query_table", table="orders", columns=["customer.name"])).error == "not_found"


async def test_what_is_masked_shows_as_such_and_serves_for_nothing_else(shelves: Shop) -> None:
    shelves.grants = grants(masked=("name",))
    assert await shelves.query(table="orders", columns=["customer.name"], ids=[1]) == [["***"]]
    lists = await shelves.query(table="sales", columns=["id"], related=[{"path": "order.customer"}], ids=[1])
    assert "***" in lists[0]
    assert "Ada" not in str(lists)
    tries: list[dict[str, Any]] = [
        {"filter": "customer.name = 'Ada'"}, {"order_by": ["customer.name"]},
        {"columns": ["customer.name"], "distinct": True, "order_by": ["customer.name"]},
    ]  # fmt: skip
    for arguments in tries:
        outcome = await shelves.call("query_table", table="orders", **arguments)
        assert outcome.error in ("not_allowed", "invalid_arguments")
        assert "masked" in outcome.text
    shelves.grants = grants(masked=("data",))
    tries = [{"filter": "customer.data.city = 'Bonn'"}, {"order_by": ["customer.data.city"]}]
    for arguments in tries:
        assert "masked" in (await shelves.call("query_table", table="orders", **arguments)).text
    assert await shelves.query(table="orders", columns=["customer.data.city"], ids=[1]) == [["***"]]
    shelves.grants = [Grant(("db.*",), ("read",), masked=("customer_id",))]
    assert (await shelves.call("query_table", table="orders", columns=["customer.name"])).error == "not_found"


async def test_row_filters_hold_for_related_rows_and_counts(shelves: Shop) -> None:
    shelves.principal = Principal("u_1", "client", "default")
    shelves.grants = grants(rows="owner = {user.id}")
    assert await shelves.query(table="orders", columns=["id", "customer.name"], order_by=["id"]) == [
        [1, "Ada"], [2, "Ada"], [3, None], [4, None],
    ]  # fmt: skip
    assert await shelves.query(table="orders", columns=["id"], filter="customer.name = 'Bob'") == []
    assert await shelves.query(table="orders", columns=["id"], filter="customer.orders.id = 4") == []
    lists = await shelves.query(table="orders", columns=["id"], related=["customer.orders"], ids=[1, 3])
    assert [len(row[1]) for row in lists] == [2, 0]
    shelves.grants = [
        Grant(("db.*",), ("read",), ("customers",)), Grant(("db.*",), ("read",), ("orders",), rows="total > 15"),
    ]  # fmt: skip
    lists = await shelves.query(
        table="customers", columns=["id"], related=[{"path": "orders", "columns": ["id"]}], order_by=["id"]
    )
    assert lists == [[1, [[2]]], [2, [[3]]], [3, []], [4, []]]
    assert await shelves.query(table="customers", columns=["id"], filter="orders.status = 'open'") == [[2]]
    outcome = await shelves.call("query_table", table="orders", count="estimated")
    assert (outcome.value["count"], outcome.value["estimated"]) == (2, False)


async def test_a_moment_in_a_filter_is_that_of_the_call_and_not_of_the_plan(
    sqlite_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = sqlite_shop
    shop.execute("update orders set placed_at = '2030-06-01 00:00:00'")
    related = [{"path": "orders", "columns": ["id"], "filter": "placed_at < now()", "limit": 1}]
    dated = [Grant(("db.*",), ("read",), ("orders",), rows="placed_at < now()")]
    moments: list[tuple[datetime, list[Any], list[Any]]] = [
        (datetime(2030, 5, 1, tzinfo=UTC), [], []),
        (datetime(2030, 7, 1, tzinfo=UTC), [[1]], [[1]]),
    ]
    for moment, lists, rows in moments:
        monkeypatch.setattr("isthmus_db_worker.filter_syntax.datetime", clock_at(moment))
        monkeypatch.setattr("time.time", moment.timestamp)
        shop.grants = [Grant(("db.*",), ("read",), rows="id > 0"), Grant(("db.*",), ("read",), ("orders",))]
        assert await shop.query(table="customers", columns=["id"], related=related, ids=[1]) == [[1, lists]]
        assert (await shop.query(table="customers", columns=["id"], related=related, limit=1)) == [[1, lists]]
        shop.grants = dated
        assert await shop.query(table="orders", columns=["id"], limit=1) == rows


def clock_at(moment: datetime) -> type[datetime]:
    """A clock that stands still."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # pyright: ignore[reportIncompatibleMethodOverride]
            return moment.astimezone(tz)

    return Clock
