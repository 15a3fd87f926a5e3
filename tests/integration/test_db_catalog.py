"""What the worker knows of a database's tables: read one by one or all at once, kept, and read again."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SAWarning
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeEngine

from databases import Shop
from isthmus_db_worker.catalog import Catalog
from isthmus_db_worker.meanings import Meanings
from isthmus_db_worker.tables import Table

pytest_plugins = ["database_fixtures"]

ODD = {
    "sqlite": """
create table "odd, ""name"" too" (
  "a ""b" integer primary key, total numeric(10, 2) not null default 1.5, doubled as (total * 2),
  stored text generated always as ('x') stored, flag boolean, body json, "key, too" varchar(20), code text unique,
  made datetime default current_timestamp, untyped, weird "unsigned big int", big bigint(20), unique (total, flag)
);
create table pairs ("select" text, two text, primary key (two, "select")) without rowid;
create table points_back (one text, two text, foreign key (one, two) references PAIRS);
create view sees as select two, total + 1 as more from pairs, "odd, ""name"" too";
create virtual table found using fts5 (title)
""",
    "postgresql": """
create type mood as enum ('good', 'so-so');
create domain short as varchar(5) check (value <> 'x');
create table "odd, ""name"" too" (
  "a ""b" integer generated always as identity primary key, number serial, total numeric(10, 2) not null default 1.5,
  doubled numeric generated always as (total * 2) stored, feels mood, name short, body jsonb, tags text[],
  at timestamptz(3), span interval, address inet, code varchar(20) constraint "one of a kind" unique,
  unique (total, number)
);
create table pairs ("select" text, two text, primary key (two, "select"));
create table points_back (one text, two text, foreign key (one, two) references pairs);
create view sees as select two, 1 + 1 as more from pairs;
create materialized view kept as select two from pairs;
comment on column pairs.two is 'the ''second'''
""",
    "mariadb": """
create table "odd, ""name"" too" (
  "a ""b" integer unsigned auto_increment primary key, total decimal(10, 2) not null default 1.5,
  doubled decimal(12, 2) as (total * 2), feels enum ('good', 'so-so', 'it''s') not null default 'good',
  picks set ('a', 'it''s'), flag boolean, bits bit(1), more bit(9), body json, "odd json" json, long_text longtext,
  year_ year, at timestamp(3) null, made datetime default current_timestamp on update current_timestamp, span time(2),
  single float, wide double unsigned, code varchar(20) default 'it''s', id_ uuid, raw varbinary(16), blob_ blob,
  constraint "one of a kind" unique (code), unique (total, flag)
) comment 'odd';
create table pairs ("select" varchar(20), two varchar(20) comment 'the ''second''', primary key (two, "select"));
create table points_back (one varchar(20), two varchar(20), foreign key (one, two) references pairs (two, "select"));
create view sees as select two, 1 + 1 as more from pairs
""",
}
"""Tables with all that is unusual, in each engine."""


def facts(table: Table) -> object:
    """All that is known of a table, as something that can be compared."""
    columns = [
        (c.name, c.type, c.nullable, c.default, c.comment, c.generated, c.conversion.noun, repr(c.sql.type),
         c.sql.primary_key, c.sql.autoincrement, c.sql.server_default is not None)
        for c in table.columns.values()
    ]  # fmt: skip
    return table.name, columns, table.primary_key, table.unique_keys, table.constraints


def by_sqlalchemy(shop: Shop, name: str, *, is_view: bool) -> tuple[object, ...]:
    """The same table as SQLAlchemy's inspector describes it; in a view it takes all columns for nullable at times."""
    inspector = sa.inspect(sa.create_engine(shop.source.handle.url, poolclass=NullPool))

    def written(kind: TypeEngine[Any]) -> str:
        """Without what says how to sort, which nobody asks for, and how wide an integer is shown."""
        text = "unknown" if isinstance(kind, sa.types.NullType) else kind.compile(dialect=inspector.dialect)
        text = re.sub(r" (CHARACTER SET|COLLATE) \w+", "", text)
        return text if text == "TINYINT(1)" else re.sub(r"INT(EGER)?\(\d+\)", r"INT\1", text)

    columns = [
        (c["name"], written(c["type"]), c["nullable"] or is_view,
         "computed" in c or c.get("identity", {}).get("always", False))
        for c in inspector.get_columns(name)
    ]  # fmt: skip
    unique = {tuple(key["column_names"]) for key in inspector.get_unique_constraints(name)}
    return columns, inspector.get_pk_constraint(name)["constrained_columns"], unique


