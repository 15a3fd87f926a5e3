"""list_tables, describe_table and query_table on real databases."""

import json
from typing import Any

import pytest

from databases import Shop
from isthmus.grants import Grant
from isthmus.messages import Principal

pytest_plugins = ["database_fixtures"]


async def test_tables_and_views_are_listed_with_their_kind(shop: Shop) -> None:
    listed = (await shop.call("list_tables")).value
    assert [(table["name"], table["kind"]) for table in listed["tables"]] == [
        ("customers", "table"),
        ("lines", "table"),
        ("open_orders", "view"),
        ("orders", "table"),
        ("prices", "table"),
    ]
    assert listed["truncated"] is False
    assert "open_orders\tview" in (await shop.call("list_tables")).text


async def test_the_list_of_tables_is_narrowed_by_name(shop: Shop) -> None:
    listed = (await shop.call("list_tables", query="ORDER")).value
    assert [table["name"] for table in listed["tables"]] == ["open_orders", "orders"]
    assert (await shop.call("list_tables", query="nothing like it")).text == "No tables."


async def test_a_table_is_described_with_columns_and_keys_both_ways(shop: Shop) -> None:
    orders = (await shop.call("describe_table", table="orders")).value
    assert [column["name"] for column in orders["columns"]] == [
        "id", "customer_id", "status", "total", "placed_at", "due", "paid", "note",
    ]  # fmt: skip
    by_name = {column["name"]: column for column in orders["columns"]}
    assert by_name["total"]["type"] == ("DECIMAL(10, 2)" if shop.engine == "mariadb" else "NUMERIC(10, 2)")
    assert by_name["total"]["nullable"] is True
    assert by_name["status"]["nullable"] is False
    assert "open" in by_name["status"]["default"]
    assert orders["primary_key"] == ["id"]
    key = {"table": "orders", "columns": ["customer_id"], "to_table": "customers", "to_columns": ["id"]}
    assert orders["foreign_keys"] == [key | {"relation": "customer"}]
    customers = (await shop.call("describe_table", table="customers")).value
    assert customers["referenced_by"] == [key | {"relation": "orders"}]
    assert customers["unique_keys"] == [["email"]]
    assert customers["columns"][0]["nullable"] is False
    text = (await shop.call("describe_table", table="orders")).text
    assert text.startswith("table orders\ncolumn\ttype\tnotes\nid\tINTEGER\trequired")
    assert text.removesuffix("\nversion of a row: xmin").endswith(
        "foreign key: orders (customer_id) → customers (id), relation customer"
    )


async def test_rows_come_structured_and_as_a_table_of_text(shop: Shop) -> None:
    outcome = await shop.call("query_table", table="orders", columns=["id", "total", "due", "paid", "note"])
    assert outcome.value == {
        "columns": ["id", "total", "due", "paid", "note"],
        "rows": [
            [1, *_money(shop, "10.00", "10"), "2024-02-01", True, "a"],
            [2, *_money(shop, "20.50", "20.5"), "2024-02-02", True, ""],
            [3, *_money(shop, "30.00", "30"), None, False, None],
            [4, None, "2024-01-15", None, "tab\tline\nend"],
        ],
        "truncated": False,
        "next_cursor": None,
    }
    lines = outcome.text.split("\n")
    assert lines[0] == "id\ttotal\tdue\tpaid\tnote"
    assert lines[2].endswith('\ttrue\t""')
    assert lines[3].endswith("\tfalse\tnull")
    assert lines[4].endswith('\tnull\t"tab\\tline\\nend"')
    assert lines[5] == "(4 rows, all)"


