"""Every shape of a statement that reads, compiled for engines that no test runs."""

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, oracle

from databases import Shop
from isthmus.grants import Grant
from isthmus_db_worker.nesting import Lists
from isthmus_db_worker.querying import Query

pytest_plugins = ["database_fixtures"]

SHAPES: list[dict[str, Any]] = [
    {},
    {"columns": ["id", "customer.name"], "order_by": ["-customer.name nulls last", "total nulls first"]},
    {"filter": "status in ('open', 'paid') and not (total between 1 and 9 or note is null)"},
    {"filter": "note like 'a%' or note ilike 'B%' or note contains 'c'"},
    {"filter": "note starts with 'd' or not note ends with 'e'"},
    {"filter": "customer.country = 'DE' and customer.orders.total > 5 and placed_at > now() - interval '1 month'"},
    {"filter": "year(placed_at) = 2024 and month(placed_at) = '2024-01' and day_of_week(due) < 6"},
    {"columns": ["status"], "distinct": True, "order_by": ["-status"]},
    {"related": ["customer", {"path": "customer.orders", "filter": "total > 1", "order_by": ["-total"], "limit": 3}]},
    {"count": "exact"},
    {"columns": ["status"], "distinct": True, "count": "exact"},
]


def statements(query: Query) -> list[sa.Select[Any]]:
    found = [query.statement.select]
    if query.counted is not None:
        found.append(sa.select(sa.func.count()).select_from(query.counted.subquery()))

    def walk(lists: list[Lists]) -> None:
        for each in lists:
            found.extend(statement.select for statement, _ in each.statements.values())
            walk(each.lists)

    walk(query.lists)
    return found


@pytest.mark.parametrize("dialect", [mssql.dialect(), oracle.dialect()], ids=["mssql", "oracle"])
async def test_every_shape_compiles(sqlite_shop: Shop, dialect: sa.Dialect) -> None:
    sqlite_shop.grants = [
        Grant(("db.*",), ("read",), rows="id > 0 or id is null"),
        Grant(("db.*",), ("read",), ("lines",)),
    ]
    plans = sqlite_shop.source.handle.plans
    for shape in SHAPES:
        before = set(map(id, plans))
        assert not (await sqlite_shop.call("query_table", table="orders", **shape)).result.is_error
        (query,) = (plan for plan in plans if id(plan) not in before)
        assert isinstance(query, Query)
        for select in statements(query):
            text = str(select.compile(dialect=dialect))
            assert "orders" in text
            assert "LIMIT" not in text


@pytest.mark.parametrize("dialect", [mssql.dialect(), oracle.dialect()], ids=["mssql", "oracle"])
async def test_pages_of_rows_without_a_key_compile(sqlite_shop: Shop, dialect: sa.Dialect) -> None:
    made: list[sa.Select[Any]] = []
    read = type(sqlite_shop.source.handle.runner).read

    async def noted(self: Any, statement: Any, *rest: Any) -> None:
        made.append(statement.select)
        await read(self, statement, *rest)

    first = await sqlite_shop.call("query_table", table="lines", limit=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(sqlite_shop.source.handle.runner), "read", noted)
        await sqlite_shop.call("query_table", table="lines", limit=1, cursor=first.value["next_cursor"])
    (select,) = made
    assert {"mssql": "ROW_NUMBER()", "oracle": "OFFSET"}[dialect.name] in str(select.compile(dialect=dialect))
