"""What one caller sees of a database: the tables, columns and rows that the grants leave."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from isthmus.errors import NotAllowed, NotFound, near
from isthmus.grants import Access
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.filter_syntax import FilterError
from isthmus_db_worker.filters import Condition, Find, compile_filter, compile_rows
from isthmus_db_worker.tables import Column, Table, TableName

R = TypeVar("R")


@dataclass(frozen=True)
class View:
    """A table as one caller sees it for one action."""

    table: Table
    columns: dict[str, Column]
    """The columns that exist for the caller."""
    masked: frozenset[str]
    """Those of them whose values the caller may not know."""
    reach: Condition | None
    """The rows that the action may touch; None: all."""
    readable: bool
    """Whether the caller may read the table at all."""
    reading: Condition | None
    """The rows that the caller may read; None: all."""

    @property
    def row_key(self) -> tuple[str, ...]:
        """Columns that tell the rows apart, if the caller may know them all."""
        key = self.table.row_key
        comparable = all(self.table.columns[name].conversion.comparable for name in key)
        return key if comparable and self.opens(key) else ()

    def opens(self, names: Iterable[str]) -> bool:
        """Whether the caller sees the columns and their values."""
        return all(name in self.columns and name not in self.masked for name in names)

    def column(self, name: str) -> Column:
        """A column by the name that a caller gave it. Raises NotFound with the nearest ones."""
        if (found := _pick(self.columns, name)) is None:
            raise UnknownColumn(f"{self.table.key} has no column {name[:64]}.{near(name, self.columns)}")
        return found

    def known(self, name: str) -> Column:
        """The same, for a column whose values matter: NotAllowed when they are masked."""
        column = self.column(name)
        if column.name in self.masked:
            raise NotAllowed(f"{column.name} is masked: you may neither filter nor sort by it, nor write it.")
        return column

    def filter(self, text: str) -> list[Condition]:
        """The conditions that the caller's filter stands for: it finds no rows that the caller may not read."""
        if not text.strip():
            return []
        if not self.readable:
            raise NotAllowed(f"You may not read {self.table.key}, so name its records by ids.")
        condition = compile_filter(text, self.known)
        return [condition] if self.reading is None or self.reading is self.reach else [condition, self.reading]


async def visible_tables(call: Call[Database]) -> dict[str, TableName]:
    """The tables and views that the caller may read, by key."""
    return _readable(call, await call.source.handle.catalog.names())


async def look_at(call: Call[Database], name: TableName) -> View | None:
    """One of them as the caller sees it; None when that is not at all. Raises NotFound when it is gone."""
    access = call.granted.access("read", name.key)
    return await _view(call, name, "read", access) if access is not None else None


def may_read(call: Call[Database], key: str) -> bool:
    """Whether the caller may read the table of this key."""
    return call.granted.access("read", key) is not None


class UnknownColumn(NotFound):
    """There is no column of that name."""


async def plan(call: Call[Database], text: str, action: str, make: Callable[[View], R]) -> R:
    """What `make` returns for the table as the caller sees it.

    Raises NotFound when the table is not there or not for the caller. When `make` misses a column, the table is looked
    at once more.
    """
    name, access = await _find(call, text, action)
    try:
        return make(await _view(call, name, action, access))
    except UnknownColumn:
        return make(await _view(call, name, action, access, again=True))


async def _view(call: Call[Database], name: TableName, action: str, access: Access, *, again: bool = False) -> View:
    """For the caller a column is hidden or masked when it is so for the action or for reading: what may not be read
    must not show through what may be written."""
    table = await call.source.handle.catalog.table(name, again=again)
    if table is None:
        raise NotFound(f"There is no table {name.key} any more, or the database cannot describe it.")
    reading = call.granted.access("read", table.key)
    accesses = [access] if reading is None else [access, reading]
    columns = {
        name: column for name, column in table.columns.items() if not any(a.hides(table.key, name) for a in accesses)
    }
    masked = frozenset(name for name in columns if any(a.masks(table.key, name) for a in accesses))
    find = _any_column(table)
    reach = compile_rows(access.rows, find, call.principal)
    if action == "read" or reading is None:
        return View(table, columns, masked, reach, reading is not None, reach)
    return View(table, columns, masked, reach, readable=True, reading=compile_rows(reading.rows, find, call.principal))


def _any_column(table: Table) -> Find:
    """Finds columns for the row filters of grants, which may name what the caller cannot see."""

    def find(name: str) -> Column:
        if (found := _pick(table.columns, name)) is None:
            raise FilterError(f"{table.key} has no column {name}.")
        return found

    return find


async def _find(call: Call[Database], text: str, action: str) -> tuple[TableName, Access]:
    catalog = call.source.handle.catalog
    reachable: dict[str, TableName] = {}
    for again in (False, True):
        names = await catalog.names(again=again)
        reachable = {key: name for key, name in names.items() if call.granted.access(action, key) is not None}
        if (name := _pick_table(reachable, text)) is not None and (
            access := call.granted.access(action, name.key)
        ) is not None:
            return name, access
    readable = _readable(call, await catalog.names())
    if (name := _pick_table(readable, text)) is not None:
        raise NotAllowed(f"You may read {name.key}, but not {action} in it.")
    raise NotFound(f"There is no table {text[:128]} in {call.source.name}.{near(text, reachable)}")


def _readable(call: Call[Database], names: dict[str, TableName]) -> dict[str, TableName]:
    return {key: name for key, name in sorted(names.items()) if may_read(call, key)}


def _pick_table(names: dict[str, TableName], text: str) -> TableName | None:
    """The exact name, else the only one that differs in nothing but letter case or the default schema's name."""
    if text in names:
        return names[text]
    alike = [name for name in names.values() if text.lower() in (name.key.lower(), name.full.lower())]
    return alike[0] if len(alike) == 1 else None


def _pick(columns: dict[str, Column], text: str) -> Column | None:
    """The exact name, else the only one that differs in nothing but letter case."""
    if text in columns:
        return columns[text]
    alike = [column for name, column in columns.items() if name.lower() == text.lower()]
    return alike[0] if len(alike) == 1 else None
