"""aggregate_table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Annotated, cast

import msgspec
import sqlalchemy as sa

from isthmus.errors import InvalidArguments, near
from isthmus.tools import Call
from isthmus_db_worker.aggregates import FINEST, Function, Groups
from isthmus_db_worker.cursors import Position, position_after, seal, unseal
from isthmus_db_worker.database import Database
from isthmus_db_worker.dates import FUNCTIONS
from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.failures import explained
from isthmus_db_worker.figures import CALLS, Aggregate, resolved
from isthmus_db_worker.filter_syntax import Filter, FilterError, Literal, Operand, read
from isthmus_db_worker.filters import Condition, Find, attributes_of, compile_filter
from isthmus_db_worker.joining import Joins, SeveralRows
from isthmus_db_worker.ordering import Order, after, read_order, sort_key
from isthmus_db_worker.paging import Page
from isthmus_db_worker.parameters import Inputs, Parameters
from isthmus_db_worker.rows import Rows
from isthmus_db_worker.selecting import Output, presenter
from isthmus_db_worker.statements import Row, Statement
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.visibility import Seen, Sight, find_table, plan_on, who

MOST = 100
"""Columns of an answer."""


class AggregateTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which figures of which rows."""

    table: str
    """The table or view, such as `orders` or `crm.orders`."""
    group_by: tuple[str, ...] = ()
    """`["status", "customer.country", "month(placed_at)"]`, also year, quarter, week, day, hour, day_of_week; left out:
    one row for all."""
    aggregates: tuple[Aggregate, ...] = ()
    """`[{"function": "sum", "column": "total", "alias": "revenue", "filter": "status = 'paid'"}]`, also count,
    count_distinct, avg, min, max, median, percentile (with `"fraction": 0.9`) or a metric; left out: the count of
    rows."""
    filter: str = ""
    """Which rows, as in query_table."""
    having: str = ""
    """Which groups, by aliases and group_by: `revenue > 1000`."""
    order_by: tuple[str, ...] = ()
    """Aliases and columns of group_by, `-` for descending: `["-revenue nulls last"]`."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """Rows at most."""
    cursor: str = ""
    """`next_cursor` of the page before; all else but limit as before."""
    database: str | None = None
    """The database."""


async def aggregate_table(call: Call[Database], arguments: AggregateTable) -> Rows:
    """Counts, sums, averages, medians and more of a table's rows, by columns, related columns or parts of dates."""
    database = call.source.handle
    with explained(database, call.source.name):
        query, values = await _planned(call, arguments)
        page = Page(query.present, query.limit, database.limits.bytes)
        await database.runner.read(query.statement, page.take, call.left, values)
        page.weigh()
    position = None if page.reason is None else seal(query.shape, query.position_after(page))
    return Rows(
        columns=[output.name for output in query.outputs],
        rows=page.rows,
        truncated=page.reason is not None,
        next_cursor=position,
        reason=page.reason or msgspec.UNSET,
    )


@dataclass(frozen=True)
class Grouped:
    """One shape of a question: a statement, and how its rows are read."""

    statement: Statement
    parameters: Parameters
    outputs: list[Output]
    present: Callable[[Row], list[JsonValue]]
    order_places: list[int]
    limit: int
    shape: Sequence[object]
    seen: Seen

    def position_after(self, page: Page) -> Position:
        """Where the next page begins."""
        return position_after([page.raw[-1][place] for place in self.order_places])


