"""A database in one compact text: its tables, a line each, with columns, keys and where they point."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from isthmus.errors import DeadlineExceeded, SourceUnavailable, ToolError
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.describing import shows
from isthmus_db_worker.failures import explained
from isthmus_db_worker.rows import line
from isthmus_db_worker.tables import Column, ForeignKey, TableName
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import look_at, visible_tables

BUDGET = 48 * 1024
"""Bytes of lines with columns: what a model can take in at once."""
NAMES_BUDGET = 8 * 1024
"""Bytes of names after that."""
LOOKING = 5.0
"""Seconds in which tables are looked at that are not known yet."""
COMMENT = 200
"""Characters of what the database says about a table."""

LEGEND = "one a line: columns with their types; * is in the primary key, ? may be null, → points at another table"


@dataclass
class Looking:
    """A look at one table after the other, which ends in time."""

    call: Call[Database]
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = time.monotonic() + min(LOOKING, self.call.seconds / 2)

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return time.monotonic() > self.end

    async def names(self) -> dict[str, TableName]:
        """The tables and views that the caller may read, by key."""
        with explained(self.call.source.handle, self.call.source.name):
            return await visible_tables(self.call)

    async def references(self) -> defaultdict[str, list[ForeignKey]] | None:
        """The foreign keys of each table; None where there are so many tables that reading them takes long."""
        catalog, found = self.call.source.handle.catalog, defaultdict[str, list[ForeignKey]](list)
        with explained(self.call.source.handle, self.call.source.name):
            try:
                async with asyncio.timeout((self.end - time.monotonic()) / 2):
                    references = await catalog.references()
            except TimeoutError:
                return None
        for key in references:
            found[key.table].append(key)
        return found

    async def at(self, name: TableName) -> View | None:
        """The table as the caller sees it; None where it cannot be described, and once the time is over."""
        if self.is_over:
            return None
        try:
            with explained(self.call.source.handle, self.call.source.name):
                return await look_at(self.call, name)
        except (SourceUnavailable, DeadlineExceeded):
            raise
        except ToolError:  # a view of what is gone, for one: the others are none the worse
            return None


async def outline(call: Call[Database]) -> str:
    """As many tables with their columns as fit, then the names of others, and how to go on."""
    looking = Looking(call)
    found = await looking.names()
    references = await looking.references()
    lines: list[str] = []
    names: list[str] = []
    unnamed, room, room_for_names = 0, BUDGET, NAMES_BUDGET
    for name in found.values():
        seen = await looking.at(name) if room > 0 else None
        written = "" if seen is None else _line(call, seen, references[name.key] if references else ())
        room -= len(written.encode()) + 1 if written else 0
        if written and room > 0:
            lines.append(written)
        elif (room_for_names := room_for_names - len(name.key.encode()) - 2) > 0:
            names.append(line([name.key]))
        else:
            unnamed += 1
    if not found:
        return f"{_title(call)}: there are no tables that you may read."
    parts = [f"{_title(call)}, tables and views ({len(found)}), {LEGEND}", *lines]
    if references is None:
        parts.append("Where columns point is left out, since there are so many tables; describe_table shows it.")
    if names or unnamed:
        more = f", and {unnamed} more that list_tables finds" if unnamed else ""
        parts.append(f"Without their columns, which describe_table shows: {', '.join(names)}{more}.")
    return "\n".join(parts)


def _title(call: Call[Database]) -> str:
    about = call.source.description
    return f"Database {call.source.name} ({about})" if about else f"Database {call.source.name}"


def _line(call: Call[Database], seen: View, references: Iterable[ForeignKey]) -> str:
    name = seen.table.name
    points: defaultdict[str, list[str]] = defaultdict(list)
    for key in references:
        if shows(call, seen, key):
            for column, to_column in zip(key.columns, key.to_columns, strict=False):
                points[column].append(f" → {key.to_table}.{to_column}")
    columns = [_column(seen, column) + "".join(points[column.name]) for column in seen.columns.values()]
    comment = f": {name.comment[:COMMENT]}" if name.comment else ""
    kind = "view " if name.kind == "view" else ""
    return line([f"{kind}{name.key} ({', '.join(columns)}){comment}"])


def _column(seen: View, column: Column) -> str:
    in_key = column.name in seen.table.primary_key
    mark = "*" if in_key else "?" if column.nullable and seen.table.name.kind == "table" else ""
    return f"{column.name}{mark} {column.type}{' masked' if column.name in seen.masked else ''}"
