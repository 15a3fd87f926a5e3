"""Related rows: lists within rows, read by one statement per relation for all rows of a page at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from isthmus.errors import InvalidArguments, TooLarge
from isthmus_db_worker.database import Database
from isthmus_db_worker.dates import FUNCTIONS
from isthmus_db_worker.filter_syntax import read, read_operand
from isthmus_db_worker.filters import compile_filter
from isthmus_db_worker.joining import Joins
from isthmus_db_worker.keys import with_key_of
from isthmus_db_worker.ordering import order_of
from isthmus_db_worker.parameters import Inputs, Parameters
from isthmus_db_worker.relations import Relation
from isthmus_db_worker.selecting import Output, Selection, presenter
from isthmus_db_worker.statements import Row, Statement
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import Sight

MOST = 10
"""Relations in one query."""
MOST_ROWS = 10_000
"""Related rows in one answer."""
AT_ONCE = (1, 10, 100)
"""Rows whose lists one statement reads: few sizes, so that few statements are made."""


class Related(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Rows of a related table."""

    path: str
    columns: tuple[str, ...] | None = None
    filter: str = ""
    order_by: tuple[str, ...] = ()
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


@dataclass(frozen=True)
class Lists:
    """The rows of one relation, a list for each row above."""

    name: str
    """Of the column that holds them."""
    key_places: tuple[int, ...]
    """Where the rows above have what these are linked by."""
    outputs: list[Output]
    present: Callable[[Row], list[JsonValue]]
    lists: list["Lists"]
    limit: int
    statements: Mapping[int, tuple[Statement, Parameters]]
    """By how many rows above they are for. Their rows begin with the link."""
    inputs: Inputs
    """What their filter needs; moments in it are those of the call."""

    @property
    def columns(self) -> list[str]:
        """The names within a list."""
        return [*(output.name for output in self.outputs), *(nested.name for nested in self.lists)]

    def tree(self) -> dict[str, list[str]]:
        """The names within these lists and those below, by dotted name."""
        below = {f"{self.name}.{name}": columns for nested in self.lists for name, columns in nested.tree().items()}
        return {self.name: self.columns, **below}


@dataclass
class _Node:
    """A relation that the caller named, or that lies on the way to one."""

    place: tuple[str, ...]
    view: View
    start: sa.FromClause
    relation: Relation
    wanted: Related | None = None
    further: list[Related] = field(default_factory=list[Related])


def plan_lists(
    sight: Sight, joins: Joins, selection: Selection, wanted: Sequence[Related], attributes: Mapping[str, str]
) -> tuple[list[Output], list[Lists]]:
    """What the related rows add to each row: columns where there is one of them, lists where there are several."""
    if len(wanted) > MOST:
        raise InvalidArguments(f"related names {len(wanted)} relations; at most {MOST} fit into one query.")
    outputs: list[Output] = []
    nodes: dict[tuple[str, ...], _Node] = {}
    for related in wanted:
        path = read_operand(related.path).path
        place, view, start, relation, rest = joins.follow(path)
        if relation is None:
            if related.filter or related.order_by:
                raise InvalidArguments(f"{related.path} leads to one row: filter and order_by are for several.")
            names = related.columns if related.columns is not None else tuple(view.columns)
            outputs += selection.outputs(joins, [".".join((*map(_quoted, place), name)) for name in names])
            continue
        node = nodes.setdefault((*place, relation.name), _Node(place, view, start, relation))
        if rest:
            node.further.append(msgspec.structs.replace(related, path=".".join(map(_quoted, rest))))
        elif node.wanted is not None:
            raise InvalidArguments(f"related names {related.path} twice.")
        else:
            node.wanted = related
    return outputs, [_plan_list(sight, selection, node, attributes) for node in nodes.values()]


