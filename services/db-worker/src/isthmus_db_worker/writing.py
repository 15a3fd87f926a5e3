"""create_records, update_records, upsert_records and delete_records: each is one transaction."""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
from sqlalchemy.engine import Connection

from isthmus.errors import InvalidArguments, ToolError
from isthmus.tools import Call
from isthmus_db_worker.altering import change_all, delete_all, expect
from isthmus_db_worker.batches import save_each
from isthmus_db_worker.cascading import cascades_of
from isthmus_db_worker.changing import Change, Changed, Write, carry_out
from isthmus_db_worker.database import Database
from isthmus_db_worker.dialects import Diagnosis
from isthmus_db_worker.failures import about_record, explained
from isthmus_db_worker.filters import attributes_of
from isthmus_db_worker.journal import Journal
from isthmus_db_worker.keys import Key, with_keys
from isthmus_db_worker.plans import Statement
from isthmus_db_worker.records import MOST, Action, Node, Reader, Record, Records, bind, no_key
from isthmus_db_worker.returning import Returning, plan_returning
from isthmus_db_worker.saving import Saver
from isthmus_db_worker.tables import ForeignKey, Table
from isthmus_db_worker.targets import Targets, read_targets, read_versions
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import Sight, find_table, follows, plan_on

R = TypeVar("R")

TRIES = 4
"""Of an upsert whose record somebody else creates at the same time."""

Ids = Annotated[list[JsonValue], msgspec.Meta(min_length=1, max_length=MOST)]


class CreateRecords(Write):
    """What to add to which table."""

    records: Records
    """With related ones by the relation's name: `[{"total": "12.50", "customer": {"name": "Ada"}, "order_lines":
    [{"item": "pen"}]}]`."""
    continue_: bool = msgspec.field(name="continue", default=False)
    """Leave out what fails."""


class UpdateRecords(Write):
    """What to change in which records of a table."""

    values: dict[str, JsonValue] | None = None
    """The same for every record: `{"status": "paid", "paid_at": null}`."""
    ids: Ids | None = None
    """Primary keys: `[7, 8]`, or of several columns `[["pen", "DE"]]`."""
    filter: str = ""
    """Instead of ids, as in query_table."""
    records: Records | None = None
    """Instead of all three: each with its key and own values."""
    if_version: list[JsonValue] | None = None
    """The version that each must have."""
    continue_: bool = msgspec.field(name="continue", default=False)
    """Leave out what fails."""


class UpsertRecords(Write):
    """What to store in which table."""

    records: Records
    """As in create_records."""
    key: tuple[str, ...] = ()
    """Unique columns to find records by, instead of the primary key."""
    continue_: bool = msgspec.field(name="continue", default=False)
    """Leave out what fails."""


class DeleteRecords(Write):
    """Which records of which table."""

    ids: Ids | None = None
    """Primary keys: `[7, 8]`, or of several columns `[["pen", "DE"]]`."""
    filter: str = ""
    """Instead of ids, as in query_table."""
    if_version: list[JsonValue] | None = None
    """The version that each must have."""
    continue_: bool = msgspec.field(name="continue", default=False)
    """Leave out what fails."""


async def create_records(call: Call[Database], arguments: CreateRecords) -> Changed:
    """Adds records to a table, with related ones: all or none. Returns the new primary keys."""
    return await _store(call, arguments, "create", arguments.records, None, each=arguments.continue_)


async def update_records(call: Call[Database], arguments: UpdateRecords) -> Changed:
    """Changes records of a table, named by ids, a filter or their own keys: all or none."""
    given = arguments
    if given.records is not None:
        if given.values is not None or given.ids is not None or given.filter.strip():
            raise InvalidArguments("Give records, or values with ids or filter, not both.")
        return await _store(call, given, "update", given.records, given.if_version, each=given.continue_)
    if given.values is None:
        raise InvalidArguments("Say what to change: give values, or records with their keys.")
    values = given.values

    def make(sight: Sight) -> tuple[View, Record, Targets, Returning | None]:
        stored = bind(sight.root, values, "values")
        return sight.root, stored, _targets(call, sight, given), plan_returning(sight, given.returning)

    (view, stored, targets, returning), references = await _planned(call, given, "update", make)

    def one(connection: Connection, journal: Journal, target: Targets) -> list[Key]:
        return change_all(connection, journal, view, target, stored)

    run = _runner(call, view, targets, references, one, "update", each=given.continue_)
    statement = _statement("update_records", view, given)
    change = Change(statement, view, ("update",), run, returning, references, (view.table,))
    return await carry_out(call, given, change)


async def upsert_records(call: Call[Database], arguments: UpsertRecords) -> Changed:
    """Creates the records that are not in a table, and changes those that are: all or none."""
    return await _store(call, arguments, "upsert", arguments.records, None, each=arguments.continue_)


async def delete_records(call: Call[Database], arguments: DeleteRecords) -> Changed:
    """Deletes records of a table, named by ids or a filter: all or none. This cannot be undone."""
    given = arguments

    def make(sight: Sight) -> tuple[View, Targets, Returning | None]:
        return sight.root, _targets(call, sight, given), plan_returning(sight, given.returning)

    (view, targets, returning), references = await _planned(call, given, "delete", make)
    with explained(call.source.handle, call.source.name):
        cascades = await cascades_of(call, view.table.key)

    def one(connection: Connection, journal: Journal, target: Targets) -> list[Key]:
        return delete_all(connection, journal, view, target, cascades, returning)

    run = _runner(call, view, targets, references, one, "delete", each=given.continue_)
    tables = [view.table, *(cascade.table for some in cascades.values() for cascade in some)]
    statement = _statement("delete_records", view, given)
    return await carry_out(call, given, Change(statement, view, ("delete",), run, returning, references, tables))


