"""query_table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from isthmus.errors import InvalidArguments, TooLarge
from isthmus.tools import Call
from isthmus_db_worker.cursors import Position, position_after, seal, unseal
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained
from isthmus_db_worker.ordering import Order, after, order_of
from isthmus_db_worker.rows import BUDGET, FRAME, Rows, size
from isthmus_db_worker.runner import Row
from isthmus_db_worker.statements import Statement
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import MASK, JsonValue
from isthmus_db_worker.visibility import View, plan


class QueryTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rows of which table."""

    table: str
    """The table or view: `orders`, or `schema.orders` outside of the default schema."""
    columns: list[str] | None = None
    """The columns to read; left out: all."""
    filter: str = ""
    """Which rows to read, like the condition of a SQL WHERE: `status = 'open' and (total > 100 or name like 'A%') and
    paid_at is not null`. It may use = <> < <= > >=, in (1, 2), between 1 and 9, like, ilike, is null, and, or, not.
    Text and dates stand in single quotes, odd column names in double ones. Left out: all rows."""
    order_by: list[str] = []
    """The columns to sort by, with a minus in front for descending: `["-total", "name"]`."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """How many rows at most."""
    cursor: str = ""
    """`next_cursor` of the page before, to go on after it; all else but limit as before."""
    database: str | None = None
    """The database."""


async def query_table(call: Call[Database], arguments: QueryTable) -> Rows:
    """Reads rows of one table or view: chosen columns, filtered, sorted, page by page."""
    database = call.source.handle
    with explained(database, call.source.name):
        query = await plan(call, arguments.table, "read", lambda seen: _query(call, seen, arguments))
        page = _Page(query, arguments.limit)
        await database.runner.read(Statement(query.statement), page.take, call.left)
    if page.more and not page.rows:
        raise TooLarge("One row alone is larger than an answer may be; name fewer columns.")
    return Rows(
        columns=[column.name for column in query.columns],
        rows=page.rows,
        truncated=page.more,
        next_cursor=seal(query.shape, query.position_after(page)) if page.more else None,
    )


@dataclass(frozen=True)
class _Query:
    """A statement, and how its rows are read."""

    statement: sa.Select[Any]
    columns: list[Column]
    """What the caller sees, in order."""
    masked: frozenset[str]
    places: dict[str, int]
    """Where the statement has which column."""
    order: Order
    start: Position
    shape: Sequence[object]

    def present(self, row: Row) -> list[JsonValue]:
        """The row as the caller sees it."""
        return [
            MASK if column.name in self.masked else column.conversion.present(row[self.places[column.name]])
            for column in self.columns
        ]

    def position_after(self, page: "_Page") -> Position:
        """Where the next page begins."""
        if self.order.total:
            return position_after([page.last[self.places[key.column.name]] for key in self.order.keys])
        return Position((self.start.after if isinstance(self.start.after, int) else 0) + len(page.rows))


def _query(call: Call[Database], seen: View, arguments: QueryTable) -> _Query:
    columns = _choose(seen, arguments.columns)
    order = order_of(seen, arguments.order_by)
    shape = (call.source.name, seen.table.key, arguments.filter, arguments.order_by, call.granted.digest)
    start = unseal(shape, arguments.cursor, len(order.keys), total=order.total) if arguments.cursor else Position(0)
    fields = {column.name: column for column in columns if column.name not in seen.masked}
    fields |= {key.column.name: key.column for key in order.keys}

    statement = sa.select(*(column.sql for column in fields.values())).select_from(seen.table.sql)
    if not fields:
        statement = statement.add_columns(sa.literal(1))
    if seen.reach is not None:
        statement = statement.where(seen.reach)
    statement = statement.where(*seen.filter(arguments.filter))
    if isinstance(start.after, int):
        statement = statement.offset(start.after or None)
    else:
        nulls_sort_high = call.source.handle.dialect.nulls_sort_high
        statement = statement.where(after(order, start.values(), nulls_sort_high=nulls_sort_high))
    statement = statement.order_by(*(key.sql for key in order.keys)).limit(arguments.limit + 1)
    places = {name: place for place, name in enumerate(fields)}
    return _Query(statement, columns, seen.masked, places, order, start, shape)


def _choose(seen: View, names: list[str] | None) -> list[Column]:
    if names is None:
        return list(seen.columns.values())
    if not names:
        raise InvalidArguments("columns is empty; leave it out for all of them.")
    return [seen.column(name) for name in names]


class _Page:
    """The rows of one reply, taken as they come until the page is full."""

    def __init__(self, query: _Query, limit: int) -> None:
        self.rows: list[list[JsonValue]] = []
        self.last: Row = ()
        self.more = False
        self._query = query
        self._limit = limit
        self._room = BUDGET - FRAME

    def take(self, row: Row) -> bool:
        """Adds the row, or returns True when there is no place for it."""
        presented = self._query.present(row)
        self._room -= size(presented)
        self.more = len(self.rows) == self._limit or self._room < 0
        if not self.more:
            self.rows.append(presented)
            self.last = row
        return self.more