def _plan_list(sight: Sight, above: Selection, node: _Node, attributes: Mapping[str, str]) -> Lists:
    wanted, relation = node.wanted or Related(node.relation.name), node.relation
    links = [node.view.known(name) for name in relation.columns]
    places = tuple(above.place(_linked(node, column)) for column in links)

    child = sight.view(relation.table)
    joins = Joins(sight, child, child.table.sql.alias())
    selection = Selection()
    start = node.view.table.sql.alias()
    moved = [_on(column, start) for column in links]
    for column in moved:
        selection.place(column, f"{relation.name} of {column.name}")
    outputs = selection.outputs(joins, wanted.columns)
    more, lists = plan_lists(sight, joins, selection, node.further, attributes)
    order = order_of(joins, wanted.order_by)
    given = read(wanted.filter, FUNCTIONS) if wanted.filter.strip() else None

    def statement(count: int) -> tuple[Statement, Parameters]:
        parameters = Parameters()
        conditions = [with_key_of(moved, count, parameters), *joins.reach]
        if given is not None:
            conditions.append(compile_filter(given, joins.condition, child.dialect, parameters))
        pairs = zip(relation.columns, relation.to_columns, strict=True)
        linked = sa.and_(*(start.c[a] == joins.start.c[b] for a, b in pairs))
        keys = [column.sql for column in moved]
        rank = sa.func.row_number().over(partition_by=keys, order_by=order.sql or keys).label("place")
        ranked = sa.select(*selection.columns, rank).select_from(joins.source.join(start, linked)).where(*conditions)
        inner = ranked.subquery()
        columns: list[sa.ColumnElement[Any]] = list(inner.c)
        place = columns.pop()
        return Statement(sa.select(*columns).where(place <= wanted.limit + 1).order_by(place)), parameters

    name = ".".join((*node.place, relation.name))
    statements = {count: statement(count) for count in AT_ONCE}
    inputs = Inputs(given.literals if given is not None else (), attributes)
    shown = [*outputs, *more]
    return Lists(name, places, shown, presenter(shown), lists, wanted.limit, statements, inputs)


class Reading:
    """Reads the lists of one answer."""

    def __init__(self, database: Database, left: Callable[[], float]) -> None:
        self._database = database
        self._left = left
        self._rows = 0
        self.cut: set[str] = set()
        """The lists by dotted name, of which some were longer than their limit."""

    async def add(self, lists: Iterable[Lists], rows: Sequence[Row], cells: Sequence[list[JsonValue]]) -> None:
        """Adds to each row's cells a list per relation. Raises TooLarge."""
        await self._add(lists, rows, cells, "")

    async def _add(
        self, lists: Iterable[Lists], rows: Sequence[Row], cells: Sequence[list[JsonValue]], above: str
    ) -> None:
        for nested in lists:
            keys = [tuple(row[place] for place in nested.key_places) for row in rows]
            found = await self._read(nested, list(dict.fromkeys(key for key in keys if None not in key)), above)
            for key, row in zip(keys, cells, strict=True):
                row.append(found.get(key, []))

    async def _read(self, nested: Lists, keys: Sequence[Sequence[object]], above: str) -> dict[object, JsonValue]:
        """The lists by key."""
        name, links = above + nested.name, len(nested.key_places)
        found: defaultdict[object, list[list[JsonValue]]] = defaultdict(list)
        kept: list[Row] = []
        cells: list[list[JsonValue]] = []

        def take(row: Row) -> bool:
            of_key = found[tuple(row[:links])]
            if len(of_key) == nested.limit:
                self.cut.add(name)
                return False
            self._rows += 1
            kept.append(row)
            cells.append(nested.present(row))
            of_key.append(cells[-1])
            return self._rows > MOST_ROWS

        for start in range(0, len(keys), AT_ONCE[-1]):
            chunk = keys[start : start + AT_ONCE[-1]]
            size = next(size for size in AT_ONCE if size >= len(chunk))
            statement, parameters = nested.statements[size]
            values = parameters.values(replace(nested.inputs, keys=[*chunk, *([chunk[-1]] * (size - len(chunk)))]))
            await self._database.runner.read(statement, take, self._left(), values)
            if self._rows > MOST_ROWS:
                raise TooLarge(f"There are more than {MOST_ROWS:,} related rows; ask for fewer rows or shorter lists.")
        await self._add(nested.lists, kept, cells, f"{name}.")
        return dict(found)


def _linked(node: _Node, column: Column) -> Column:
    """The column above by which the lists are linked, under the name that its statement knows it by."""
    return replace(_on(column, node.start), name=".".join((*node.place, column.name)))


def _on(column: Column, start: sa.FromClause) -> Column:
    return replace(column, sql=start.c[column.name])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
