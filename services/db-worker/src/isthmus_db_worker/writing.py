"""create_records, update_records and delete_records: each is one transaction, all of it or nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, TypeVar, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus.errors import InvalidArguments, NotAllowed, TooLarge
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import Violation, explained
from isthmus_db_worker.filters import Condition, attributes_of
from isthmus_db_worker.keys import Key, read_keys, with_keys
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import plan

R = TypeVar("R")

MOST = 1000
"""Records or ids in one call."""
MOST_CHECKED = 10_000
"""Rows that one call may change when each must be checked against a row filter."""

NULL = sa.null()
Record = dict[str, object]
"""Column → what is bound."""
Records = Annotated[list[dict[str, JsonValue]], msgspec.Meta(min_length=1, max_length=MOST)]
Ids = Annotated[list[JsonValue], msgspec.Meta(min_length=1, max_length=MOST)]


class CreateRecords(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to add to which table."""

    table: str
    """The table, such as `orders` or `crm.orders`."""
    records: Records
    """From column to value: `[{"name": "Ada", "total": "12.50"}]`."""
    database: str | None = None
    """The database."""


class Created(msgspec.Struct, kw_only=True):
    """What was added."""

    created: int
    ids: list[JsonValue] | None
    """The new primary keys, in the order of the records; a key of several columns is a list."""

    def text(self) -> str:
        """One sentence."""
        ids = "" if self.ids is None else f": {msgspec.json.encode(self.ids).decode()}"
        return f"{_count(self.created)} created{ids}"


async def create_records(call: Call[Database], arguments: CreateRecords) -> Created:
    """Adds records to a table: all of them, or none if one does not fit. Returns the new primary keys."""

    def bind(seen: View) -> list[Record]:
        if seen.reach is not None and not seen.table.primary_key:
            raise _no_key(seen)
        return [_bind(seen, record, f"records[{place}]") for place, record in enumerate(arguments.records)]

    seen, records = await _plan(call, arguments.table, "create", bind)
    for place, record in enumerate(records):
        _require_key(seen, record, f"records[{place}]")

    def work(connection: Connection) -> list[Key]:
        keys = [_insert(connection, seen, record) for record in records]
        _check(connection, seen, keys)
        return keys

    keys = await _commit(call, seen, work)
    known = bool(seen.table.primary_key) and seen.opens(seen.table.primary_key)
    known = known and all(None not in key for key in keys)
    columns = [seen.table.columns[name] for name in seen.table.primary_key]
    return Created(created=len(keys), ids=[_present(columns, key) for key in keys] if known else None)