def _money(shop: Shop, decimal: str, stored: str) -> tuple[str]:
    """SQLite keeps a number, not its digits."""
    return (stored if shop.engine == "sqlite" else decimal,)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("id = 2", [2]),
        ("2 = id", [2]),
        ("total > 10", [2, 3]),
        ("total >= 10.0 and total < 30", [1, 2]),
        ("30 > total", [1, 2]),
        ("status = 'open' or status = 'paid'", [1, 2, 3]),
        ("not status = 'open'", [2, 4]),
        ("not (status = 'open' or id = 4)", [2]),
        ("status in ('open', 'lost') and id <> 1", [3, 4]),
        ("id not in (1, 2)", [3, 4]),
        ("id between 2 and 3", [2, 3]),
        ("id not between 2 and 3", [1, 4]),
        ("note is null", [3]),
        ("note is not null and note <> 'a'", [2, 4]),
        ("note = ''", [2]),
        ("status like 'o%'", [1, 3]),
        ("status not like '%o%'", [2]),
        ("status ilike 'OP_N'", [1, 3]),
        ("due >= '2024-02-01'", [1, 2]),
        ("placed_at > '2024-01-01T23:59:59'", [2, 3]),
        ("placed_at = '2024-01-02 11:30:00'", [2]),
        ("paid", [1, 2]),
        ("paid = true", [1, 2]),
        ("paid = false", [3]),
        ("paid is true and not id = 1", [2]),
        ("paid is not true", [3, 4]),
        ("not paid", [3]),
        ('"id" = 1 and ("status" = \'open\')', [1]),
        ("ID = 1 AND Status = 'open'", [1]),
        ("id > -1 and id < 2", [1]),
        ("id in (-1, 2)", [2]),
        ("total > 9.99 and id < 1.5", [1]),
        ("customer_id = id", [1, 4]),
        ("id = '2'", [2]),
        ("note contains 'LINE' or status starts with 'PAI'", [2, 4]),
        ("status ends with 'st' and not note contains '%'", [4]),
        ("status not contains 'pe'", [2, 4]),
        ("id = 1 -- and a comment", [1]),
        ("  ", [1, 2, 3, 4]),
    ],
)
async def test_filters_find_their_rows(shop: Shop, text: str, ids: list[int]) -> None:
    assert [row[0] for row in await shop.query(table="orders", columns=["id"], filter=text)] == ids


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id = ", "cannot be read near `id =`"),
        ("id = 1 and", "cannot be read near"),
        ("id = 1; drop table orders", "position 7, near `; drop table orders`"),
        ("id == 1 2", "cannot be read near"),
        ("(id = 1", "cannot be read near"),
        ("note = 'open", "a quote that is not closed"),
        ("id = (select max(id) from orders)", "max(…) is not allowed here"),
        ("exists (select 1)", "exists(…) is not allowed here"),
        ("lower(note) = 'a'", "lower(…) is not allowed here"),
        ("id + 1 = 2", "position 4, near `+ 1 = 2`"),
        ("id - 1 = 2", "position 4, near `- 1 = 2`"),
        ("note || 'x' = 'ax'", "position 6"),
        ("case when id = 1 then true end", "cannot be read near"),
        ("cast(id as text) = '1'", "cast(…) is not allowed here"),
        ("1 = 1", "must be a column"),
        ("true", "is not allowed"),
        ("id", "id alone is no condition"),
        ("id = null", "write id is null"),
        ("id in ()", "needs a list of values"),
        ("id in 1", "needs a list of values"),
        ("id in (customer_id)", "is not allowed"),
        ("id = 'x'", "id is compared with a whole number such as 42."),
        ("due = 'soon'", "due is compared with a date such as '2024-01-31'."),
        ("note = 5", "note is compared with text in single quotes."),
        ("lines.id = 1", "orders has no column or relation lines"),
        ("id = :x", "position 6"),
        ("id = ?", "position 6"),
        ("id = {user.id}", "Your attribute id does not fit id"),
        ("note = {user.team}", "You have no attribute team"),
        ("note = {team}", "Of placeholders there are {user.id}"),
        ("statu = 'x'", "orders has no column statu. Did you mean status"),
        ("note like 'a\\'", "must not end with a backslash"),
        ("id = 1 and id = 2 as x", "cannot be read near"),
        ("interval '1 day' = due", "cannot be read near"),
        ("(" * 51 + "id = 1" + ")" * 51, "nested more than 50 deep"),
        ("not " * 60 + "paid", "nested more than 50 deep"),
        ("(" * 4000, "nested more than 50 deep"),
        ("id = 1 or " * 600 + "id = 2", "more than 500 conditions"),
        ("x" * 9000, "at most 8,192"),
        ("id in (" + "1," * 1000 + "1)", "at most 1,000"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_with_the_place(sqlite_shop: Shop, text: str, sentence: str) -> None:
    outcome = await sqlite_shop.call("query_table", table="orders", filter=text)
    assert outcome.error in ("invalid_arguments", "not_found")
    assert sentence in outcome.text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"table": "order"}, "There is no table order in shop. Did you mean orders"),
        ({"table": "orders", "columns": ["totl"]}, "orders has no column totl. Did you mean total"),
        ({"table": "orders", "columns": []}, "columns is empty"),
        ({"table": "orders", "order_by": ["-totl"]}, "orders has no column totl. Did you mean total"),
        ({"table": "orders", "order_by": ["id", "-id"]}, "order_by names id twice"),
        ({"table": "orders", "limit": 0}, "`limit`"),
        ({"table": "orders", "limit": 1001}, "`limit`"),
        ({"table": "orders", "preview": True}, "query_table has no argument `preview`"),
        ({"table": "orders", "cursor": "nonsense"}, "This cursor does not belong to this query"),
        ({"table": "orders", "cursor": "☃"}, "This cursor does not belong to this query"),
        ({"table": "orders'; drop table orders; --"}, "There is no table"),
    ],
)
async def test_arguments_that_cannot_be_are_refused(shop: Shop, arguments: dict[str, Any], sentence: str) -> None:
    outcome = await shop.call("query_table", **arguments)
    assert outcome.result.is_error
    assert sentence in outcome.text