async def _store(
    call: Call[Database],
    given: CreateRecords | UpdateRecords | UpsertRecords,
    action: Action,
    records: Records,
    if_version: list[JsonValue] | None,
    *,
    each: bool,
) -> Changed:
    """What the three tools that take records have in common."""
    database = call.source.handle

    def make(sight: Sight) -> tuple[View, list[Node | ToolError], tuple[object, ...] | None, Returning | None]:
        view = sight.root
        match = _match(view, given.key) if isinstance(given, UpsertRecords) else ()
        nodes = Reader(sight, action, match).read(records, each=each)
        versions = read_versions(view, if_version, len(nodes))
        return view, nodes, versions, plan_returning(sight, given.returning)

    (view, nodes, versions, returning), references = await _planned(
        call, given, "update" if action == "update" else "create", make
    )

    def run(connection: Connection, journal: Journal) -> None:
        if not each:
            every = [node for node in nodes if not isinstance(node, ToolError)]
            if versions is not None:
                expect(connection, journal, view, every, versions)
            journal.roots += [saved.key or None for saved in Saver(database, connection, journal).save(every)]
            return

        def save(place: int, node: Node) -> Key:
            if versions is not None:
                expect(connection, journal, view, [node], [versions[place]])
            return Saver(database, connection, journal).save([node])[0].key

        save_each(database, connection, journal, nodes, save, _explanation(view, references, action))

    counted = {"create": ("create",), "update": ("update",), "upsert": ("create", "update")}[action]
    tables = {t.key: t for node in nodes if isinstance(node, Node) for t in _tables(node)}
    change = Change(
        _statement(f"{action}_records", view, given),
        view,
        counted,
        run,
        returning,
        references,
        list(tables.values()),
        keyed=action != "update",
        tries=TRIES if action == "upsert" and not each else 1,
    )
    return await carry_out(call, given, change)


async def _planned(
    call: Call[Database], given: Write, action: str, make: Callable[[Sight], R]
) -> tuple[R, list[ForeignKey]]:
    """What `make` makes of the table as the caller sees it, and the foreign keys that the caller may know of."""
    with explained(call.source.handle, call.source.name):
        name, access = await find_table(call, given.table, action)
        if name.kind != "table":
            raise InvalidArguments(f"{name.key} is a view; only tables can be changed.")
        made = await plan_on(call, name, action, access, make)
        references = await call.source.handle.catalog.references()
        return made, [key for key in references if follows(call.granted, key)]


def _match(view: View, names: Sequence[str]) -> tuple[str, ...]:
    """The columns that tell whether a record is there."""
    match = tuple(view.known(name).name for name in names)
    keys = [key for key in (view.table.primary_key, *view.table.unique_keys) if key and view.opens(key)]
    if match and set(match) not in [set(key) for key in keys]:
        known = " or ".join(" and ".join(key) for key in keys) or "nothing that you may use"
        raise InvalidArguments(f"{' and '.join(match)} is not unique in {view.table.key}; {known} is.")
    if match and not all(view.table.columns[name].conversion.comparable for name in match):
        raise InvalidArguments(f"{' and '.join(match)} cannot be compared, so no record is found by it.")
    return match


def _targets(call: Call[Database], sight: Sight, given: UpdateRecords | DeleteRecords) -> Targets:
    view = sight.root
    targets = read_targets(sight, given.ids, given.filter, given.if_version, attributes_of(call.principal))
    if view.within and not view.table.handle and isinstance(given, UpdateRecords):
        raise no_key(view)
    if given.continue_ and targets.keys is None:
        raise InvalidArguments("continue goes with ids or records; what a filter matches is changed as a whole.")
    return targets


def _runner(
    call: Call[Database],
    view: View,
    targets: Targets,
    references: Sequence[ForeignKey],
    one: Callable[[Connection, Journal, Targets], list[Key]],
    action: str,
    *,
    each: bool,
) -> Callable[[Connection, Journal], None]:
    """Changes what is named at once, or `each` by itself."""

    def run(connection: Connection, journal: Journal) -> None:
        if not each or targets.keys is None:
            journal.roots += one(connection, journal, targets)
            return
        singles: list[Targets | ToolError] = []
        for n, key in enumerate(targets.keys):
            versions = None if targets.versions is None else (targets.versions[n],)
            singles.append(Targets(tuple(with_keys(view.table.handle, [key])), (key,), versions))

        def save(place: int, target: Targets) -> Key:
            del place
            keys = one(connection, journal, target)
            return keys[0] if keys else ()

        save_each(call.source.handle, connection, journal, singles, save, _explanation(view, references, action))

    return run


def _explanation(view: View, references: Sequence[ForeignKey], action: str) -> Callable[[Diagnosis], str]:
    return lambda diagnosis: about_record(diagnosis, view, references, action)


def _statement(tool: str, view: View, given: Write) -> Statement:
    same = msgspec.structs.replace(given, preview=False, plan="", database=None, table="")
    return Statement(tool, view.table.key, same)


def _tables(node: Node) -> list[Table]:
    inner = [other for _, other in node.pointed] + [other for _, others in node.pointing for other in others]
    return [node.view.table, *(table for other in inner for table in _tables(other))]
