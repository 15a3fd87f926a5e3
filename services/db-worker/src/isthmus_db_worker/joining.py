"""A table and those that a statement joins to it, each with at most one row to a row of the first.

A dotted name goes along relations: `customer.country` joins the customers. Where a step leads to several rows, a
condition asks whether one of them meets it; nothing else can be said of them here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ClauseElement

from isthmus.errors import InvalidArguments, near
from isthmus_db_worker.dates import FUNCTIONS, date_part
from isthmus_db_worker.filter_syntax import FilterError, Operand, read_operand
from isthmus_db_worker.filters import Condition
from isthmus_db_worker.relations import Relation, find_relation
from isthmus_db_worker.tables import Column
from isthmus_db_worker.views import UnknownColumn, View, json_column, pick, written
from isthmus_db_worker.visibility import Sight

MOST = 16
"""Tables in one statement."""
FARTHEST = 6
"""Steps from the first table."""


class SeveralRows(FilterError):
    """A name goes to where a row has several others."""

    def __init__(self, path: str, table: str) -> None:
        super().__init__(f"{path} leads to several rows of {table}: name it in `related`, or in a filter.")
        self.path = path
        self.table = table


class Joins:
    """The tables of one statement."""

    def __init__(
        self, sight: Sight, view: View, start: sa.FromClause | None = None, views: list[View] | None = None
    ) -> None:
        """`start` stands for the view's table where that is in the statement already; `views` gathers all tables."""
        self.view = view
        self.start: sa.FromClause = view.table.sql if start is None else start
        self._sight = sight
        self._joined: dict[tuple[str, ...], tuple[View, sa.FromClause]] = {(): (view, self.start)}
        self._from: sa.FromClause = self.start
        self.views = [] if views is None else views
        """The tables of the whole statement as the caller sees them, those within conditions too."""
        self.views.append(view)

    @property
    def source(self) -> sa.FromClause:
        """What the statement reads from."""
        return self._from

    @property
    def reach(self) -> list[Condition]:
        """The rows of the first table that the caller may read. Those of the others are joined within theirs."""
        return [] if self.view.reach is None else [on(self.view.reach, self.view, self.start)]

    def operand(self, text: str) -> Operand:
        """What the text names: a column's exact name first, odd as it may be. Raises FilterError."""
        return Operand((text,)) if pick(self.view.columns, text) else read_operand(text, FUNCTIONS)

    def known(self, text: str) -> Column:
        """A column by its dotted name, for use in sorting and grouping. Raises a ToolError if it cannot be."""
        column = self.column(self.operand(text))
        if not column.conversion.comparable:
            raise InvalidArguments(f"{column.name} holds {column.type}, which rows cannot be sorted or grouped by.")
        return column

    def column(self, operand: Operand) -> Column:
        """A column whose values the caller may know. Raises a ToolError."""
        column, masked = self.shown(operand)
        if masked and len(operand.path) == 1:
            return self.view.known(column.name)  # which refuses it
        if masked:
            raise InvalidArguments(f"{column.name} is masked: you may neither filter, sort, group or aggregate by it.")
        return column

    def shown(self, operand: Operand) -> tuple[Column, bool]:
        """A column that the caller sees, and whether its values are masked. Raises a ToolError."""
        place, view, start, path = self._walk(self._own(operand.path))
        if path is None:
            relation = self._relation(view, place[-1])
            raise SeveralRows(".".join(place)[:80], relation.table if relation else "a table")
        column, masked = _column_of(view, start, path, joined=bool(place))
        if place:
            behind = column.name if len(path) > 1 else written([column.name])
            column = replace(column, name=f"{written(place)}.{behind}")
        if operand.function and not masked:
            column = date_part(operand.function, column)
        return column, masked

    def condition(self, operand: Operand, build: Callable[[Column], Condition]) -> Condition:
        """What filters ask of a column: with several rows at the other end, that one of them is like that."""
        operand = replace(operand, path=self._own(operand.path))
        place, view, start, path = self._walk(operand.path)
        if path is not None:
            return build(self.column(operand))
        relation = self._relation(view, place[-1])
        assert relation is not None  # noqa: S101  (the walk ended at it)
        other = self._sight.view(relation.table)
        inner = Joins(self._sight, other, other.table.sql.alias(), self.views)
        met = inner.condition(Operand(operand.path[len(place) :], operand.function), build)
        linked = [inner.start.c[b] == start.c[a] for a, b in zip(relation.columns, relation.to_columns, strict=True)]
        query = sa.select(sa.literal(1)).select_from(inner.source).where(*linked, *inner.reach, met)
        return query.correlate_except(inner.source, *(each for _, each in inner._joined.values())).exists()

    def follow(self, path: Sequence[str]) -> tuple[tuple[str, ...], View, sa.FromClause, Relation | None, list[str]]:
        """Along relations as far as each leads to one row: where that is, and the relation to several that comes next,
        with what is left of the path behind it. Raises UnknownColumn for a step that is no relation."""
        place, view, start = (), self.view, self.start
        for number, step in enumerate(path):
            relation = self._relation(view, step)
            if relation is None:
                names = self._sight.relations(view)
                raise UnknownColumn(f"{view.table.key} has no relation {step[:64]}.{near(step, names)}")
            if relation.many:
                return place, view, start, relation, list(path[number + 1 :])
            place, view, start = self._join(place, view, start, relation)
        return place, view, start, None, []

    def _own(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Without the table's own name in front, which is SQL's way to name a column."""
        if len(path) < 2 or path[0].lower() != self.view.table.name.name.lower():
            return path
        meant = pick(self.view.columns, path[0]) is not None or self._relation(self.view, path[0]) is not None
        return path if meant else path[1:]

    def _walk(self, path: tuple[str, ...]) -> tuple[tuple[str, ...], View, sa.FromClause, tuple[str, ...] | None]:
        """Where a name leads: the steps taken, the table there, and what is left for a column, with a path in its
        JSON; None: the last step leads to several rows."""
        place: tuple[str, ...] = ()
        view, start = self.view, self.start
        for number, step in enumerate(path[:-1]):
            relation = self._relation(view, step)
            if relation is None:
                if pick(view.columns, step) is None:
                    known = [*self._sight.relations(view), *view.columns]
                    raise UnknownColumn(f"{view.table.key} has no column or relation {step[:64]}.{near(step, known)}")
                return place, view, start, path[number:]
            if relation.many:
                return path[: number + 1], view, start, None
            place, view, start = self._join(place, view, start, relation)
        return place, view, start, path[-1:]

    def _join(
        self, place: tuple[str, ...], view: View, start: sa.FromClause, relation: Relation
    ) -> tuple[tuple[str, ...], View, sa.FromClause]:
        further = (*place, relation.name)
        if further not in self._joined:
            if len(self._joined) >= MOST or len(further) > FARTHEST:
                raise InvalidArguments(
                    f"A query reaches at most {MOST} tables, {FARTHEST} relations away; leave some columns out."
                )
            other = self._sight.view(relation.table)
            alias = other.table.sql.alias()
            links = [start.c[a] == alias.c[b] for a, b in zip(relation.columns, relation.to_columns, strict=True)]
            if other.reach is not None:
                links.append(on(other.reach, other, alias))
            self._from = self._from.outerjoin(alias, sa.and_(*links))
            self._joined[further] = (other, alias)
            self.views.append(other)
        return further, *self._joined[further]

    def _relation(self, view: View, step: str) -> Relation | None:
        """By name; a column that holds JSON goes before."""
        column = pick(view.columns, step)
        if column is not None and json_column(column, ["a"], view.dialect) is not None:
            return None
        return find_relation(self._sight.relations(view), step)


def on(condition: Condition, view: View, start: sa.FromClause) -> Condition:
    """The condition with the columns of `start` in place of the table's own."""
    table = view.table.sql
    if start is table:
        return condition

    def moved(element: ClauseElement, **options: object) -> ClauseElement | None:
        del options
        return start.c[element.name] if isinstance(element, sa.Column) and element.table is table else None

    return visitors.replacement_traverse(condition, {}, moved)


def _column_of(view: View, start: sa.FromClause, path: tuple[str, ...], *, joined: bool) -> tuple[Column, bool]:
    """The column of the view's table, or what is in its JSON, as it stands in `start`."""
    name, *inside = path
    column = view.column(name)
    masked = column.name in view.masked
    moved = replace(column, sql=start.c[column.name], nullable=column.nullable or joined)
    if inside and not masked:
        if (found := json_column(moved, inside, view.dialect)) is None:
            raise UnknownColumn(
                f"{view.table.key} has no relation {name[:64]}, and its column of that name holds no JSON that this "
                "engine can look into."
            )
        moved = found
    return moved, masked
