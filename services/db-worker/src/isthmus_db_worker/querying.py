"""query_table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus.errors import InvalidArguments, NotAllowed
from isthmus.tools import Call
from isthmus_db_worker.cursors import Position, position_after, seal, unseal
from isthmus_db_worker.database import Database
from isthmus_db_worker.dates import FUNCTIONS
from isthmus_db_worker.failures import explained
from isthmus_db_worker.filter_syntax import Filter, FilterError, read
from isthmus_db_worker.filters import Condition, attributes_of, compile_filter
from isthmus_db_worker.joining import Joins
from isthmus_db_worker.keys import Key, read_keys, with_key_of
from isthmus_db_worker.nesting import Lists, Reading, Related, plan_lists
from isthmus_db_worker.ordering import Order, after, order_of
from isthmus_db_worker.paging import Page
from isthmus_db_worker.parameters import Inputs, Parameters
from isthmus_db_worker.rows import Rows
from isthmus_db_worker.selecting import Output, Selection, presenter
from isthmus_db_worker.statements import Row, Statement
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.visibility import Seen, Sight, find_table, plan_on, who

MOST = 1000
"""Rows, or ids."""


class QueryTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rows of which table."""

    table: str
    """The table or view, such as `orders` or `crm.orders`."""
    columns: tuple[str, ...] | None = None
    """Left out: all. `customer.name` is of a related row, `data.city` in JSON, `month(placed_at)` part of a date."""
    filter: str = ""
    """Which rows, like a SQL WHERE: `status = 'open' and (total > 100 or customer.country in ('DE', 'FR')) and
    placed_at > current_date - interval '7 days'`. Also: not, between, is null, like, ilike, contains, starts with,
    ends with, matches (full text). Quote text and dates in '', odd names in ""; {user.id} is the user."""
    related: tuple[str | Related, ...] = ()
    """Rows of related tables to show with each row: `["customer", {"path": "order_lines", "columns": ["quantity",
    "product.name"], "filter": "quantity > 1", "order_by": ["-quantity"], "limit": 5}]`."""
    order_by: tuple[str, ...] = ()
    """The columns to sort by, `-` for descending: `["-total nulls last", "name"]`."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 100
    """Rows at most."""
    cursor: str = ""
    """`next_cursor` of the page before; all else but limit as before."""
    ids: Annotated[list[JsonValue], msgspec.Meta(max_length=MOST)] | None = None
    """Primary keys: `[7, 8]`, or of several columns `[["pen", "DE"]]`."""
    distinct: bool = False
    """Equal rows come once."""
    count: Literal["", "exact", "estimated"] = ""
    """Counts all rows that match, too."""
    explain: bool = False
    """The database's plan in place of rows."""
    database: str | None = None
    """The database."""


async def query_table(call: Call[Database], arguments: QueryTable) -> Rows:
    """Reads rows of one table or view, with related rows: chosen columns, filtered, sorted, page by page."""
    database = call.source.handle
    with explained(database, call.source.name):
        query, values = await _planned(call, arguments)
        if arguments.explain:
            return await _explain(call, query, values)
        page = Page(query.present, query.limit, database.limits.bytes)
        await database.runner.read(query.statement, page.take, call.left, values)
        reading = Reading(database, lambda: call.left)
        if query.lists:
            await reading.add(query.lists, page.raw, page.rows)
        cut = page.weigh(grown=bool(query.lists))
        counted = await _count(call, query, values) if query.counted is not None else (msgspec.UNSET, msgspec.UNSET)
    return Rows(
        columns=query.columns,
        rows=page.rows,
        truncated=page.reason is not None,
        next_cursor=seal(_sealed(call, query.table, arguments), query.position_after(page))
        if page.reason is not None
        else None,
        reason=page.reason or msgspec.UNSET,
        related=query.related,
        cut=sorted(reading.cut) or msgspec.UNSET,
        count=counted[0],
        estimated=counted[1],
        shortened={query.columns[place]: length for place, length in cut.items()} or msgspec.UNSET,
    )


