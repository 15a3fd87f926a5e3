"""Records that callers wrote, read into what is to be stored: each with those around it, over relations.

A column's name holds a value. A relation's name holds the record that this one points at, or a list of those that
point at it: `{"customer": {"name": "Ada"}, "order_items": [{"product_id": 2}]}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

import msgspec
import sqlalchemy as sa

from isthmus.errors import InvalidArguments, NotAllowed, NotFound, ToolError, near
from isthmus_db_worker.keys import Key
from isthmus_db_worker.relations import Relation, find_relation
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View, pick
from isthmus_db_worker.visibility import Sight

MOST = 1000
"""Records in one call, those in relations too."""
DEEPEST = 4
"""Tables from the first one on."""

NULL = sa.null()
Record = dict[str, object]
"""Column → what is bound."""
Records = Annotated[list[dict[str, JsonValue]], msgspec.Meta(min_length=1, max_length=MOST)]
Action = Literal["create", "update", "upsert"]


@dataclass(frozen=True)
class Node:
    """One record to be stored."""

    action: Action
    view: View
    """The table as the caller sees it for creating, or for updating alone."""
    updating: View | None
    """As the caller sees it for updating, where the record may be there already."""
    values: Record
    place: str
    """Where the caller wrote it: `records[0].order_items[2]`."""
    match: tuple[str, ...] = ()
    """The columns that tell whether it is there already, all of them in `values`; what is updated is found by them."""
    pointed: tuple[tuple[Relation, "Node"], ...] = ()
    """What it points at, stored before it."""
    pointing: tuple[tuple[Relation, tuple["Node", ...]], ...] = ()
    """What points at it, stored after it."""

    @property
    def key(self) -> Key:
        """What it is found by."""
        return tuple(self.values[name] for name in self.match)


@dataclass
class Reader:
    """Reads the records of one call."""

    sight: Sight
    action: Action
    match: tuple[str, ...] = ()
    """The columns by which the records of an upsert are found; none: the table's key."""
    count: int = field(default=0, init=False)

    def read(self, records: Sequence[Mapping[str, JsonValue]], *, each: bool) -> list[Node | ToolError]:
        """The records as they are to be stored; `each`: what is wrong with one takes its place.

        Raises a ToolError that names the place, NotAllowed for what the caller may not write, and Unseen.
        """
        table, found = self.sight.root.table.key, list[Node | ToolError]()
        for number, record in enumerate(records):
            try:
                found.append(self._node(table, record, f"records[{number}]", self.action, ()))
            except ToolError as error:
                if not each:
                    raise
                found.append(error)
        return found

    def _node(
        self, table: str, record: Mapping[str, JsonValue], place: str, action: Action, way: tuple[Relation, ...]
    ) -> Node:
        self.count += 1
        if self.count > MOST:
            raise InvalidArguments(f"One call takes at most {MOST:,} records, those in relations too.")
        view = self.sight.view(table, "update" if action == "update" else "create")
        updating = None if action == "create" else self.sight.view(table, "update")
        given, related = self._split(view, record, place)
        linked = way[-1].to_columns if way and way[-1].many else ()
        for name in (*linked, *(name for relation, _, _ in related if not relation.many for name in relation.columns)):
            view.known(name)
        values = bind(view, given, place, linked=linked)
        if updating is not None:
            for name in values:
                updating.known(name)
        pointed, pointing = list[tuple[Relation, Node]](), list[tuple[Relation, tuple[Node, ...]]]()
        for relation, inside, where in related:
            if len(way) + 1 >= DEEPEST:
                raise InvalidArguments(f"{where}: related records may be {DEEPEST - 1} relations away at most.")
            further = (*way, relation)
            if not relation.many:
                if any(name in values for name in relation.columns):
                    raise InvalidArguments(f"{place} has both {relation.name} and {' and '.join(relation.columns)}.")
                pointed.append((relation, self._inner(relation, inside, where, action, further)))
            else:
                items = cast("list[object]", inside)
                nodes = (self._inner(relation, r, f"{where}[{n}]", action, further) for n, r in enumerate(items))
                pointing.append((relation, tuple(nodes)))
        set_here = {*values, *linked, *(name for relation, _ in pointed for name in relation.columns)}
        match, action = self._match(view, values, action, place, root=not way)
        if action == "create":
            require_key(view, values, set_here, place)
            if view.within and not view.table.primary_key:
                raise no_key(view)
        elif view.within and not view.table.handle:
            raise no_key(view)
        return Node(action, view, updating, values, place, match, tuple(pointed), tuple(pointing))

    def _split(
        self, view: View, record: Mapping[str, JsonValue], place: str
    ) -> tuple[dict[str, JsonValue], list[tuple[Relation, object, str]]]:
        """Values of columns, and what stands under the names of relations."""
        given: dict[str, JsonValue] = {}
        related: list[tuple[Relation, object, str]] = []
        for name, value in record.items():
            if pick(view.columns, name) is not None or not isinstance(value, dict | list):
                given[name] = value
                continue
            relation = find_relation(relations := self.sight.relations(view), name)
            if relation is None:
                known = [*view.columns, *relations]
                raise NotFound(f"{place}: {view.table.key} has no column or relation {name[:64]}.{near(name, known)}")
            if relation.many != isinstance(value, list):
                form = "a list of records" if relation.many else "one record"
                raise InvalidArguments(f"{place}.{relation.name} takes {form} of {relation.table}.")
            if any(relation is other for other, _, _ in related):
                raise InvalidArguments(f"{place} names {relation.name} twice.")
            related.append((relation, cast("object", value), f"{place}.{relation.name}"))
        return given, related

    def _inner(self, relation: Relation, record: object, place: str, action: Action, way: tuple[Relation, ...]) -> Node:
        if not isinstance(record, dict):
            raise InvalidArguments(f"{place} takes a record of {relation.table}.")
        written = cast("dict[str, JsonValue]", record)
        if action == "update":
            view = self.sight.view(relation.table)
            key = view.table.row_key
            action = "update" if key and all(pick_name(written, name) is not None for name in key) else "create"
        return self._node(relation.table, written, place, action, way)

    def _match(
        self, view: View, values: Record, action: Action, place: str, *, root: bool
    ) -> tuple[tuple[str, ...], Action]:
        """By which columns it is found, and what is to be done: a record that lacks them can only be a new one."""
        if action == "create":
            return (), action
        match = self.match if root and self.match else view.row_key
        if not match:
            raise InvalidArguments(f"{view.table.key} has no key that you may use to find records by.")
        missing = [name for name in match if values.get(name, NULL) is NULL]
        if not missing:
            return match, action
        if action == "upsert" and not (root and self.match):
            return (), "create"
        raise InvalidArguments(f"{place} needs {' and '.join(missing)}, by which the record is found.")


