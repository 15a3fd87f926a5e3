"""Inserts records of one table."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus_db_worker.keys import Key
from isthmus_db_worker.records import NULL
from isthmus_db_worker.tables import Table


def insert_records(connection: Connection, table: Table, records: Sequence[Mapping[str, object]]) -> list[Key]:
    """The new primary keys, in the order of the records. A null in one means the same as nothing."""
    keys: list[Key] = []
    for record in records:
        given = {name: value for name, value in record.items() if name not in table.primary_key or value is not NULL}
        keys.append(tuple(connection.execute(sa.insert(table.sql).values(given)).inserted_primary_key or ()))
    return keys
