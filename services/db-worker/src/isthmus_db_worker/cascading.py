"""What the database changes by itself when rows are deleted: those that point at them go too, or point at nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus.errors import NotAllowed
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.filters import Condition
from isthmus_db_worker.journal import Action, Journal, rows_of
from isthmus_db_worker.keys import Key, with_keys
from isthmus_db_worker.tables import ForeignKey, Table
from isthmus_db_worker.visibility import view_for

FARTHEST = 16
"""Steps from the first table."""
MOST = 10_000
"""Rows of one table that are followed further."""


@dataclass(frozen=True)
class Cascade:
    """What a foreign key does to the rows that have it."""

    key: ForeignKey
    table: Table
    """The table that has it."""
    within: tuple[Condition, ...] | None
    """The rows of it that the caller may change that way; None: none of them."""

    @property
    def action(self) -> Action:
        return "delete" if self.key.on_delete == "CASCADE" else "update"

    @property
    def is_free(self) -> bool:
        """Whether the caller may do this to every row."""
        return self.within == ()


Cascades = Mapping[str, Sequence[Cascade]]
"""The key of a table → what deleting a row of it does."""


async def cascades_of(call: Call[Database], table: str) -> dict[str, list[Cascade]]:
    """All that deleting rows of the table may lead to."""
    catalog = call.source.handle.catalog
    names, references = await catalog.names(), await catalog.references()
    found: dict[str, list[Cascade]] = {}
    waiting = [table]
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found[key] = []
        for reference in dict.fromkeys(references):
            if reference.to_table != key or not reference.on_delete or (name := names.get(reference.table)) is None:
                continue
            if (other := await catalog.table(name)) is None:
                continue
            action = "delete" if reference.on_delete == "CASCADE" else "update"
            view = await view_for(call, name, action)
            found[key].append(Cascade(reference, other, None if view is None else tuple(view.within)))
            if action == "delete":
                waiting.append(reference.table)
    return found


def matter(cascades: Cascades) -> bool:
    """Whether a row may lead to one that the caller may not change."""
    return any(not cascade.is_free for some in cascades.values() for cascade in some)


def follow(connection: Connection, cascades: Cascades, table: Table, keys: Sequence[Key], journal: Journal) -> None:
    """Notes what deleting these rows will lead to. Raises NotAllowed for what the caller may not do itself."""
    seen: dict[str, set[Key]] = {table.key: set(keys)}
    waiting = [(table, list(keys), 0)]
    while waiting:
        table, keys, steps = waiting.pop()
        for cascade in cascades.get(table.key, ()) if keys and steps < FARTHEST else ():
            other, new = cascade.table, dict[Key, None]()
            known = seen.setdefault(other.key, set())
            count = 0
            for pointing in _pointing(connection, cascade, table, keys):
                total = _allowed(connection, cascade, pointing)
                if cascade.action == "delete" and other.handle and total:
                    query = sa.select(*(column.sql for column in other.handle)).where(pointing).limit(MOST)
                    rows = [tuple(row) for row in connection.execute(query)]
                    total -= sum(key in known for key in rows)
                    new.update(dict.fromkeys(key for key in rows if key not in known))
                count += total
            known.update(new)
            waiting.append((other, list(new), steps + 1))
            if count:
                place = other.key, cascade.action
                journal.cascades[place] = journal.cascades.get(place, 0) + count


def _pointing(connection: Connection, cascade: Cascade, table: Table, keys: Sequence[Key]) -> Iterator[Condition]:
    """The rows that point at these."""
    to_names = cascade.key.to_columns
    ends = list(keys)
    if to_names != tuple(column.name for column in table.handle):
        rows = rows_of(connection, table, keys, [table.columns[name].sql for name in to_names])
        ends = [tuple(row) for row in rows if row is not None]
    return with_keys([cascade.table.columns[name] for name in cascade.key.columns], ends)


def _allowed(connection: Connection, cascade: Cascade, pointing: Condition) -> int:
    """How many rows there are. Raises NotAllowed when one of them is not the caller's to change."""
    count = sa.select(sa.func.count()).select_from(cascade.table.sql).where(pointing)
    total = connection.execute(count).scalar_one()
    allowed = 0 if cascade.within is None else total
    if cascade.within and total:
        allowed = connection.execute(count.where(*cascade.within)).scalar_one()
    if allowed < total:
        raise NotAllowed(
            "The database would change records of other tables along with these, which you may not change; nothing was "
            "changed."
        )
    return total
