"""query_table."""

from collections.abc import Callable
from typing import Annotated

import msgspec
import sqlalchemy as sa

from isthmus.errors import InvalidArguments, TooLarge
from isthmus.tools import Call
from isthmus_db_worker.cursors import Position, position_after, seal, unseal
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained
from isthmus_db_worker.ordering import after, order_of
from isthmus_db_worker.rows import BUDGET, FRAME, Rows, size
from isthmus_db_worker.runner import Row
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import MASK, JsonValue
from isthmus_db_worker.visibility import View, view


class QueryTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rows of which table."""

    table: str
    """A table or view: `orders`, or `schema.table` outside of the default schema."""
    columns: list[str] | None = None
    """The columns wanted; all of them if left out."""
    filter: str = ""
    """Which rows, in SQL-like words: `status = 'open' and (total > 100 or name like 'A%') and paid_at is not null`.
    Known are = <> < <= > >=, in (…), between … and …, like, ilike, is null, and, or, not. Text and dates stand in
    single quotes, odd column names in double ones."""
    order_by: list[str] = []
    """Columns to sort by, a minus in front for descending: `["-total", "name"]`."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """At most so many rows, 1 to 1000."""
    cursor: str = ""
    """`next_cursor` of the call before, to go on where it ended; with the same table, filter and order_by."""
    database: str | None = None
    """The database."""


async def query_table(call: Call[Database], arguments: QueryTable) -> Rows:
    """Rows of one table or view: some columns, filtered, sorted, page by page."""
    database = call.source.handle
    with explained(database, call.source.name):
        seen = await view(call, arguments.table)
        chosen = _choose(seen, arguments.columns)
        order = order_of(seen, arguments.order_by)
        shape = (call.source.name, seen.table.key, arguments.filter, arguments.order_by, call.granted.digest)
        start = unseal(shape, arguments.cursor, len(order.keys), total=order.total) if arguments.cursor else Position(0)
        fields = {column.name: column for column in chosen if column.name not in seen.masked}
        fields |= {key.column.name: key.column for key in order.keys}
        places = {name: place for place, name in enumerate(fields)}

        statement = sa.select(*(column.sql for column in fields.values())).select_from(seen.table.sql)
        statement = statement.where(*([] if seen.reach is None else [seen.reach]), *seen.filter(arguments.filter))
        statement = statement.order_by(*(key.sql for key in order.keys)).limit(arguments.limit + 1)
        if not fields:
            statement = statement.add_columns(sa.literal(1))
        if isinstance(start.after, int):
            statement = statement.offset(start.after or None)
        else:
            statement = statement.where(after(order, start.values(), database.dialect.nulls_sort_high))

        def present(row: Row) -> list[JsonValue]:
            return [
                MASK if column.name in seen.masked else column.conversion.present(row[places[column.name]])
                for column in chosen
            ]

        page = _Page(present, arguments.limit)
        await database.runner.read(statement, page.take)
    if page.more and not page.rows:
        raise TooLarge("One row alone is larger than an answer may be; name fewer columns.")
    following = None
    if page.more and order.total:
        following = position_after([page.last[places[key.column.name]] for key in order.keys])
    elif page.more:
        following = Position((start.after if isinstance(start.after, int) else 0) + len(page.rows))
    return Rows(
        columns=[column.name for column in chosen],
        rows=page.rows,
        truncated=page.more,
        next_cursor=None if following is None else seal(shape, following),
    )


def _choose(seen: View, names: list[str] | None) -> list[Column]:
    if names is None:
        return list(seen.columns.values())
    if not names:
        raise InvalidArguments("columns is empty; leave it out for all of them.")
    return [seen.column(name) for name in names]


class _Page:
    """The rows of one reply, taken as they come until the page is full."""

    def __init__(self, present: Callable[[Row], list[JsonValue]], limit: int) -> None:
        self.rows: list[list[JsonValue]] = []
        self.last: Row = ()
        self.more = False
        self._present = present
        self._limit = limit
        self._room = BUDGET - FRAME

    def take(self, row: Row) -> bool:
        """Adds the row, or returns True when there is no place for it."""
        presented = self._present(row)
        self._room -= size(presented)
        self.more = len(self.rows) == self._limit or self._room < 0
        if not self.more:
            self.rows.append(presented)
            self.last = row
        return self.more