async def _planned(call: Call[Database], arguments: AggregateTable) -> tuple[Grouped, dict[str, object]]:
    """The question and its values. One of the same shape is planned once."""
    database = call.source.handle
    name, access = await find_table(call, arguments.table, "read")
    arguments = msgspec.structs.replace(arguments, aggregates=await resolved(call, name, arguments.aggregates))
    filters = _Filters.of(arguments)
    inputs = Inputs(filters.literals, attributes_of(call.principal))
    limit = min(arguments.limit, database.limits.rows)

    def make(sight: Sight) -> tuple[Grouped, Inputs]:
        return _plan(call, sight, arguments, filters, limit)

    key = (
        "aggregate", who(call), name.key, filters.shapes, arguments.group_by, arguments.order_by, limit,
        tuple(msgspec.structs.replace(aggregate, filter="") for aggregate in arguments.aggregates),
    )  # fmt: skip
    kept = None if arguments.cursor else database.plans.get(key)
    if isinstance(kept, Grouped) and await kept.seen.is_current(database.catalog):
        try:
            return replace(kept, shape=_sealed(call, name.key, arguments)), kept.parameters.values(inputs)
        except FilterError:
            pass  # a value that asks for another statement, or for none: the plan tells which
    query, inputs = await plan_on(call, name, "read", access, make)
    values = query.parameters.values(inputs)
    if not arguments.cursor:
        database.plans.put(key, query)
    return query, values


def _sealed(call: Call[Database], table: str, arguments: AggregateTable) -> Sequence[object]:
    """What a cursor belongs to: the question with its values, where a plan knows its shape alone."""
    return (
        call.source.name, table, arguments.filter, arguments.group_by, arguments.aggregates, arguments.having,
        arguments.order_by, call.granted.digest,
    )  # fmt: skip


def _plan(
    call: Call[Database], sight: Sight, arguments: AggregateTable, filters: "_Filters", limit: int
) -> tuple[Grouped, Inputs]:
    """Plans the question. Raises a ToolError for what the caller may not ask, and Unseen."""
    dialect = sight.root.dialect
    joins, groups, parameters = Joins(sight, sight.root), Groups(dialect), Parameters()
    columns = _Columns()
    for text in arguments.group_by:
        columns.add(groups.key(_found(lambda text=text: joins.known(text))))
    keys = columns.all
    for place, aggregate in enumerate(arguments.aggregates):
        condition = filters.condition(1 + place, joins.condition, dialect, parameters)
        columns.add(_aggregate(joins, groups, aggregate, condition), aggregate.call)
    rows = filters.condition(0, joins.condition, dialect, parameters)
    grouped = groups.grouped(joins.source, [*joins.reach, *([] if rows is None else [rows])])
    order = _order(columns, keys, arguments.order_by, nulls_sort_high=dialect.nulls_sort_high)

    shape = _sealed(call, sight.root.table.key, arguments)
    values: Sequence[object] = ()
    places = {column.name: place for place, column in enumerate(columns.all)}
    selected = [column.sql.label(f"c{place}") for place, column in enumerate(columns.all)]
    statement = sa.select(*selected).select_from(grouped)
    having = filters.condition(-1, columns.find, dialect, parameters)
    if having is not None:
        statement = statement.where(having)
    if arguments.cursor:
        values = unseal(shape, arguments.cursor, len(order.keys), total=True).values()
        statement = statement.where(after(order, values, parameters))
    outputs = [Output(column.name, place, column.conversion.present) for place, column in enumerate(columns.all)]
    query = Grouped(
        Statement(statement.order_by(*order.sql).limit(limit + 1)),
        parameters,
        outputs,
        presenter(outputs),
        [places[key.column.name] for key in order.keys],
        limit,
        shape,
        sight.seen(),
    )
    return query, Inputs(filters.literals, attributes_of(call.principal), after=values)


def _aggregate(joins: Joins, groups: Groups, wanted: Aggregate, condition: Condition | None) -> Column:
    """Raises a ToolError for what cannot be."""
    if (wanted.function == "percentile") is not (wanted.fraction is not None):
        raise InvalidArguments("percentile, and nothing else, has a fraction, such as 0.9.")
    fraction = Decimal("0.5") if wanted.fraction is None else Decimal(repr(wanted.fraction))
    if fraction != round(fraction, FINEST):
        raise InvalidArguments(f"The fraction of a percentile has at most {FINEST} digits.")
    if wanted.column:
        column = _found(lambda: joins.column(joins.operand(wanted.column)))
        return groups.aggregate(cast("Function", wanted.function), column, wanted.name, condition, fraction)
    if wanted.function != "count":
        raise InvalidArguments(f"{wanted.function} needs a column.")
    return groups.rows(wanted.name, condition)