class UpdateRecords(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to change in which records of a table."""

    table: str
    """The table, such as `orders` or `crm.orders`."""
    values: dict[str, JsonValue]
    """New values, the same for every record: `{"status": "paid", "paid_at": null}`."""
    ids: Ids | None = None
    """Primary keys: `[7, 8]`, or of several columns `[["pen", "DE"]]`."""
    filter: str = ""
    """Instead of ids, as in query_table: every record that it matches."""
    database: str | None = None
    """The database."""


class Updated(msgspec.Struct, kw_only=True):
    """What was changed."""

    updated: int

    def text(self) -> str:
        """One sentence."""
        return f"{_count(self.updated)} updated"


async def update_records(call: Call[Database], arguments: UpdateRecords) -> Updated:
    """Changes records of a table, named by ids or by a filter: all of them, or none."""

    def bind(seen: View) -> tuple[Record, list[list[Condition]]]:
        return _bind(seen, arguments.values, "values"), _targets(
            seen, arguments.ids, arguments.filter, attributes_of(call.principal)
        )

    seen, (values, targets) = await _plan(call, arguments.table, "update", bind)
    changed = sa.update(seen.table.sql).values(values)

    def work(connection: Connection) -> int:
        if seen.reach is None:
            return sum(connection.execute(changed.where(*target)).rowcount for target in targets)
        keys = _lock(connection, seen, targets)
        for condition in _with_keys(seen, keys):
            connection.execute(changed.where(condition))
        _check(connection, seen, [_after(seen, key, values) for key in keys])
        return len(keys)

    return Updated(updated=await _commit(call, seen, work))


class DeleteRecords(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which records of which table."""

    table: str
    """The table, such as `orders` or `crm.orders`."""
    ids: Ids | None = None
    """Primary keys: `[7, 8]`, or of several columns `[["pen", "DE"]]`."""
    filter: str = ""
    """Instead of ids, as in query_table: every record that it matches."""
    database: str | None = None
    """The database."""


class Deleted(msgspec.Struct, kw_only=True):
    """What was deleted."""

    deleted: int

    def text(self) -> str:
        """One sentence."""
        return f"{_count(self.deleted)} deleted"


async def delete_records(call: Call[Database], arguments: DeleteRecords) -> Deleted:
    """Deletes records of a table, named by ids or by a filter: all of them, or none. This cannot be undone."""

    def bind(seen: View) -> list[list[Condition]]:
        return _targets(seen, arguments.ids, arguments.filter, attributes_of(call.principal))

    seen, targets = await _plan(call, arguments.table, "delete", bind)
    reach = [] if seen.reach is None else [seen.reach]

    def work(connection: Connection) -> int:
        return sum(connection.execute(sa.delete(seen.table.sql).where(*t, *reach)).rowcount for t in targets)

    return Deleted(deleted=await _commit(call, seen, work))


async def _plan(call: Call[Database], text: str, action: str, bind: Callable[[View], R]) -> tuple[View, R]:
    """The table as the caller sees it, and what `bind` makes of the arguments."""

    def make(seen: View) -> tuple[View, R]:
        if seen.table.name.kind != "table":
            raise InvalidArguments(f"{seen.table.key} is a view; only tables can be changed.")
        return seen, bind(seen)

    with explained(call.source.handle, call.source.name):
        return await plan(call, text, action, make)


async def _commit(call: Call[Database], seen: View, work: Callable[[Connection], R]) -> R:
    try:
        with explained(call.source.handle, call.source.name):
            return await call.source.handle.runner.transaction(work, call.left)
    except Violation as broken:
        raise broken.about(seen.table, seen.columns) from None


def _bind(seen: View, record: Mapping[str, JsonValue], place: str) -> Record:
    """Column → what is bound. Raises a ToolError that names the place."""
    bound: Record = {}
    if not record:
        raise InvalidArguments(f"{place} is empty: give at least one column its value.")
    for name, value in record.items():
        column = seen.known(name)
        if column.generated == "always":
            raise InvalidArguments(f"{place}: {column.name} is generated by the database and cannot be written.")
        if column.name in bound:
            raise InvalidArguments(f"{place} names {column.name} twice.")
        bound[column.name] = _parse(column, value, place)
    return bound


def _parse(column: Column, value: JsonValue, place: str) -> object:
    if value is None:
        return NULL
    try:
        return column.conversion.parse(value)
    except (ValueError, OverflowError):
        raise InvalidArguments(f"{place}: {column.name} takes {column.conversion.noun}.") from None


def _require_key(seen: View, record: Record, place: str) -> None:
    """A primary key that nothing generates must be given; the database's own words for it would be no help."""
    numbered = seen.table.sql.autoincrement_column
    for name in seen.table.primary_key:
        column = seen.table.columns[name]
        if (
            record.get(name, NULL) is NULL
            and column.default is None
            and not column.generated
            and column.sql is not numbered
        ):
            raise InvalidArguments(f"{place} needs a value for its key" + (f" {name}." if seen.opens([name]) else "."))


def _insert(connection: Connection, seen: View, record: Record) -> Key:
    """The new primary key. A null in it means the same as nothing: the database numbers the record."""
    given = {name: value for name, value in record.items() if name not in seen.table.primary_key or value is not NULL}
    result = connection.execute(sa.insert(seen.table.sql).values(given))
    return tuple(result.inserted_primary_key or ())


def _targets(seen: View, ids: list[JsonValue] | None, text: str, attributes: dict[str, str]) -> list[list[Condition]]:
    """The conditions of the statements that reach the records, one after the other."""
    if ids is not None and text.strip():
        raise InvalidArguments("Give ids or filter, not both.")
    if ids is None:
        if conditions := seen.filter(text, attributes):
            return [conditions]
        raise InvalidArguments("Say which records: give ids or filter.")
    keys = read_keys(seen, ids)
    return [[condition] for condition in _with_keys(seen, keys)]


def _present(columns: Sequence[Column], key: Key) -> JsonValue:
    values = [column.conversion.present(value) for column, value in zip(columns, key, strict=True)]
    return values[0] if len(values) == 1 else values


def _with_keys(seen: View, keys: Sequence[Key]) -> Iterator[Condition]:
    return with_keys([seen.table.columns[name] for name in seen.table.row_key], keys)


def _lock(connection: Connection, seen: View, targets: Sequence[Sequence[Condition]]) -> list[Key]:
    """The keys of the rows in reach, which nobody else can change until the end of the transaction."""
    if not seen.table.row_key:
        raise _no_key(seen)
    columns = [seen.table.columns[name].sql for name in seen.table.row_key]
    keys: dict[Key, None] = {}
    for target in targets:
        query = sa.select(*columns).where(*target, cast("Condition", seen.reach)).with_for_update()
        keys.update(dict.fromkeys(tuple(row) for row in connection.execute(query.limit(MOST_CHECKED + 1))))
    if len(keys) > MOST_CHECKED:
        raise TooLarge(f"That would change more than {MOST_CHECKED:,} records; narrow the filter.")
    return list(keys)


def _after(seen: View, key: Key, values: Record) -> Key:
    """The row's key once the values are set."""
    return tuple(values.get(name, part) for name, part in zip(seen.table.row_key, key, strict=True))


def _check(connection: Connection, seen: View, keys: Sequence[Key]) -> None:
    """Every row must be in reach now, or nothing is kept: nobody writes what is not theirs to see."""
    if seen.reach is None:
        return
    found = sum(
        connection.execute(sa.select(sa.func.count()).select_from(seen.table.sql).where(c, seen.reach)).scalar_one()
        for c in _with_keys(seen, keys)
    )
    if found != len(keys):
        raise NotAllowed("A record would be outside of the rows that you may write; nothing was changed.")


def _no_key(seen: View) -> NotAllowed:
    return NotAllowed(f"You may write some rows of {seen.table.key} only, and it has no key to tell them apart.")


def _count(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"