async def test_rows_are_sorted_up_and_down_with_nulls_where_the_database_puts_them(shop: Shop) -> None:
    up = [row[0] for row in await shop.query(table="orders", columns=["id"], order_by=["total"])]
    down = [row[0] for row in await shop.query(table="orders", columns=["id"], order_by=["-total"])]
    assert (up, down) == (([4, 1, 2, 3], [3, 2, 1, 4]) if shop.engine != "postgresql" else ([1, 2, 3, 4], [4, 3, 2, 1]))


@pytest.mark.parametrize(
    ("table", "order_by"),
    [
        ("orders", []),
        ("orders", ["total"]),
        ("orders", ["-total"]),
        ("orders", ["-placed_at", "status"]),
        ("orders", ["paid", "-due"]),
        ("customers", ["-country"]),
        ("customers", ["country", "-salary"]),
        ("prices", []),
        ("prices", ["-price"]),
        ("prices", ["-country"]),
        ("open_orders", ["id"]),
        ("lines", ["number"]),
    ],
)
async def test_pages_add_up_to_the_whole(shop: Shop, table: str, order_by: list[str]) -> None:
    whole = await shop.query(table=table, order_by=order_by)
    paged: list[list[Any]] = []
    cursor = ""
    while True:
        outcome = await shop.call("query_table", table=table, order_by=order_by, limit=1, cursor=cursor)
        paged += outcome.rows
        if not outcome.value["truncated"]:
            break
        cursor = outcome.value["next_cursor"]
        assert f"cursor {cursor})" in outcome.text
    assert paged == whole
    assert len(whole) > 1


async def test_pages_stay_right_while_rows_are_inserted(shop: Shop) -> None:
    first = (await shop.call("query_table", table="orders", columns=["id"], order_by=["-id"], limit=2)).value
    shop.execute("insert into orders (id, customer_id) values (50, 1);\n delete from orders where id = 3")
    second = await shop.query(table="orders", columns=["id"], order_by=["-id"], limit=2, cursor=first["next_cursor"])
    assert first["rows"] + second == [[4], [3], [2], [1]]


async def test_a_cursor_of_another_query_is_refused(shop: Shop) -> None:
    cursor = (await shop.call("query_table", table="orders", limit=1)).value["next_cursor"]
    others: list[dict[str, Any]] = [
        {"table": "customers"},
        {"table": "orders", "filter": "id > 0"},
        {"table": "orders", "order_by": ["total"]},
        {"table": "lines"},
    ]
    for other in others:
        assert (await shop.call("query_table", **other, cursor=cursor)).error == "invalid_arguments"
    for place in range(0, len(cursor), 7):
        broken = cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        assert (await shop.call("query_table", table="orders", cursor=broken)).error == "invalid_arguments"
    assert (await shop.query(table="orders", columns=["id"], cursor=cursor))[0] == [2]