def _found(find: Callable[[], Column]) -> Column:
    """The column, or a sentence about what can be done in place of it."""
    try:
        return find()
    except SeveralRows as error:
        raise InvalidArguments(
            f"{error.path} leads to several rows of {error.table}, and would count each row several times: aggregate "
            f"{error.table} itself, and group it by its columns."
        ) from None


def _order(columns: "_Columns", keys: Sequence[Column], order_by: Sequence[str], *, nulls_sort_high: bool) -> Order:
    """The caller's order, with what the groups are told apart by behind it."""
    sorted_by = [
        sort_key(columns.named(read_order(text)[0]), text, nulls_sort_high=nulls_sort_high) for text in order_by
    ]
    named = [key.column.name for key in sorted_by]
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise InvalidArguments(f"order_by names {twice} twice.")
    rest = [sort_key(column, "", nulls_sort_high=nulls_sort_high) for column in keys if column.name not in named]
    return Order((*sorted_by, *rest), total=True)


class _Columns:
    """The columns of the answer, by name."""

    def __init__(self) -> None:
        self._columns: dict[str, Column] = {}
        self._calls: dict[str, Column] = {}

    @property
    def all(self) -> list[Column]:
        """In order."""
        return list(self._columns.values())

    def add(self, column: Column, call: str = "") -> None:
        """One more; what was called to make it is understood, too."""
        if column.name in self._columns:
            raise InvalidArguments(f"Two columns of the answer are called {column.name}: give one another alias.")
        if len(self._columns) == MOST:
            raise InvalidArguments(f"An answer has at most {MOST} columns.")
        self._columns[column.name] = column
        if call:
            self._calls.setdefault(call, column)

    def named(self, text: str) -> Column:
        """By its name. Raises InvalidArguments."""
        folded = {name.lower(): column for name, column in {**self._calls, **self._columns}.items()}
        if (column := self._columns.get(text) or folded.get(text.lower().replace(" ", ""))) is None:
            raise InvalidArguments(
                f"{text[:64]} is neither an alias nor in group_by.{near(text, self._columns)} Rows are for `filter`."
            )
        if not column.conversion.comparable:
            raise InvalidArguments(f"{column.name} holds {column.type}, which cannot be compared.")
        return column

    def find(self, operand: Operand, build: Callable[[Column], Condition]) -> Condition:
        """For filters over them."""
        path = ".".join(operand.path)
        return build(self.named(f"{operand.function}({path})" if operand.function else path))


@dataclass(frozen=True)
class _Filters:
    """The filters of one question: that of the rows, those of the aggregates, and that of the groups. Their values are
    numbered through."""

    read: tuple[Filter | None, ...]

    @classmethod
    def of(cls, arguments: AggregateTable) -> "_Filters":
        """As they are written. Raises FilterError."""
        texts = [arguments.filter, *(aggregate.filter for aggregate in arguments.aggregates)]
        having = read(arguments.having, FUNCTIONS | CALLS) if arguments.having.strip() else None
        return cls((*(read(text, FUNCTIONS) if text.strip() else None for text in texts), having))

    @property
    def literals(self) -> list[Literal]:
        """The values of all."""
        return [literal for given in self.read if given is not None for literal in given.literals]

    @property
    def shapes(self) -> tuple[str, ...]:
        """The same for questions that differ in values alone."""
        return tuple("" if given is None else given.shape for given in self.read)

    def condition(self, place: int, find: Find, dialect: Dialect, parameters: Parameters) -> Condition | None:
        """What that filter stands for; None: it is empty."""
        if (given := self.read[place]) is None:
            return None
        before = sum(len(other.literals) for other in self.read[:place] if other is not None)
        return compile_filter(given, find, dialect, parameters.behind(before))
