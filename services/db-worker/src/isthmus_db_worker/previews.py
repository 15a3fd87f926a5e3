"""What a change would do, told before it is done."""

from collections.abc import Sequence

import msgspec

from isthmus_db_worker.journal import Entry, Journal
from isthmus_db_worker.rows import cell
from isthmus_db_worker.statements import Row
from isthmus_db_worker.values import MASK, JsonValue
from isthmus_db_worker.views import View

LONGEST = 80
"""Characters of a value."""
COLUMNS = 20
"""Columns of which a preview shows the values."""


class TableChange(msgspec.Struct, kw_only=True):
    """What would become of rows of one table."""

    table: str
    action: str
    """`create`, `update` or `delete`."""
    count: int
    columns: list[str]
    """Those that are shown: the key, and what changes."""
    before: list[list[JsonValue]]
    """The first of the rows as they are; none of what is created."""
    after: list[list[JsonValue]]
    """As they would be, in the same order; none of what is deleted."""

    def lines(self) -> list[str]:
        """As text: a value that changes as `before → after`."""
        lines = [f"{self.action} {_counted(self.count)} of {self.table}"]
        shown = max(len(self.before), len(self.after))
        if not self.columns or not shown:
            return lines
        lines.append("\t".join(cell(name) for name in self.columns))
        if self.action == "update":
            pairs = zip(self.before, self.after, strict=True)
            rows = [[_turn(*values) for values in zip(old, new, strict=True)] for old, new in pairs]
        else:
            rows = [[cell(value) for value in row] for row in self.before or self.after]
        lines += ["\t".join(row) for row in rows]
        return [*lines, f"({shown} of {self.count:,} shown)"] if shown < self.count else lines


class Cascaded(msgspec.Struct, kw_only=True):
    """What the database would change by itself."""

    table: str
    action: str
    count: int


class Preview(msgspec.Struct, kw_only=True):
    """What the call would do."""

    changes: list[TableChange]
    cascades: list[Cascaded]
    plan: str
    """Does exactly this, as an argument of the same call."""
    seconds: int
    """For which the plan holds."""

    def text(self, longest: int | None = None) -> str:
        """Without how to go on; with so many characters at most."""
        lines = [line for change in self.changes for line in change.lines()]
        lines += [f"the database itself would {c.action} {_counted(c.count)} of {c.table}" for c in self.cascades]
        text = "\n".join(lines) or "nothing would change"
        return text if longest is None or len(text) <= longest else f"{text[:longest]}… and more"


def preview_of(journal: Journal, plan: str, seconds: int) -> Preview:
    """From what a change did before it was undone."""
    return Preview(
        changes=[_change(entry) for entry in journal.entries if entry.count],
        cascades=[Cascaded(table=t, action=a, count=n) for (t, a), n in sorted(journal.cascades.items())],
        plan=plan,
        seconds=seconds,
    )


def _change(entry: Entry) -> TableChange:
    view = entry.view
    change = TableChange(table=view.table.key, action=entry.action, count=entry.count, columns=[], before=[], after=[])
    if not view.readable:
        return change
    before, after = list(entry.before.values()), [row for row in entry.after if row is not None]
    if entry.action == "update":
        pairs = [(old, new) for old, new in zip(before, entry.after, strict=False) if new is not None]
        before, after = [old for old, _ in pairs], [new for _, new in pairs]
    places = _places(view, entry, before, after)
    change.columns = [name for name, _ in places]
    change.before = [_present(view, places, row) for row in before]
    change.after = [_present(view, places, row) for row in after]
    return change


def _places(view: View, entry: Entry, before: Sequence[Row], after: Sequence[Row]) -> list[tuple[str, int]]:
    """The columns that are shown, and where the rows have them."""
    key = view.table.row_key
    places: list[tuple[str, int]] = []
    for place, name in enumerate(view.table.columns):
        if name not in view.columns or name in entry.made:
            continue
        match entry.action:
            case "update":
                wanted = name in key or any(old[place] != new[place] for old, new in zip(before, after, strict=True))
            case "create":
                wanted = any(row[place] is not None for row in after)
            case "delete":
                wanted = True
        if wanted:
            places.append((name, place))
    return places[:COLUMNS]


def _present(view: View, places: Sequence[tuple[str, int]], row: Row) -> list[JsonValue]:
    return [MASK if name in view.masked else _cut(view.columns[name].conversion.present(row[n])) for name, n in places]


def _cut(value: JsonValue) -> JsonValue:
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text[:LONGEST] + "…" if len(text) > LONGEST else value


def _turn(old: JsonValue, new: JsonValue) -> str:
    before, after = cell(old), cell(new)
    return before if before == after else f"{before} → {after}"


def _counted(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"
