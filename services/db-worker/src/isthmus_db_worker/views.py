"""A table as one caller sees it: what the grants leave of its columns and rows."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from isthmus.errors import NotAllowed, NotFound, near
from isthmus.grants import Access
from isthmus.messages import Principal
from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.filter_syntax import FilterError, Operand
from isthmus_db_worker.filters import Condition, Find, compile_rows
from isthmus_db_worker.tables import Column, Table
from isthmus_db_worker.values import JSON_NOUN, TEXT

_PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)


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
    dialect: Dialect

    @property
    def row_key(self) -> tuple[str, ...]:
        """Columns that tell the rows apart, if the caller may know them all."""
        key = self.table.row_key
        comparable = all(self.table.columns[name].conversion.comparable for name in key)
        return key if comparable and self.opens(key) else ()

    @property
    def within(self) -> list[Condition]:
        """The rows that the caller may touch here: none of those that it may not see."""
        reading = None if self.reading is self.reach else self.reading
        return [condition for condition in (self.reach, reading) if condition is not None]

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the table is kept from the caller."""
        return self.reach is None and self.is_open

    @property
    def is_open(self) -> bool:
        """Whether the caller may know every column of it."""
        return not self.masked and len(self.columns) == len(self.table.columns)

    def opens(self, names: Iterable[str]) -> bool:
        """Whether the caller sees the columns and their values."""
        return all(name in self.columns and name not in self.masked for name in names)

    def column(self, name: str) -> Column:
        """A column by the name that a caller gave it. Raises NotFound with the nearest ones."""
        if (found := pick(self.columns, name)) is None:
            if (version := self.table.version) is not None and version.name == name not in self.table.columns:
                return version
            raise UnknownColumn(f"{self.table.key} has no column {name[:64]}.{near(name, self.columns)}")
        return found

    def known(self, name: str) -> Column:
        """The same, for a column whose values matter: NotAllowed when they are masked."""
        column = self.column(name)
        if column.name in self.masked:
            raise NotAllowed(
                f"{column.name} is masked: you may neither filter, sort, group or aggregate by it, nor write it."
            )
        return column


class UnknownColumn(NotFound):
    """There is no column of that name."""


def view_of(table: Table, dialect: Dialect, principal: Principal, access: Access, reading: Access | None) -> View:
    """The table as somebody sees it who has this access for an action, and that one, or none, for reading.

    A column is hidden or masked when it is so for the action or for reading: what may not be read must not show through
    what may be written. Raises NotAllowed when no row filter fits the table.
    """
    accesses = [access] if reading is None else [access, reading]
    columns = {
        name: column for name, column in table.columns.items() if not any(a.hides(table.key, name) for a in accesses)
    }
    masked = frozenset(name for name in columns if any(a.masks(table.key, name) for a in accesses))
    find = own_columns(_any_column(table), dialect)
    reach = compile_rows(access.rows, find, dialect, principal)
    readable, reads = reading is not None, reach
    if reading is not None and reading.rows != access.rows:
        reads = compile_rows(reading.rows, find, dialect, principal)
    return View(table, columns, masked, reach, readable, reads, dialect)


def own_columns(column: Callable[[str], Column], dialect: Dialect) -> Find:
    """Finds the columns of one table, and what is in its JSON documents."""

    def find(operand: Operand, build: Callable[[Column], Condition]) -> Condition:
        name, *path = operand.path
        if operand.function:
            raise FilterError("Functions cannot be used here.")
        if not path:
            return build(column(name))
        if (inside := json_column(column(name), path, dialect)) is None:
            raise FilterError(f"{'.'.join(operand.path)[:64]}: only columns of the table itself can be used here.")
        return build(inside)

    return find


def json_column(document: Column, path: list[str], dialect: Dialect) -> Column | None:
    """What stands at a path in a JSON document, as a column of text; None: this is no document, or the engine has no
    such thing."""
    if document.conversion.noun != JSON_NOUN or (text := dialect.json_text(document.sql, path)) is None:
        return None
    return replace(
        document,
        name=f"{document.name}.{written(path)}",
        type="text in JSON",
        nullable=True,
        conversion=TEXT,
        sql=text,
        number=dialect.json_number(document.sql, path),
    )


def written(path: Iterable[str]) -> str:
    """A dotted name as callers write it: parts that are no plain words stand in quotes."""
    return ".".join(part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in path)


def _any_column(table: Table) -> Callable[[str], Column]:
    """Finds columns for the row filters of grants, which may name what the caller cannot see."""

    def find(name: str) -> Column:
        if (found := pick(table.columns, name)) is None:
            raise FilterError(f"{table.key} has no column {name}.")
        return found

    return find


def pick(columns: dict[str, Column], text: str) -> Column | None:
    """The exact name, else the only one that differs in nothing but letter case."""
    if text in columns:
        return columns[text]
    alike = [column for name, column in columns.items() if name.lower() == text.lower()]
    return alike[0] if len(alike) == 1 else None
