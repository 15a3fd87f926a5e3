"""Inserts records of one table, many with one statement."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus_db_worker.keys import Key
from isthmus_db_worker.records import NULL
from isthmus_db_worker.tables import Table

Shape = tuple[tuple[str, bool], ...]
"""The columns that a record gives, and which of them are null."""


def insert_records(connection: Connection, table: Table, records: Sequence[Mapping[str, object]]) -> list[Key]:
    """The new primary keys, in the order of the records. A null in one means the same as nothing.

    Records that give the same columns go together.
    """
    groups: dict[Shape, list[int]] = {}
    for place, record in enumerate(records):
        shape = tuple((n, v is NULL) for n, v in record.items() if v is not NULL or n not in table.primary_key)
        groups.setdefault(shape, []).append(place)
    keys: dict[int, Key] = {}
    for shape, places in groups.items():
        found = _insert(connection, table, shape, [records[place] for place in places])
        keys.update(zip(places, found, strict=True))
    return [keys[place] for place in range(len(records))]


def _insert(
    connection: Connection, table: Table, shape: Shape, records: Sequence[Mapping[str, object]]
) -> Sequence[Key]:
    given = [name for name, null in shape if not null]
    fixed = {name: NULL for name, null in shape if null}
    bound = [{name: record[name] for name in given} for record in records]
    statement = sa.insert(table.sql).values(fixed) if fixed else sa.insert(table.sql)
    if len(records) > 1 and all(name in given for name in table.primary_key):
        connection.execute(statement, bound)
        return [tuple(record[name] for name in table.primary_key) for record in records]
    if len(records) == 1 or not _in_order(connection, table):
        results = [connection.execute(statement.values(each)) for each in bound]
        return [tuple(result.inserted_primary_key or ()) for result in results]
    key = [table.sql.c[name] for name in table.primary_key]
    returned = connection.execute(statement.returning(*key, sort_by_parameter_order=True), bound)
    return [tuple(row) for row in returned]


def _in_order(connection: Connection, table: Table) -> bool:
    """Whether one statement can give the new keys back in the order of its records: where they are numbers that the
    engine counts up."""
    if not connection.dialect.insert_executemany_returning_sort_by_parameter_order:
        return False
    return table.sql.autoincrement_column is not None and len(table.primary_key) == 1
