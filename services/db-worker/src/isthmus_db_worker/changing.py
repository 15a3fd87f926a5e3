"""From a planned change to its answer: previewed, approved, done and told.

A preview is the change itself, undone again: so it knows what triggers, defaults and constraints make of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.engine import Connection

from isthmus.auditing import MOST_KEYS, Written
from isthmus.errors import Conflict, InvalidArguments
from isthmus.plans import FORM, SECONDS, Shown, agree, id_of
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.dialects import Failure
from isthmus_db_worker.failures import Misfit, Violation, about_record
from isthmus_db_worker.journal import Journal, note_after
from isthmus_db_worker.plans import Statement, check_plan, make_plan
from isthmus_db_worker.previews import Preview, preview_of
from isthmus_db_worker.returning import Returning
from isthmus_db_worker.rows import row_text
from isthmus_db_worker.tables import Column, ForeignKey, Table
from isthmus_db_worker.transactions import transact
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View


class Write(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every tool takes that changes records."""

    table: str
    """Such as `orders` or `crm.orders`."""
    returning: tuple[str, ...] | None = None
    """Columns to return."""
    preview: bool = False
    """Only show what would change."""
    plan: str = ""
    """Of a preview, to do just that."""
    database: str | None = None
    """The database."""


class Unstored(msgspec.Struct, kw_only=True):
    """A record that was left out."""

    record: int
    """Its place among those that were given, from 0."""
    error: str


class Changed(msgspec.Struct, kw_only=True):
    """What was done, or what would be."""

    created: int | msgspec.UnsetType = msgspec.UNSET
    updated: int | msgspec.UnsetType = msgspec.UNSET
    deleted: int | msgspec.UnsetType = msgspec.UNSET
    ids: list[JsonValue] | msgspec.UnsetType | None = msgspec.UNSET
    """The primary keys, in the order of the records; a key of several columns is a list."""
    related: dict[str, dict[str, int]] | msgspec.UnsetType = msgspec.UNSET
    """What was done in other tables."""
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Those that were to be given back."""
    rows: list[list[JsonValue]] | msgspec.UnsetType = msgspec.UNSET
    """What they hold now; of deleted records what they held."""
    truncated: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether rows did not fit the answer; all of them are changed."""
    errors: list[Unstored] | msgspec.UnsetType = msgspec.UNSET
    """The records that were left out."""
    preview: Preview | msgspec.UnsetType = msgspec.UNSET
    """What would be done. Nothing is."""

    def text(self) -> str:
        """A sentence, and rows that were asked for."""
        if self.preview is not msgspec.UNSET:
            told, left = self.preview, self.left_out()
            if not told.changes and not told.cascades:
                return "\n".join(["This call would change nothing: no record is meant.", *left])
            return (
                f"Nothing is changed yet. This call would:\n{told.text()}\n"
                + "".join(f"{line}\n" for line in left)
                + f'To do exactly this, make the same call with plan "{told.plan}" in place of preview, within '
                f"{told.seconds // 60} minutes."
            )
        counts = {"created": self.created, "updated": self.updated, "deleted": self.deleted}
        done = [_done(number, word) for word, number in counts.items() if number is not msgspec.UNSET]
        lines = [", ".join(done)]
        if self.ids is not msgspec.UNSET and self.ids is not None and self.rows is msgspec.UNSET:
            lines[0] += f": {msgspec.json.encode(self.ids).decode()}"
        if self.related is not msgspec.UNSET:
            lines += [
                f"{_done(number, word)} in {table}"
                for table, numbers in self.related.items()
                for word, number in numbers.items()
            ]
        if self.columns is not msgspec.UNSET and self.rows is not msgspec.UNSET:
            lines += [row_text(self.columns), *map(row_text, self.rows)]
        if self.truncated is True:
            lines.append("(the answer is full: more rows were changed than are shown; query_table reads them)")
        return "\n".join([*lines, *self.left_out()])

    def left_out(self) -> list[str]:
        """A line for each record that is."""
        errors = [] if self.errors is msgspec.UNSET else self.errors
        return [f"left out records[{one.record}]: {one.error}" for one in errors]


@dataclass(frozen=True)
class Change:
    """A change as it was planned; running it changes nothing of it, so that it can be run again."""

    statement: Statement
    view: View
    counted: Sequence[str]
    """Which of `create`, `update` and `delete` its answer counts."""
    run: Callable[[Connection, Journal], None]
    """Within a transaction."""
    returning: Returning | None = None
    references: Sequence[ForeignKey] = ()
    """The foreign keys that the caller may know of."""
    tables: Sequence[Table] = ()
    """Those that it stores records in."""
    keyed: bool = False
    """Whether the answer names the keys of the records."""
    tries: int = 1
    """Times that it may meet a record which was not there when it looked."""


class _Undone(Exception):
    """The change was only looked at."""


