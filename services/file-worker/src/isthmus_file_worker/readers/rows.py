"""Rows that fit an answer: as JSON, and as lines of text with tabs between the values."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from isthmus_file_worker.readers.messages import JsonValue, Rows

WIDEST = 1000
"""Columns in an answer."""
FRAME = 4096
"""Bytes of the budget that are kept for what surrounds the rows."""
LONGEST_NAME = 200
"""Characters of a column's name."""

_BEGINNINGS = ('"', "[", "{")
_UNCLEAR = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


def cell(value: JsonValue) -> str:
    """A value in a line: text as it is, all else as JSON, and in double quotes text that would read like that."""
    if isinstance(value, str):
        plain = value and not value.startswith(_BEGINNINGS) and value.lower() != "null" and not value.endswith(" ")
        return value if plain and not _UNCLEAR.search(value) else msgspec.json.encode(value).decode()
    return "null" if value is None else msgspec.json.encode(value).decode()


def line(values: Sequence[JsonValue]) -> str:
    """One row of text."""
    return "\t".join(map(cell, values))


def unique_names(found: Iterable[JsonValue]) -> tuple[list[str], bool]:
    """Names of columns: each has one, no two the same; and whether they are other than those found."""
    names: list[str] = []
    taken: dict[str, int] = {}
    changed = False
    for place, value in enumerate(found, 1):
        name = unique = "" if value is None else str(value).strip()[:LONGEST_NAME]
        if not name:
            name = unique = f"column{place}"
        number = taken.get(name, 1)
        while unique in taken:
            number += 1
            unique = f"{name}_{number}"
        taken[name] = number
        taken.setdefault(unique, 1)
        changed = changed or (value is not None and str(value).strip() != unique) or value is None
        names.append(unique)
    return names, changed


@dataclass
class Collected:
    """Rows as they are found, while they fit."""

    budget: int
    limit: int
    rows: list[list[JsonValue]] = field(default_factory=list[list[JsonValue]])
    more: bool = False
    shortened: bool = False
    room: int = field(init=False)

    def __post_init__(self) -> None:
        self.room = self.budget - FRAME

    def head(self, names: Sequence[str]) -> None:
        """Leaves room for the names of the columns."""
        self.room -= _bytes(list(names))

    def add(self, row: list[JsonValue]) -> bool:
        """Whether it was taken; if not, there is more than the answer holds. The first row is cut if it must be."""
        if len(self.rows) >= self.limit:
            self.more = True
            return False
        size = _bytes(row)
        if size > self.room:
            if self.rows:
                self.more = True
                return False
            row, self.shortened = _shortened(row, self.room), True
            size = _bytes(row)
        self.rows.append(row)
        self.room -= size
        return True


def collect(rows: Iterator[list[JsonValue]], names: Sequence[str], budget: int, limit: int) -> Collected:
    """As many as fit."""
    kept = Collected(budget, limit)
    kept.head(names)
    for row in rows:
        if not kept.add(row):
            break
    return kept


def answer(
    names: list[str],
    kept: Collected,
    notes: list[str],
    *,
    total: int | None = None,
    sheet: str | None = None,
    sheets: list[str] | None = None,
) -> Rows:
    """What was collected, as the answer."""
    if kept.shortened:
        notes = [*notes, "The first row is too large for an answer, so its long values are cut where they end with …."]
    return Rows(columns=names, rows=kept.rows, more=kept.more, total=total, sheet=sheet, sheets=sheets, notes=notes)


def _bytes(row: list[JsonValue]) -> int:
    """That a row takes in an answer: as JSON, and as text within JSON."""
    return len(msgspec.json.encode(row)) + len(msgspec.json.encode(line(row))) + 2


def _shortened(row: list[JsonValue], room: int) -> list[JsonValue]:
    """Each long value cut to the same length, so that it all fits: a character takes 14 bytes at worst."""
    most = max((room - 32 * len(row)) // (14 * max(len(row), 1)), 1)
    cut: list[JsonValue] = []
    for value in row:
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        cut.append(value if len(text) <= most else text[:most] + "…")
    return cut
