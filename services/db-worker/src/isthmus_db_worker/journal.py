"""What one transaction did: to which rows of which tables, as they were and as they are."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus_db_worker.keys import Key, with_keys
from isthmus_db_worker.statements import Row
from isthmus_db_worker.tables import Table
from isthmus_db_worker.views import View

SHOWN = 20
"""Rows of which a preview shows what becomes of them."""

Action = Literal["create", "update", "delete"]


@dataclass
class Entry:
    """What was done to rows of one table."""

    view: View
    action: Action
    count: int = 0
    keys: list[Key] = field(default_factory=list[Key])
    """As they are now; of what was deleted as they were. None where the table has no key."""
    made: set[str] = field(default_factory=set[str])
    """Columns whose values are the database's to choose, and others when it is done again."""
    marks: dict[Key, bytes] = field(default_factory=dict[Key, bytes])
    """The rows as they were: what stands for all of their values, by their keys; by a number where there is no key."""
    before: dict[Key, Row] = field(default_factory=dict[Key, Row])
    """The first of them, with all columns of the table."""
    moved: dict[Key, Key] = field(default_factory=dict[Key, Key])
    """The keys of rows as they were → as they are now."""
    after: list[Row | None] = field(default_factory=list["Row | None"])
    """The rows of `before`, or the first of those that are new, as they are now; None for one that is not found."""


@dataclass
class Journal:
    """What one run of a change did. A transaction that is run again begins a new one."""

    images: bool
    """Whether to look at the rows before and after."""
    entries: list[Entry] = field(default_factory=list[Entry])
    roots: list[Key | None] = field(default_factory=list[Key | None])
    """The keys of the records that were given, one for each; None for one that was not stored."""
    errors: dict[int, str] = field(default_factory=dict[int, str])
    """What is wrong with those that were not stored."""
    place: str = ""
    """The record that was being stored when the database refused."""
    cascades: dict[tuple[str, Action], int] = field(default_factory=dict[tuple[str, Action], int])
    """What the database changes by itself: table and action → rows."""
    returned: list[Row] = field(default_factory=list[Row])
    """The rows that the caller wants back."""

    def entry(self, view: View, action: Action) -> Entry:
        """A new entry."""
        entry = Entry(view, action)
        self.entries.append(entry)
        return entry

    @property
    def marks(self) -> list[tuple[str, Key, bytes]]:
        """All rows as they were, and how many others the database changes by itself."""
        rows = [(entry.view.table.key, key, mark) for entry in self.entries for key, mark in entry.marks.items()]
        return rows + [(table, (), f"{action} {count}".encode()) for (table, action), count in self.cascades.items()]

    def merge(self) -> None:
        """One entry for each table and action."""
        merged: dict[tuple[str, Action], Entry] = {}
        for entry in self.entries:
            first = merged.setdefault((entry.view.table.key, entry.action), entry)
            if first is not entry:
                first.count += entry.count
                first.keys += entry.keys
                first.marks = {**entry.marks, **first.marks}
                first.moved |= entry.moved
                first.made |= entry.made
                first.before = dict(list({**first.before, **entry.before, **first.before}.items())[:SHOWN])
        self.entries = list(merged.values())


def columns_of(table: Table, *, images: bool) -> list[sa.ColumnElement[Any]]:
    """What is read of a row before it is changed: its key, and for images all else and the version."""
    handle = [column.sql for column in table.handle]
    if not images:
        return handle or [sa.literal(1)]
    version = [] if table.version is None or table.version.name in table.columns else [table.version.sql]
    return [*handle, *(column.sql for column in table.columns.values()), *version]


def note_before(entry: Entry, rows: Iterable[Row]) -> None:
    """Keeps rows that `columns_of` was selected of, with images."""
    keyed, width = len(entry.view.table.handle), len(entry.view.table.columns)
    for row in rows:
        key, image = tuple(row[:keyed]) or (len(entry.marks),), tuple(row[keyed:])
        entry.marks.setdefault(key, hashlib.blake2b(repr(image).encode(), digest_size=8).digest())
        if len(entry.before) < SHOWN:
            entry.before.setdefault(key, image[:width])


def note_after(connection: Connection, entry: Entry) -> None:
    """Looks at the first of the rows again, or for the first time."""
    table = entry.view.table
    if entry.action == "delete" or not table.handle:
        return
    keys = entry.keys[:SHOWN] if entry.action == "create" else [entry.moved.get(key, key) for key in entry.before]
    columns = [column.sql for column in table.columns.values()]
    entry.after = rows_of(connection, table, keys, columns)


def rows_of(
    connection: Connection, table: Table, keys: Sequence[Key], columns: Sequence[sa.ColumnElement[Any]]
) -> list[Row | None]:
    """The columns of the rows with these keys, in their order; None for one that is not there."""
    handle = [column.sql for column in table.handle]
    found: dict[Key, Row] = {}
    for condition in with_keys(table.handle, keys):
        for row in connection.execute(sa.select(*handle, *columns).where(condition)):
            found[tuple(row[: len(handle)])] = tuple(row[len(handle) :])
    return [found.get(key) for key in keys]