async def carry_out(call: Call[Database], given: Write, change: Change) -> Changed:
    """Does the change as the source wants it done. Raises ToolErrors."""
    if given.plan:
        check_plan(call, change.statement, given.plan)

    async def show(plan: str) -> Shown[Changed]:
        journal = await _run(call, change, plan, undo=True)
        preview = preview_of(journal, make_plan(call, change.statement, journal), SECONDS)
        changed = Changed(preview=preview, errors=_errors(journal))
        return Shown(changed, preview.plan, "\n".join([preview.text(FORM), *changed.left_out()]))

    agreed = await agree(call, call.source.handle.writes, show, preview=given.preview, plan=given.plan)
    if isinstance(agreed, Changed):
        return agreed
    return _answer(call.source.handle, change, await _run(call, change, agreed))


async def _run(call: Call[Database], change: Change, plan: str, *, undo: bool = False) -> Journal:
    """The journal of the change, which was done, or done and undone."""
    journal = Journal(images=bool(plan) or undo)
    dialect = call.source.handle.dialect

    def work(connection: Connection) -> None:
        nonlocal journal
        journal = Journal(images=bool(plan) or undo)
        if undo and not all(dialect.undoes(connection, table.sql) for table in change.tables):
            raise InvalidArguments(
                "A table of this change keeps what is written even if it is undone, so the change cannot be previewed."
            )
        change.run(connection, journal)
        journal.merge()
        if plan:
            check_plan(call, change.statement, plan, journal)
        if change.returning is not None and change.counted != ("delete",):
            journal.returned = change.returning.read(connection, [key for key in journal.roots if key is not None])
        if undo:
            dialect.settle(connection)
            for entry in journal.entries:
                note_after(connection, entry)
            raise _Undone

    for left in reversed(range(change.tries)):
        try:
            await transact(call, work)
            if not undo:
                _put_on_record(call, journal, id_of(plan))
        except _Undone:
            pass
        except Violation as broken:
            if left and broken.diagnosis.failure is Failure.TAKEN:
                continue
            what = about_record(broken.diagnosis, change.view, change.references, change.counted[0])
            raise Conflict(f"{_place(journal)}{what}; nothing was changed.") from None
        except Misfit as misfit:
            raise InvalidArguments(f"{_place(journal)}{misfit.message}") from None
        break
    return journal


def _put_on_record(call: Call[Database], journal: Journal, plan: str) -> None:
    """Tables, keys and counts; what the database did by itself as far as it was looked at."""
    for entry in journal.entries:
        if entry.count:
            table = entry.view.table
            keys = tuple(present_key(table.handle, key) for key in entry.keys[:MOST_KEYS])
            call.wrote(Written(object=table.key, action=entry.action, count=entry.count, keys=keys, plan=plan))
    for (name, action), count in journal.cascades.items():
        call.wrote(Written(object=name, action=action, count=count, plan=plan))


def _place(journal: Journal) -> str:
    return f"{journal.place}: " if journal.place else ""


def _answer(database: Database, change: Change, journal: Journal) -> Changed:
    key = change.view.table.key
    words = {"create": "created", "update": "updated", "delete": "deleted"}
    changed = Changed(errors=_errors(journal))
    for action, word in words.items():
        count = sum(e.count for e in journal.entries if e.action == action and e.view.table.key == key)
        if count or action in change.counted:
            setattr(changed, word, count)
    related: dict[str, dict[str, int]] = {}
    for entry in journal.entries:
        if entry.view.table.key != key and entry.count:
            related.setdefault(entry.view.table.key, {})[words[entry.action]] = entry.count
    changed.related = related or msgspec.UNSET
    if change.keyed:
        changed.ids = _ids(change.view, journal)
    if change.returning is not None:
        changed.columns = change.returning.columns
        changed.rows = change.returning.page(database, journal.returned)
        changed.truncated = len(changed.rows) < len(journal.returned) or msgspec.UNSET
    return changed


def _ids(view: View, journal: Journal) -> list[JsonValue] | None:
    """The keys of the records, null for one that was left out; None where the caller may not know them."""
    table = view.table
    if not table.primary_key or not table.handle or not view.opens(table.primary_key):
        return None
    if any(key is not None and None in key for key in journal.roots):
        return None
    return [None if key is None else present_key(table.handle, key) for key in journal.roots]


def present_key(columns: Sequence[Column], key: Sequence[object]) -> JsonValue:
    """A key as callers have it."""
    values = [column.conversion.present(value) for column, value in zip(columns, key, strict=True)]
    return values[0] if len(values) == 1 else values


def _errors(journal: Journal) -> list[Unstored] | msgspec.UnsetType:
    return [Unstored(record=n, error=text) for n, text in sorted(journal.errors.items())] or msgspec.UNSET


def _done(number: object, word: str) -> str:
    return f"{number} record{'' if number == 1 else 's'} {word}"