async def test_an_answer_is_cut_at_its_budget_and_goes_on(shop: Shop) -> None:
    text = "x" * 20_000
    for number in range(200, 220):
        shop.execute("insert into customers (id, name) values (:id, :name)", id=number, name=text)
    first = await shop.call("query_table", table="customers", filter="id >= 200")
    assert first.value["truncated"] is True
    assert len(msgspec_size(first)) < 256 * 1024
    rest: list[list[Any]] = first.rows
    cursor = first.value["next_cursor"]
    while cursor:
        page = await shop.call("query_table", table="customers", filter="id >= 200", cursor=cursor)
        rest = rest + page.rows
        cursor = page.value["next_cursor"]
    assert [row[0] for row in rest] == list(range(200, 220))


def msgspec_size(outcome: Any) -> bytes:
    return json.dumps([outcome.text, outcome.value], ensure_ascii=False).encode()


async def test_a_table_that_is_new_is_found_at_once(shop: Shop) -> None:
    assert await shop.query(table="orders")
    shop.execute("create table extra (id integer primary key)")
    assert (await shop.call("describe_table", table="extra")).value["name"] == "extra"


async def test_a_column_that_is_new_is_found_at_once(shop: Shop) -> None:
    assert await shop.query(table="orders")
    shop.execute("alter table orders add column colour text default 'red'")
    assert await shop.query(table="orders", columns=["id", "colour"], filter="colour = 'red' and id = 1") == [
        [1, "red"]
    ]


async def test_a_table_that_is_gone_is_told_so(shop: Shop) -> None:
    assert await shop.query(table="lines")
    shop.execute('drop table "lines"')
    outcome = await shop.call("query_table", table="lines")
    assert outcome.error == "conflict"
    assert "not what it was a moment ago" in outcome.text
    assert (await shop.call("query_table", table="lines")).error == "not_found"


async def test_rows_are_named_by_ids_and_those_that_are_not_there_are_left_out(shop: Shop) -> None:
    assert await shop.query(table="orders", columns=["id"], ids=[3, 99, 1]) == [[1], [3]]
    assert await shop.query(table="orders", columns=["id"], ids=["2"], filter="status = 'paid'") == [[2]]
    assert await shop.query(table="prices", columns=["item"], ids=[["pen", "FR"], ["ink", "DE"]]) == [["ink"], ["pen"]]
    assert await shop.query(table="orders", ids=[]) == []
    assert "id takes a whole number" in (await shop.call("query_table", table="orders", ids=[[1, 2]])).text
    assert "Each of ids is a list" in (await shop.call("query_table", table="prices", ids=["pen"])).text
    assert "has no key" in (await shop.call("query_table", table="lines", ids=[1])).text


async def test_a_count_is_exact_or_an_estimate_and_says_which(shop: Shop) -> None:
    outcome = await shop.call("query_table", table="orders", filter="id > 1", limit=1, count="exact")
    assert (outcome.value["count"], outcome.value["estimated"]) == (3, False)
    assert "(1 row of 3, more follow" in outcome.text
    estimate = await shop.call("query_table", table="orders", count="estimated")
    assert estimate.value["estimated"] is (shop.engine != "sqlite")
    assert 0 < estimate.value["count"] < 10_000
    assert ("of about " in estimate.text) is (shop.engine != "sqlite")
    assert (await shop.call("query_table", table="lines", distinct=True, count="exact")).value["count"] == 2


async def test_distinct_rows_come_once_and_page_by_page(shop: Shop) -> None:
    assert await shop.query(table="lines", distinct=True) == [["one", 1], ["two", 2]]
    assert await shop.query(table="orders", columns=["status"], distinct=True, order_by=["-status"]) == [
        ["paid"], ["open"], ["lost"],
    ]  # fmt: skip
    first = await shop.call("query_table", table="orders", columns=["status"], distinct=True, limit=2)
    rest = await shop.call(
        "query_table", table="orders", columns=["status"], distinct=True, limit=2, cursor=first.value["next_cursor"]
    )
    assert [*first.rows, *rest.rows] == [["lost"], ["open"], ["paid"]]
    outcome = await shop.call("query_table", table="orders", columns=["status"], distinct=True, order_by=["id"])
    assert "add id to columns" in outcome.text


