"""Which records a change is about: named by ids or by a filter, and locked until the transaction ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from isthmus.errors import Conflict, InvalidArguments, NotAllowed, NotFound, TooLarge
from isthmus_db_worker.dates import FUNCTIONS
from isthmus_db_worker.filter_syntax import read
from isthmus_db_worker.filters import Condition, compile_filter
from isthmus_db_worker.joining import Joins
from isthmus_db_worker.journal import Entry, Journal, columns_of, note_before
from isthmus_db_worker.keys import Key, read_keys, with_keys
from isthmus_db_worker.parameters import Inputs, Parameters
from isthmus_db_worker.statements import Row
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import Sight

MOST = 10_000
"""Records that one call may change."""


@dataclass(frozen=True)
class Targets:
    """The records that a call names."""

    conditions: tuple[Condition, ...]
    """Those of the statements that find them, one after the other."""
    keys: tuple[Key, ...] | None
    """Their keys, where they are named by ids."""
    versions: tuple[object, ...] | None = None
    """The versions that they must have, one for each key."""


def read_targets(
    sight: Sight, ids: list[JsonValue] | None, text: str, versions: list[JsonValue] | None, attributes: dict[str, str]
) -> Targets:
    """What is named. Raises a ToolError, and Unseen."""
    view = sight.root
    if ids is not None and text.strip():
        raise InvalidArguments("Give ids or filter, not both.")
    if ids is not None:
        keys = read_keys(view, ids)
        conditions = tuple(with_keys([view.table.columns[name] for name in view.row_key], keys))
        return Targets(conditions, tuple(keys), read_versions(view, versions, len(keys)))
    if versions is not None:
        raise InvalidArguments("if_version goes with ids or with records that have their keys.")
    if not text.strip():
        raise InvalidArguments("Say which records: give ids or filter.")
    if not view.readable:
        raise NotAllowed(f"You may not read {view.table.key}, so name its records by ids.")
    return Targets((_condition(sight, text, attributes),), None)


def read_versions(view: View, versions: Sequence[JsonValue] | None, count: int) -> tuple[object, ...] | None:
    """What is bound for the versions that a caller gave, one for each of so many records."""
    if versions is None:
        return None
    column = version_of(view)
    if len(versions) != count:
        raise InvalidArguments(f"if_version takes one version for each record: {count}, not {len(versions)}.")
    try:
        return tuple(None if version is None else column.conversion.parse(version) for version in versions)
    except (ValueError, OverflowError):
        raise InvalidArguments(f"if_version: {column.name} takes {column.conversion.noun}.") from None


def version_of(view: View) -> Column:
    """The column that tells one state of a row from another. Raises InvalidArguments."""
    version = view.table.version
    if version is None or (version.name in view.table.columns and not view.opens([version.name])):
        raise InvalidArguments(
            f"Nothing in {view.table.key} tells the versions of its rows apart; leave if_version out."
        )
    return version


def _condition(sight: Sight, text: str, attributes: Mapping[str, str]) -> Condition:
    """What the filter asks of the table's rows; over related ones by key, so that only the table's own are locked."""
    view, given = sight.root, read(text, FUNCTIONS)
    parameters = Parameters(Inputs(given.literals, attributes))
    joins = Joins(sight, view)
    condition = compile_filter(given, joins.condition, view.dialect, parameters)
    if joins.source is view.table.sql:
        return condition
    if not view.table.handle:
        raise InvalidArguments(f"{view.table.key} has no key, so only its own columns can be used in this filter.")
    other = view.table.sql.alias()
    joins = Joins(sight, view, other)
    parameters = Parameters(Inputs(given.literals, attributes))
    condition = compile_filter(given, joins.condition, view.dialect, parameters)
    own = [column.sql for column in view.table.handle]
    found = sa.select(*(other.c[column.name] for column in view.table.handle)).select_from(joins.source)
    return (own[0] if len(own) == 1 else sa.tuple_(*own)).in_(found.where(condition))


def lock(
    connection: Connection,
    view: View,
    targets: Targets,
    journal: Journal,
    entry: Entry,
    *,
    place: str = "",
    exact: bool = False,
) -> list[Key]:
    """The keys of the records that are there for the caller, which nobody else can change until the end; of a table
    without a key numbers in their place.

    Raises Conflict for one that has another version, NotFound (`exact`) for one that is not there, TooLarge.
    """
    table, rows = view.table, dict[Key, Row]()
    columns = columns_of(table, images=journal.images)
    for condition in targets.conditions:
        query = sa.select(*columns).where(condition, *view.within).order_by(*(column.sql for column in table.handle))
        query = query.limit(MOST + 1 - len(rows)).with_for_update(of=table.sql)
        found: Sequence[Row] = connection.execute(query).all()
        for number, row in enumerate(found):
            rows[tuple(row[: len(table.handle)]) or (number,)] = tuple(row)
    if len(rows) > MOST:
        raise TooLarge(f"That would change more than {MOST:,} records; narrow the filter.")
    keys = list(rows)
    if targets.versions is not None and targets.keys is not None:
        _check_versions(connection, view, targets.keys, targets.versions, place)
    elif exact and targets.keys is not None and len(keys) < len(set(targets.keys)):
        missing = next((key for key in targets.keys if key not in set(keys)), targets.keys[0])
        raise NotFound(f"{place}there is no record {written(missing)} in {table.key} that you may change.")
    if journal.images:
        note_before(entry, rows.values())
    return keys


def _check_versions(
    connection: Connection, view: View, keys: Sequence[Key], versions: Sequence[object], place: str
) -> None:
    version, handle = version_of(view), view.table.handle
    found: dict[Key, object] = {}
    for condition in with_keys(handle, keys):
        query = sa.select(*(column.sql for column in handle), version.sql).where(condition, *view.within)
        rows: Sequence[Row] = connection.execute(query).all()
        found.update((tuple(row[:-1]), row[-1]) for row in rows)
    for key, wanted in zip(keys, versions, strict=True):
        if key not in found:
            raise Conflict(f"{place}record {written(key)} is not there any more; nothing was changed.")
        if version.conversion.present(found[key]) != (None if wanted is None else version.conversion.present(wanted)):
            now = version.conversion.present(found[key])
            raise Conflict(
                f"{place}record {written(key)} was changed meanwhile: its {version.name} is {now} now; nothing was "
                "changed. Read it again."
            )


def written(key: Key) -> str:
    """A key in a sentence."""
    return ", ".join(str(part) for part in key)
