"""What a caller sees of a value is what it may send and filter by, on every engine. `make fuzz` tries many more."""

from typing import Any

import pytest
from hypothesis import given

from databases import Shop
from round_trips import FEW_OR_MANY, MARIADB, POSTGRESQL, SQLITE, Kind, conditions, records, table

pytest_plugins = ["database_fixtures"]

TYPES = (
    "create type mood as enum ('glad', 'so, so', '\"');\n create domain score as integer check (value < 10);\n"
    "create domain document as jsonb;\n create domain moods as mood[]"
)


@pytest.fixture
def postgresql_kinds(postgresql_shop: Shop) -> Shop:
    postgresql_shop.execute(TYPES)
    postgresql_shop.execute(table(POSTGRESQL))
    return postgresql_shop


@pytest.fixture
def mariadb_kinds(mariadb_shop: Shop) -> Shop:
    mariadb_shop.execute(table(MARIADB))
    return mariadb_shop


@pytest.fixture
def sqlite_kinds(sqlite_shop: Shop) -> Shop:
    sqlite_shop.execute(table(SQLITE))
    return sqlite_shop


@FEW_OR_MANY
@given(sent=records(POSTGRESQL))
async def test_values_go_to_postgresql_come_back_and_are_found(postgresql_kinds: Shop, sent: list[Any]) -> None:
    await _go_and_come_back(postgresql_kinds, POSTGRESQL, sent)


@FEW_OR_MANY
@given(sent=records(MARIADB))
async def test_values_go_to_mariadb_come_back_and_are_found(mariadb_kinds: Shop, sent: list[Any]) -> None:
    await _go_and_come_back(mariadb_kinds, MARIADB, sent)


@FEW_OR_MANY
@given(sent=records(SQLITE))
async def test_values_go_to_sqlite_come_back_and_are_found(sqlite_kinds: Shop, sent: list[Any]) -> None:
    await _go_and_come_back(sqlite_kinds, SQLITE, sent)


async def _go_and_come_back(shop: Shop, kinds: list[Kind], sent: list[list[Any]]) -> None:
    shop.execute("delete from kinds")
    ids = list(range(len(sent)))
    records = [{"id": number, **{f"c{n}": value for n, value in enumerate(sent[number])}} for number in ids]
    created = await shop.call("create_records", table="kinds", records=records)
    assert created.value["ids"] == ids
    for values, (number, *row) in zip(sent, await shop.query(table="kinds"), strict=True):
        for kind, value, got in zip(kinds, values, row, strict=True):
            assert (kind.sql, got) == (kind.sql, value)
        wanted = conditions(kinds, values)
        found = await shop.query(table="kinds", columns=["id"], filter=" and ".join(wanted))
        if [number] not in found:
            pytest.fail(f"{await _misses(shop, number, wanted)} do not find {values}")


async def _misses(shop: Shop, number: int, wanted: list[str]) -> list[str]:
    """Those of the conditions that do not hold for the row."""
    rows = [(text, await shop.query(table="kinds", columns=["id"], filter=text)) for text in wanted]
    return [text for text, found in rows if [number] not in found]