def bind(view: View, record: Mapping[str, JsonValue], place: str, *, linked: Sequence[str] = ()) -> Record:
    """Column → what is bound. `linked` are the columns that a relation sets. Raises a ToolError with the place."""
    bound: Record = {}
    if not record and not linked:
        raise InvalidArguments(f"{place} is empty: give at least one column its value.")
    for name, value in record.items():
        column = view.known(name)
        if column.generated == "always" or column.name not in view.table.columns:
            raise InvalidArguments(f"{place}: {column.name} is generated by the database and cannot be written.")
        if column.name in bound:
            raise InvalidArguments(f"{place} names {column.name} twice.")
        if column.name in linked:
            raise InvalidArguments(f"{place}: {column.name} is set by the record around it; leave it out.")
        bound[column.name] = _parse(column, value, place)
    return bound


def require_key(view: View, values: Record, given: set[str], place: str) -> None:
    """A primary key that nothing generates must be given; the database's own words for it would be no help."""
    numbered = view.table.sql.autoincrement_column
    for name in view.table.primary_key:
        column = view.table.columns[name]
        there = name in given and values.get(name) is not NULL
        if not there and column.default is None and not column.generated and column.sql is not numbered:
            raise InvalidArguments(f"{place} needs a value for its key" + (f" {name}." if view.opens([name]) else "."))


def no_key(view: View) -> NotAllowed:
    """For rows that cannot be told apart, and so not be kept within the caller's."""
    return NotAllowed(f"You may write some rows of {view.table.key} only, and it has no key to tell them apart.")


def pick_name(record: Mapping[str, JsonValue], column: str) -> JsonValue | None:
    """The value of a column in a record, whatever the letter case."""
    return next((value for name, value in record.items() if name.lower() == column.lower()), None)


def _parse(column: Column, value: JsonValue, place: str) -> object:
    if value is None:
        return NULL
    try:
        return column.conversion.parse(value)
    except (ValueError, OverflowError):
        raise InvalidArguments(f"{place}: {column.name} takes {column.conversion.noun}.") from None
