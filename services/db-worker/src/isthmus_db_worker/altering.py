"""Changes rows that are named by their keys, within a transaction, and sees that they stay the caller's."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus.errors import Conflict, NotAllowed
from isthmus_db_worker.cascading import Cascades, follow, matter
from isthmus_db_worker.journal import Journal
from isthmus_db_worker.keys import Key, with_keys
from isthmus_db_worker.records import NULL, Node, Record
from isthmus_db_worker.returning import Returning
from isthmus_db_worker.tables import Table
from isthmus_db_worker.targets import Targets, lock
from isthmus_db_worker.views import View


def change_all(connection: Connection, journal: Journal, view: View, targets: Targets, values: Record) -> list[Key]:
    """Gives all records that are named the same values."""
    entry, table = journal.entry(view, "update"), view.table
    keys = lock(connection, view, targets, journal, entry)
    entry.count = len(keys)
    _run_on(connection, table, sa.update(table.sql).values(values), targets, keys)
    if not table.handle:
        return []
    entry.keys = [after(table, key, values) for key in keys]
    entry.moved = dict(zip(keys, entry.keys, strict=True))
    check(connection, view, entry.keys)
    return entry.keys


def delete_all(
    connection: Connection,
    journal: Journal,
    view: View,
    targets: Targets,
    cascades: Cascades,
    returning: Returning | None,
) -> list[Key]:
    """Deletes all records that are named."""
    entry, table = journal.entry(view, "delete"), view.table
    keys = lock(connection, view, targets, journal, entry)
    entry.count = len(keys)
    if returning is not None:
        journal.returned += returning.read(connection, keys)
    if table.handle and (journal.images or matter(cascades)):
        follow(connection, cascades, table, keys, journal)
    _run_on(connection, table, sa.delete(table.sql).where(*view.within), targets, keys)
    entry.keys = keys if table.handle else []
    return entry.keys


def _run_on(
    connection: Connection, table: Table, statement: sa.Update | sa.Delete, targets: Targets, keys: Sequence[Key]
) -> None:
    """Runs it on the rows that were locked, and on no others."""
    if table.handle:
        for condition in with_keys(table.handle, keys):
            connection.execute(statement.where(condition))
        return
    met = sum(connection.execute(statement.where(condition)).rowcount for condition in targets.conditions)
    if met != len(keys):
        raise Conflict("Other records came to match meanwhile; nothing was changed. Try again.")


def expect(
    connection: Connection, journal: Journal, view: View, nodes: Sequence[Node], versions: Sequence[object]
) -> None:
    """Locks the records, which must have these versions."""
    keys = [node.key for node in nodes]
    targets = Targets(tuple(with_keys(view.table.handle, keys)), tuple(keys), tuple(versions))
    lock(connection, view, targets, Journal(images=False), journal.entry(view, "update"))


def change_each(connection: Connection, table: Table, keys: Sequence[Key], values: Sequence[Record]) -> None:
    """Gives the rows with these keys their values, each its own; those that set the same columns go together."""
    groups: dict[tuple[tuple[str, bool], ...], list[int]] = {}
    for n, record in enumerate(values):
        groups.setdefault(tuple((name, value is NULL) for name, value in record.items()), []).append(n)
    for shape, places in groups.items():
        if not shape:
            continue
        found = [column.sql == column.named(f"k{n}") for n, column in enumerate(table.handle)]
        stored = {name: NULL if null else table.columns[name].named(f"v{n}") for n, (name, null) in enumerate(shape)}
        bound = [
            {f"k{n}": part for n, part in enumerate(keys[place])}
            | {f"v{n}": values[place][name] for n, (name, null) in enumerate(shape) if not null}
            for place in places
        ]
        connection.execute(sa.update(table.sql).where(*found).values(stored), bound)


def after(table: Table, key: Key, values: Record) -> Key:
    """The row's key once the values are set."""
    return tuple(values.get(column.name, part) for column, part in zip(table.handle, key, strict=True))


def check(connection: Connection, view: View, keys: Sequence[Key]) -> None:
    """Every row must be in reach now, or nothing is kept: nobody writes what is not theirs to see."""
    if not view.within or not keys:
        return
    found = sum(
        connection.execute(sa.select(sa.func.count()).select_from(view.table.sql).where(c, *view.within)).scalar_one()
        for c in with_keys(view.table.handle, keys)
    )
    if found != len(set(keys)):
        raise NotAllowed("A record would be outside of the rows that you may write; nothing was changed.")
