"""What a change gives back of the rows that it wrote."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus.errors import InvalidArguments, NotAllowed
from isthmus_db_worker.database import Database
from isthmus_db_worker.joining import Joins
from isthmus_db_worker.keys import Key, with_keys
from isthmus_db_worker.paging import Page
from isthmus_db_worker.selecting import Selection, presenter
from isthmus_db_worker.statements import Row
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.visibility import Sight


@dataclass(frozen=True)
class Returning:
    """The columns that the caller wants back."""

    columns: list[str]
    select: sa.Select[Any]
    """The key of the row first, then what is shown."""
    handle: list[Column]
    present: Callable[[Row], list[JsonValue]]

    def read(self, connection: Connection, keys: Sequence[Key]) -> list[Row]:
        """Those of the rows that the caller may read, in the order of their keys."""
        found: dict[Key, Row] = {}
        width = len(self.handle)
        for condition in with_keys(self.handle, keys):
            for row in connection.execute(self.select.where(condition)):
                found[tuple(row[:width])] = tuple(row[width:])
        return [found[key] for key in keys if key in found]

    def page(self, database: Database, rows: Sequence[Row]) -> list[list[JsonValue]]:
        """As many as an answer takes."""
        page = Page(self.present, len(rows), database.limits.bytes)
        for row in rows:
            if page.take(row):
                break
        page.weigh()
        return page.rows


def plan_returning(sight: Sight, names: Sequence[str] | None) -> Returning | None:
    """What the names stand for, as query_table has it. Raises a ToolError, and Unseen."""
    if not names:
        return None
    if not sight.root.readable:
        raise NotAllowed(f"You may not read {sight.root.table.key}, so nothing of it can be returned.")
    view = sight.view(sight.root.table.key)
    if not view.table.handle:
        raise InvalidArguments(f"{view.table.key} has no key to find its rows by; leave returning out.")
    joins, selection = Joins(sight, view), Selection()
    outputs = selection.outputs(joins, names)
    handle = [column.sql for column in view.table.handle]
    select = sa.select(*handle, *selection.columns).select_from(joins.source).where(*joins.reach)
    return Returning([output.name for output in outputs], select, view.table.handle, presenter(outputs))