async def everything(shop: Shop) -> dict[str, Table]:
    catalog = shop.source.handle.catalog
    return await catalog.tables((await catalog.names(again=True)).values())


async def test_a_table_is_described_alike_alone_and_among_all_and_by_sqlalchemy(shop: Shop) -> None:
    shop.execute(ODD[shop.engine])
    names = await shop.source.handle.catalog.names()
    assert {'odd, "name" too', "pairs", "sees"} < set(names)
    found = await everything(shop)
    fresh = Catalog(shop.source.handle.runner, shop.source.handle.dialect, (), Meanings("shop", {}))
    for key, name in names.items():
        alone = await fresh.table(name)
        assert alone is not None
        assert facts(alone) == facts(found[key])
        text = "LONGTEXT" if shop.engine == "mariadb" else "JSON"
        columns = [
            (c.name, text if c.type == "JSON" else c.type, c.nullable or name.kind == "view", c.generated == "always")
            for c in alone.columns.values()
        ]
        with warnings.catch_warnings(category=SAWarning, action="ignore"):
            theirs = by_sqlalchemy(shop, key, is_view=name.kind == "view")
        assert (columns, list(alone.primary_key), set(alone.unique_keys)) == theirs


async def test_foreign_keys_of_all_tables_name_the_columns_at_both_ends(shop: Shop) -> None:
    shop.execute(ODD[shop.engine])
    keys = {k.table: k for k in await shop.source.handle.catalog.references()}
    assert (keys["points_back"].to_table, keys["points_back"].columns) == ("pairs", ("one", "two"))
    assert keys["points_back"].to_columns == ("two", "select")
    assert (keys["orders"].to_table, keys["orders"].to_columns) == ("customers", ("id",))


BROKEN: dict[str, Sequence[str]] = {
    "sqlite": (
        "create table gone (id integer)", "create view broken as select * from gone",
        "create view worse as select * from broken", "pragma writable_schema = on",
        "delete from sqlite_master where name = 'gone'",
    ),
    "mariadb": (
        "create table gone (id integer)", "create view broken as select * from gone",
        "create view worse as select * from broken", "drop table gone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["sqlite", "mariadb"])
async def test_a_view_of_what_is_gone_costs_only_itself(engine: str, request: pytest.FixtureRequest) -> None:
    shop: Shop = request.getfixturevalue(f"{engine}_shop")
    shop.execute(";\n".join(BROKEN[engine]))
    before = await everything(shop)
    assert {"customers", "lines", "open_orders", "orders", "prices"} <= set(before)
    for _ in range(2):
        assert (await shop.call("query_table", table="broken")).error in ("conflict", "not_found")
    after = await everything(shop)
    assert {key: after[key] is table for key, table in before.items()} == dict.fromkeys(before, True)


async def test_a_table_that_changed_is_seen_after_the_query_that_failed(shop: Shop) -> None:
    await everything(shop)
    assert len(await shop.query(table="prices", columns=["price"])) == 3
    shop.execute("alter table prices rename column price to amount")
    assert (await shop.call("query_table", table="prices")).error == "conflict"
    assert len(await shop.query(table="prices", columns=["amount"])) == 3
    assert len(await shop.query(table="prices")) == 3


async def test_what_is_refreshed_is_read_again_but_not_at_every_call(sqlite_shop: Shop) -> None:
    catalog = sqlite_shop.source.handle.catalog
    await everything(sqlite_shop)
    sqlite_shop.execute("alter table prices add column unit text;\n create table newest (id integer)")
    catalog.refresh()
    assert "unit" in (await everything(sqlite_shop))["prices"].columns
    known = await catalog.names()
    assert "newest" in known
    catalog.refresh()
    assert await catalog.names() is known


async def test_estimates_are_those_of_the_engine(shop: Shop) -> None:
    catalog = shop.source.handle.catalog
    assert shop.engine == "mariadb" or await catalog.estimates() == {}
    shop.execute("create index by_status on orders (status)")
    shop.execute({"mariadb": "analyze table orders"}.get(shop.engine, "analyze"))
    fresh = Catalog(shop.source.handle.runner, shop.source.handle.dialect, (), Meanings("shop", {}))
    assert (await fresh.estimates())["orders"] == 4