@dataclass(frozen=True)
class Query:
    """One shape of a query: a statement, and how its rows are read."""

    statement: Statement
    parameters: Parameters
    outputs: list[Output]
    present: Callable[[Row], list[JsonValue]]
    lists: list[Lists]
    order: Order
    order_places: list[int]
    limit: int
    start: Position
    table: str
    counted: sa.Select[Any] | None
    """All rows, where they are to be counted."""
    about: bool
    """Whether an estimate of that is enough."""
    whole: bool
    """Whether nothing of its tables is kept from the caller."""
    seen: Seen

    @property
    def columns(self) -> list[str]:
        """The names of the answer's columns."""
        return [*(output.name for output in self.outputs), *(nested.name for nested in self.lists)]

    @property
    def related(self) -> dict[str, list[str]] | msgspec.UnsetType:
        """The names within lists."""
        return {name: names for nested in self.lists for name, names in nested.tree().items()} or msgspec.UNSET

    def position_after(self, page: Page) -> Position:
        """Where the next page begins."""
        if self.order.total:
            return position_after([page.raw[-1][place] for place in self.order_places])
        return Position((self.start.after if isinstance(self.start.after, int) else 0) + len(page.rows))


async def _planned(call: Call[Database], arguments: QueryTable) -> tuple[Query, dict[str, object]]:
    """The query and its values. One of the same shape is planned once."""
    database = call.source.handle
    name, access = await find_table(call, arguments.table, "read")
    given = read(arguments.filter, FUNCTIONS) if arguments.filter.strip() else None
    literals = given.literals if given is not None else ()
    attributes = attributes_of(call.principal)
    limit = min(arguments.limit, database.limits.rows)

    def make(sight: Sight) -> tuple[Query, Inputs]:
        return _plan(call, sight, arguments, given, limit)

    if arguments.cursor or arguments.ids is not None:
        query, inputs = await plan_on(call, name, "read", access, make)
        return query, query.parameters.values(inputs)
    key = (
        who(call), name.key, "" if given is None else given.shape, arguments.columns, arguments.order_by, limit,
        arguments.distinct, arguments.count, arguments.related, tuple(attributes.items()) if arguments.related else (),
    )  # fmt: skip
    kept = database.plans.get(key)
    if isinstance(kept, Query) and await kept.seen.is_current(database.catalog):
        try:
            return kept, kept.parameters.values(Inputs(literals, attributes))
        except FilterError:
            pass  # a value that asks for another statement, or for none: the plan tells which
    query, inputs = await plan_on(call, name, "read", access, make)
    values = query.parameters.values(inputs)
    database.plans.put(key, query)
    return query, values


