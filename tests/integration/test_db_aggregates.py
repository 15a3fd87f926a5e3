"""aggregate_table: figures as exact as Python's decimals, grouped, filtered and sorted, and never of what is not the
caller's."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mssql, oracle

from databases import Shop
from isthmus.grants import Grant
from isthmus.messages import Principal
from isthmus_db_worker.aggregates import Function, Groups
from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.tables import Column

pytest_plugins = ["database_fixtures"]

EXACT = Context(prec=100)
ROUNDED = Context(prec=100, rounding=ROUND_HALF_UP)

Figures = Sequence[Decimal]


def figure(function: str, column: str = "", **more: Any) -> dict[str, Any]:
    return {"function": function, **({"column": column} if column else {}), **more}


async def aggregated(shop: Shop, table: str = "orders", **arguments: Any) -> list[list[Any]]:
    return (await shop.call("aggregate_table", table=table, **arguments)).rows


def average(values: Figures) -> Decimal | None:
    quotient = ROUNDED.divide(sum(values, Decimal(0)), Decimal(len(values) or 1))
    return quotient.quantize(Decimal("1e-16"), context=ROUNDED) if values else None


def percentile(values: Figures, fraction: str) -> Decimal | None:
    """By the definition: in proportion between the neighbours of the place fraction · (n - 1)."""
    if not values:
        return None
    ordered, place = sorted(values), Decimal(fraction) * (len(values) - 1)
    low, high = ordered[int(place)], ordered[min(int(place) + 1, len(values) - 1)]
    return EXACT.add(low, EXACT.multiply(EXACT.subtract(high, low), place - int(place)))


def exact(value: object) -> Decimal | None:
    """A figure of an answer, which must not have been a float."""
    assert not isinstance(value, float)
    return None if value is None else Decimal(str(value))


MONEY = st.decimals(min_value=-(10**7), max_value=10**7, places=4)
LONG = st.decimals(min_value=-(10**15), max_value=10**15, places=10)
WHOLE = st.integers(min_value=-(2**60), max_value=2**60)
ROW = st.tuples(st.none() | MONEY, st.none() | LONG, st.none() | WHOLE)
GROUPS = st.tuples(*(st.lists(ROW, min_size=size, max_size=size) for size in (0, 1, 2, 3, 4, 5, 6, 10)))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(GROUPS)
async def test_figures_are_those_of_decimal_arithmetic(shop: Shop, groups: tuple[list[tuple[Any, ...]], ...]) -> None:
    shop.execute("drop table if exists figures")
    shop.execute("create table figures (g integer, money numeric(12, 4), wide numeric(30, 10), whole bigint)")
    rows = [(g, *row) for g, members in enumerate(groups) for row in members]
    if rows:
        written = ", ".join(f"({', '.join('null' if v is None else str(v) for v in row)})" for row in rows)
        shop.execute(f"insert into figures values {written}")  # noqa: S608  (numbers)

    def stored(value: Any) -> Decimal:
        """SQLite has floats; which it has, is exact again."""
        lossy = shop.engine == "sqlite" and isinstance(value, Decimal)
        return Decimal(repr(float(value)) if lossy else value)

    names = ("money", "wide", "whole")
    functions = ("sum", "avg", "min", "max", "median", "count")
    asked = [figure(function, name) for name in names for function in functions]
    asked += [figure("percentile", name, fraction=fraction) for name in names for fraction in (0.9, 0.125)]
    answered = await aggregated(shop, "figures", group_by=["g"], aggregates=asked)

    expected: list[list[Any]] = []
    for g, members in enumerate(groups):
        values = [[stored(row[n]) for row in members if row[n] is not None] for n in range(3)]
        of_group: list[Any] = [g]
        for column in values:
            total = sum(column, Decimal(0)) if column else None
            low, high = min(column, default=None), max(column, default=None)
            of_group += [total, average(column), low, high, percentile(column, "0.5"), len(column)]
        of_group += [percentile(column, fraction) for column in values for fraction in ("0.9", "0.125")]
        if members:
            expected.append(of_group)
    assert [[row[0], *map(exact, row[1:])] for row in answered] == expected


async def test_rows_are_grouped_by_columns_related_columns_and_parts_of_dates(shop: Shop) -> None:
    outcome = await shop.call(
        "aggregate_table",
        table="orders",
        group_by=["customer.country", "month(placed_at)"],
        aggregates=[
            figure("sum", "total", alias="revenue"),
            figure("count"),
            figure("count_distinct", "status"),
            figure("count", alias="open", filter="status = 'open'"),
            figure("max", "placed_at"),
            figure("percentile", "due", fraction=0.5),
        ],
        order_by=["-revenue nulls last"],
    )
    assert outcome.value["columns"] == [
        "customer.country", "month(placed_at)", "revenue", "count", "count_distinct_status", "open", "max_placed_at",
        "p50_due",
    ]  # fmt: skip
    blank = " " if shop.engine == "sqlite" else "T"
    assert [[exact(row[2]), *row[:2], *row[3:]] for row in outcome.rows] == [
        [Decimal("30.50"), "DE", "2024-01", 2, 2, 1, f"2024-01-02{blank}11:30:00", "2024-02-01"],
        [Decimal(30), "FR", "2024-01", 1, 1, 1, f"2024-01-03{blank}12:00:00", None],
        [None, "DE", None, 1, 1, 0, None, "2024-01-15"],
    ]


async def test_without_groups_there_is_one_row_even_of_nothing(shop: Shop) -> None:
    assert await aggregated(shop) == [[4]]
    everything = [figure("count"), figure("sum", "total"), figure("median", "total"), figure("avg", "id")]
    assert await aggregated(shop, aggregates=everything, filter="id > 100") == [[0, None, None, None]]
    assert await aggregated(shop, group_by=["status"], filter="id > 100") == []


async def test_having_and_order_speak_of_exact_figures(shop: Shop) -> None:
    shop.execute(
        "create table dimes (g integer, x numeric(10, 2));\n"
        "insert into dimes values (1, 0.1), (1, 0.2), (2, 0.3), (3, 9), (4, 10), (5, null)"
    )

    async def groups(**arguments: Any) -> list[int]:
        rows = await aggregated(shop, "dimes", group_by=["g"], aggregates=[figure("sum", "x")], **arguments)
        return [row[0] for row in rows]

    assert await groups(having="sum_x = 0.3") == [1, 2]
    assert await groups(having="sum(x) in (0.3, 9.0)") == [1, 2, 3]
    assert await groups(having="sum_x between 0.3 and 9 and not g = 2") == [1, 3]
    assert await groups(having="sum_x is null or sum_x > 9") == [4, 5]
    assert await groups(order_by=["-sum_x nulls last"]) == [4, 3, 1, 2, 5]
    assert await groups(order_by=["sum(x) desc nulls first", "-g"]) == [5, 4, 3, 2, 1]


async def test_pages_of_groups_follow_one_another(shop: Shop) -> None:
    arguments: dict[str, Any] = {
        "group_by": ["customer.name", "status"],
        "aggregates": [figure("sum", "total"), figure("avg", "total")],
        "order_by": ["-avg_total nulls last"],
        "limit": 1,
    }
    whole = await aggregated(shop, "orders", **{**arguments, "limit": 100})
    pages: list[list[Any]] = []
    cursor = ""
    for _ in range(len(whole)):
        outcome = await shop.call("aggregate_table", table="orders", **arguments, cursor=cursor)
        pages += outcome.rows
        cursor = outcome.value["next_cursor"]
    assert pages == whole
    assert len(whole) == 4
    assert cursor is None
    other = await shop.call("aggregate_table", table="orders", group_by=["status"], cursor=cursor or "x")
    assert other.error == "invalid_arguments"


async def test_questions_of_one_shape_have_their_own_values(shop: Shop) -> None:
    async def ask(after: str, status: str, least: int) -> list[list[Any]]:
        return await aggregated(
            shop,
            group_by=["customer_id"],
            aggregates=[figure("count", alias="n", filter=f"status = '{status}'"), figure("count")],
            filter=f"id > {after}",
            having=f"count >= {least}",
        )

    assert await ask("0", "open", 1) == [[1, 1, 2], [2, 1, 1], [4, 0, 1]]
    assert await ask("0", "lost", 2) == [[1, 0, 2]]
    assert await ask("1", "paid", 1) == [[1, 1, 1], [2, 0, 1], [4, 0, 1]]
    count = [figure("count", filter="owner = {user.id} and id < 3")]
    assert await aggregated(shop, "customers", aggregates=count) == [[1]]
    shop.principal = Principal("u_2", "client", "default")
    assert await aggregated(shop, "customers", aggregates=count, having="count > 0") == [[1]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"aggregates": [figure("sum", "status")]}, "sum takes numbers; status holds "),
        ({"aggregates": [figure("avg", "paid")]}, "avg takes numbers; paid holds "),
        ({"aggregates": [figure("max", "paid")]}, "of which there is no max"),
        ({"aggregates": [figure("sum")]}, "sum needs a column"),
        ({"aggregates": [figure("median", "total", fraction=0.2)]}, "percentile, and nothing else, has a fraction"),
        ({"aggregates": [figure("percentile", "total")]}, "percentile, and nothing else, has a fraction"),
        ({"aggregates": [figure("percentile", "total", fraction=0.12345678)]}, "at most 6 digits"),
        ({"aggregates": [figure("count", "id", alias="1; drop")]}, "cannot be an alias"),
        ({"aggregates": [figure("count"), figure("count")]}, "Two columns of the answer are called count"),
        ({"aggregates": [figure("count", "totl")]}, "orders has no column totl. Did you mean total"),
        ({"group_by": ["status"], "having": "total > 3"}, "total is neither an alias nor in group_by"),
        ({"group_by": ["status"], "order_by": ["total"]}, "total is neither an alias nor in group_by"),
        ({"group_by": ["status"], "order_by": ["count", "-count"]}, "order_by names count twice"),
        ({"group_by": ["month(paid)"]}, "month(…) takes a date or a moment; paid holds BOOLEAN"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_sentence(
    sqlite_shop: Shop, arguments: dict[str, Any], sentence: str
) -> None:
    outcome = await sqlite_shop.call("aggregate_table", table="orders", **arguments)
    assert outcome.error in ("invalid_arguments", "not_found")
    assert sentence in outcome.text


async def test_a_path_to_several_rows_is_refused_because_it_would_multiply_them(shop: Shop) -> None:
    several: list[dict[str, Any]] = [
        {"group_by": ["orders.status"]}, {"aggregates": [figure("sum", "orders.total")]},
    ]  # fmt: skip
    for arguments in several:
        outcome = await shop.call("aggregate_table", table="customers", **arguments)
        assert outcome.error == "invalid_arguments"
        assert "orders leads to several rows of orders" in outcome.text
        assert "aggregate orders itself" in outcome.text
    assert await aggregated(shop, "customers", filter="orders.status = 'open'") == [[2]]


async def test_a_filter_leaves_joined_rows_as_many_as_they_are(shop: Shop) -> None:
    several = figure("count", filter="customer.orders.status = 'open'", alias="n")
    assert await aggregated(shop, aggregates=[several, figure("sum", "id")]) == [[3, 10]]


async def test_what_is_masked_or_hidden_is_not_aggregated(shop: Shop) -> None:
    shop.grants = [Grant(("db.*",), ("read",), masked=("salary",), hidden=("email",))]
    masked: list[dict[str, Any]] = [
        {"aggregates": [figure("count", "salary")]},
        {"aggregates": [figure("count", filter="salary > 0")]},
        {"group_by": ["salary"]},
    ]
    for arguments in masked:
        outcome = await shop.call("aggregate_table", table="customers", **arguments)
        assert "masked" in outcome.text
        assert outcome.error in ("not_allowed", "invalid_arguments")
    related = await shop.call("aggregate_table", table="orders", aggregates=[figure("sum", "customer.salary")])
    assert "masked" in related.text
    hidden = await shop.call("aggregate_table", table="customers", aggregates=[figure("count", "email")])
    assert hidden.error == "not_found"
    assert await aggregated(shop, "customers") == [[4]]


async def test_row_filters_hold_for_the_table_and_for_joined_ones(shop: Shop) -> None:
    shop.grants = [
        Grant(("db.*",), ("read",), ("customers",), rows="owner = {user.id}"),
        Grant(("db.*",), ("read",), ("orders",), rows="status <> 'lost'"),
    ]
    assert await aggregated(shop, "customers", aggregates=[figure("count"), figure("max", "id")]) == [[2, 3]]
    by_name = await aggregated(shop, group_by=["customer.name"], aggregates=[figure("count")], order_by=["-count"])
    assert by_name == [["Ada", 2], [None, 1]]


async def test_numbers_in_json_are_aggregated_and_grouped_by(shop: Shop) -> None:
    kind = {"sqlite": "json", "postgresql": "jsonb", "mariadb": "json"}[shop.engine]
    shop.execute(
        f"create table papers (id integer primary key, data {kind});\n"
        """insert into papers values (1, '{"kind": "a", "n": 0.1}'), (2, '{"kind": "a", "n": 0.2}'), """
        """(3, '{"kind": "b", "n": "x"}')"""
    )
    rows = await aggregated(shop, "papers", group_by=["data.kind"], aggregates=[figure("sum", "data.n")])
    assert [[row[0], exact(row[1])] for row in rows] == [["a", Decimal("0.3")], ["b", None]]
    refused = await shop.call("aggregate_table", table="papers", aggregates=[figure("max", "data.n")])
    assert "is in JSON" in refused.text


async def test_figures_of_floats_are_floats(shop: Shop) -> None:
    kind = {"sqlite": "double", "postgresql": "double precision", "mariadb": "double"}[shop.engine]
    shop.execute(
        f"create table floats (x {kind}, y float, z {kind});\n"
        "insert into floats values (0.5, 0.1, 0.1), (2, null, null), (3.5, 0.1, 0.1)"
    )
    asked = [figure(name, "x") for name in ("sum", "avg", "median", "max")]
    asked += [figure("percentile", "x", fraction=0.25), figure("max", "y"), figure("median", "z")]
    assert await aggregated(shop, "floats", aggregates=asked) == [[6, 2, 2, 3.5, 1.25, 0.1, 0.1]]
    assert await aggregated(shop, "floats", aggregates=asked[:1], having="sum_x > 5.5") == [[6]]


async def test_sqlite_never_gives_a_wrong_figure(sqlite_shop: Shop) -> None:
    sqlite_shop.execute(
        "create table odd (n integer, x numeric);\n"
        "insert into odd values (9223372036854775807, 1e300), (1, -1e-300), (0, 'ten'), (0, 9e18)"
    )
    for function, column in (("sum", "n"), ("sum", "x"), ("avg", "x"), ("median", "x")):
        outcome = await sqlite_shop.call("aggregate_table", table="odd", aggregates=[figure(function, column)])
        assert outcome.error == "invalid_arguments", outcome.text
        assert "larger than the database can hold" in outcome.text
    ((total,),) = await aggregated(sqlite_shop, "odd", aggregates=[figure("sum", "x")], filter="not n = 0")
    assert Decimal(total) == Context(prec=700).subtract(Decimal("1e300"), Decimal("1e-300"))


@pytest.mark.parametrize("dialect", [mssql.dialect(), oracle.dialect()], ids=["mssql", "oracle"])
def test_other_dialects_can_write_every_aggregate(dialect: sa.Dialect) -> None:
    table = sa.table(
        "t", sa.column("kind", sa.String()), sa.column("n", sa.Integer()), sa.column("x", sa.Numeric(9, 2))
    )
    known = Dialect()

    def column(name: str) -> Column:
        sql = table.c[name]
        conversion = known.conversion(sql.type)
        return Column(
            name, str(sql.type), nullable=True, default=None, comment="", generated="", conversion=conversion, sql=sql
        )

    groups = Groups(known)
    columns = [groups.key(column("kind")), groups.rows("rows", table.c.n > 5)]
    for name in ("n", "x"):
        columns += [
            groups.aggregate(function, column(name), f"{function}_{name}", None, Decimal("0.75"))
            for function in get_args(Function)
        ]
    columns.append(groups.aggregate("median", column("kind"), "middle", None, Decimal("0.5")))
    grouped = groups.grouped(table, [table.c.n < 9])
    statement = sa.select(*(each.sql for each in columns)).select_from(grouped)
    written = str(statement.order_by(columns[1].sql, columns[0].sql).limit(3).compile(dialect=dialect))
    assert written.count("GROUP BY x0") == 1
    assert "row_number() OVER (PARTITION BY t.kind ORDER BY CASE" in written
    assert ("sum(CAST(x4 AS NUMERIC(38, 0)))" if dialect.name == "mssql" else "sum(x4)") in written
    assert "round(CAST(sum(x5) AS NUMERIC(38, 16)) / count(x5), 16)" in written


async def test_whole_numbers_grow_beyond_64_bits(server_shop: Shop) -> None:
    kind = "numeric(20)" if server_shop.engine == "postgresql" else "bigint unsigned"
    server_shop.execute(f"create table large (n {kind})")
    server_shop.execute("insert into large values (18446744073709551615), (18446744073709551613)")
    asked = [figure(name, "n") for name in ("sum", "avg", "median")]
    assert await aggregated(server_shop, "large", aggregates=asked) == [
        ["36893488147419103228", "18446744073709551614", "18446744073709551614"]
    ]


async def test_a_metric_is_a_function(sqlite_shop: Shop) -> None:
    metric = {"function": "sum", "column": "total", "filter": "status = 'open'"}
    semantics = {"orders": {"metrics": {"open_total": metric, "salaries": {"function": "count", "column": "note"}}}}
    shop = Shop("sqlite", sqlite_shop.url, settings={"semantics": semantics})
    try:
        asked = [{"function": "open_total"}, figure("count")]
        rows = await aggregated(shop, group_by=["customer_id"], aggregates=asked, having="open_total > 10")
        assert rows == [[2, "30", 1]]
        assert await aggregated(shop, aggregates=[{"function": "open_total", "alias": "x"}], order_by=["x"]) == [["40"]]
        for wrong, sentence in (
            (figure("open_totl"), "is no function, nor a metric of orders. Did you mean open_total"),
            (figure("open_total", filter="id = 1"), "is a metric, sum(total) where status = 'open'"),
        ):
            refused = await shop.call("aggregate_table", table="orders", aggregates=[wrong])
            assert sentence in refused.text
            assert refused.error == "invalid_arguments"
        shop.grants = [Grant(("db.*",), ("read",), masked=("status",))]
        masked = await shop.call("aggregate_table", table="orders", aggregates=[{"function": "open_total"}])
        assert "nor a metric of orders" in masked.text
    finally:
        shop.close()