@pytest.mark.parametrize(
    ("order_by", "ids"),
    [
        ("total nulls first", [4, 1, 2, 3]),
        ("total nulls last", [1, 2, 3, 4]),
        ("-total nulls first", [4, 3, 2, 1]),
        ("total desc nulls last", [3, 2, 1, 4]),
    ],
)
async def test_nulls_stand_where_they_are_wanted_on_every_page(shop: Shop, order_by: str, ids: list[int]) -> None:
    found: list[int] = []
    cursor = ""
    for _ in ids:
        page = await shop.call(
            "query_table", table="orders", columns=["id"], order_by=[order_by], limit=1, cursor=cursor
        )
        found += [row[0] for row in page.rows]
        cursor = page.value["next_cursor"] or ""
    assert found == ids
    assert cursor == ""


async def test_the_engine_explains_a_query_to_those_who_may_see_all_of_its_tables(shop: Shop) -> None:
    outcome = await shop.call("query_table", table="orders", filter="status = 'open'", explain=True)
    assert outcome.value["columns"] == ["plan"]
    assert "orders" in outcome.text
    shop.grants = [Grant(("db.*",), ("read",), rows="id > 2")]
    assert (await shop.call("query_table", table="orders", explain=True)).error == "not_allowed"
    shop.grants = [Grant(("db.*",), ("read",), hidden=("note",))]
    assert (await shop.call("query_table", table="orders", columns=["id"], explain=True)).error == "not_allowed"


async def test_moments_are_reckoned_from_now(shop: Shop) -> None:
    shop.execute("update orders set placed_at = current_timestamp, due = current_date where id = 1")
    shop.execute("update orders set placed_at = '2001-01-01', due = '2001-01-01' where id <> 1")
    for text in (
        "placed_at > now() - interval '1 day'",
        "placed_at >= current_date - interval 2 days and placed_at < current_timestamp + interval '1 month 2 hours'",
        "due between current_date - interval '1' day and today() + interval '1 week'",
        "due > current_timestamp - interval '1 year'",
    ):
        assert await shop.query(table="orders", columns=["id"], filter=text) == [[1]]


async def test_a_plan_is_used_again_for_other_values_and_made_anew_when_the_table_changes(shop: Shop) -> None:
    plans = shop.source.handle.plans
    assert await shop.query(table="orders", columns=["id"], filter="id = 1") == [[1]]
    kept = len(plans)
    assert await shop.query(table="orders", columns=["id"], filter="id = 2") == [[2]]
    assert await shop.query(table="orders", columns=["id"], filter="id = 2.5") == []
    assert await shop.query(table="orders", columns=["id"], filter=f"id = {2**70}") == []
    outcome = await shop.call("query_table", table="orders", columns=["id"], filter="placed_at = 'x'")
    assert "placed_at is compared with a date and time" in outcome.text
    assert len(plans) == kept + 2  # numbers that no bigint holds have plans of their own
    everything = await shop.query(table="orders")
    shop.execute("alter table orders add column more integer")
    shop.source.handle.catalog.forget()
    assert [len(row) for row in await shop.query(table="orders")] == [len(row) + 1 for row in everything]


async def test_callers_with_other_grants_never_share_a_plan(shop: Shop) -> None:
    for user, ids in (("u_1", [1, 3]), ("u_2", [2]), ("u_1", [1, 3])):
        shop.principal = Principal(user, "client", "default")
        shop.grants = [Grant(("db.*",), ("read",), rows="owner = {user.id}")]
        assert await shop.query(table="customers", columns=["id"]) == [[number] for number in ids]
        assert await shop.query(table="customers", columns=["id"], filter="owner = {user.id}") == [[n] for n in ids]
    shop.grants = [Grant(("db.*",), ("read",))]
    for user, ids in (("u_2", [2]), ("u_3", [4])):
        shop.principal = Principal(user, "client", "default")
        assert await shop.query(table="customers", columns=["id"], filter="owner = {user.id}") == [[n] for n in ids]