def _plan(
    call: Call[Database], sight: Sight, arguments: QueryTable, given: Filter | None, limit: int
) -> tuple[Query, Inputs]:
    """Plans the query. Raises a ToolError for what the caller may not ask, and Unseen."""
    joins, selection, attributes = Joins(sight, sight.root), Selection(), attributes_of(call.principal)
    outputs = selection.outputs(joins, arguments.columns)
    wanted = [Related(item) if isinstance(item, str) else item for item in arguments.related]
    if arguments.distinct and wanted:
        raise InvalidArguments("distinct is for columns alone; leave related out.")
    more, lists = plan_lists(sight, joins, selection, wanted, attributes)
    distinct = [joins.known(output.name) for output in outputs if output.place >= 0] if arguments.distinct else None
    order = order_of(joins, arguments.order_by, distinct=distinct)
    order_places = [selection.place(key.column) for key in order.keys]
    keys = read_keys(sight.root, arguments.ids) if arguments.ids is not None else None
    table = sight.root.table.key
    shape = _sealed(call, table, arguments)
    start = unseal(shape, arguments.cursor, len(order.keys), total=order.total) if arguments.cursor else Position(0)

    parameters = Parameters()
    conditions = _conditions(joins, given, keys, parameters)
    statement = sa.select(*selection.columns) if selection.columns else sa.select(sa.literal(1).label("c0"))
    statement = statement.select_from(joins.source).where(*conditions)
    counted = None
    if arguments.count:
        counted = sa.select(sa.literal(1).label("one")).select_from(joins.source).where(*conditions)
    if arguments.distinct:  # sorted and cut outside: inside, some engines sort by what is selected alone
        rows = statement.distinct().subquery()
        statement = sa.select(*rows.c)
        keys_of_rows = zip(order.keys, order_places, strict=True)
        order = replace(
            order, keys=tuple(replace(k, column=replace(k.column, sql=rows.c[f"c{n}"])) for k, n in keys_of_rows)
        )
        counted = statement if arguments.count else None
    values: Sequence[object] = ()
    if isinstance(start.after, int):
        statement = statement.offset(start.after or None)
        if start.after and not order.keys:  # SQL Server skips rows only where they are in order, be it none
            statement = statement.order_by(sa.select(sa.null()).scalar_subquery())
    else:
        values = start.values()
        statement = statement.where(after(order, values, parameters))
    statement = statement.order_by(*order.sql).limit(limit + 1)
    query = Query(
        Statement(statement),
        parameters,
        [*outputs, *more],
        presenter([*outputs, *more]),
        lists,
        order,
        order_places,
        limit,
        start,
        table,
        counted,
        arguments.count == "estimated" and all(view.reach is None for view in joins.views),
        all(view.is_whole for view in joins.views),
        sight.seen(),
    )
    literals = given.literals if given is not None else ()
    return query, Inputs(literals, attributes, keys or (), values)


def _sealed(call: Call[Database], table: str, arguments: QueryTable) -> Sequence[object]:
    """What a cursor belongs to: the query with its values, where a plan knows its shape alone."""
    return (
        call.source.name, table, arguments.filter, arguments.order_by, call.granted.digest, arguments.ids,
        arguments.columns if arguments.distinct else None,
    )  # fmt: skip


def _conditions(joins: Joins, given: Filter | None, keys: list[Key] | None, parameters: Parameters) -> list[Condition]:
    conditions = joins.reach
    if given is not None:
        conditions.append(compile_filter(given, joins.condition, joins.view.dialect, parameters))
    if keys is not None:
        columns = [joins.column(joins.operand(name)) for name in joins.view.row_key]
        conditions.append(with_key_of(columns, len(keys), parameters) if keys else sa.false())
    return conditions


async def _count(call: Call[Database], query: Query, values: dict[str, object]) -> tuple[int, bool]:
    """How many rows there are, and whether that is an estimate.

    The planner knows of rows that the caller may not see, so where some are kept back all are counted.
    """
    database, counted = call.source.handle, query.counted
    assert counted is not None  # noqa: S101  (the caller has looked)
    if query.about:

        def estimate(connection: Connection) -> int | None:
            return database.dialect.estimate(connection, counted, values)

        if (number := await database.runner.look(estimate, call.left)) is not None:
            return number, True
    counts: list[Row] = []

    def take(row: Row) -> bool:
        counts.append(row)
        return True

    everything = sa.select(sa.func.count()).select_from(counted.subquery())
    await database.runner.read(Statement(everything), take, call.left, values)
    return int(str(counts[0][0])), False


async def _explain(call: Call[Database], query: Query, values: dict[str, object]) -> Rows:
    """The database's own words, which tell of all its rows and columns."""
    if not query.whole:
        raise NotAllowed("How this query runs would tell of rows or columns that are not yours to see.")
    database = call.source.handle

    def explain(connection: Connection) -> list[str] | None:
        return database.dialect.explain(connection, query.statement.select, values)

    lines = await database.runner.look(explain, call.left)
    if lines is None:
        raise InvalidArguments("This engine does not say here how it would run a query; leave explain out.")
    return Rows(columns=["plan"], rows=[[line] for line in lines])
