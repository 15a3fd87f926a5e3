"""Rows as a result: structured, and as a table of text."""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import msgspec

from isthmus_db_worker.values import JsonValue

BUDGET = 256 * 1024
"""Bytes of one reply, both forms of the rows together."""
FRAME = 4096
"""Bytes of it that are kept for what surrounds the rows."""

_BEGINNINGS = {"", '"', "[", "{", "n", "N"}
"""Of what is JSON in a row of text, unless it is a number, true or false: those read the same."""
_UNCLEAR = re.compile(r"\A(?:null)?\Z|\A[\"\[{]|[\x00-\x1f]| \Z", re.IGNORECASE)
_ODD_NAME = re.compile(r'[\[\],"]')
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Rows(msgspec.Struct, kw_only=True):
    """Rows of a table, in order."""

    MORE: ClassVar[str] = "narrow the query, or go on with LIMIT and OFFSET"
    """How to get those that follow, where no cursor does."""
    columns: list[str]
    """The names of the columns."""
    rows: list[list[JsonValue]]
    """The values, in the order of the columns. Decimals, large integers, dates and bytes (base64) are strings."""
    truncated: bool = False
    """Whether more rows follow."""
    next_cursor: str | None = None
    """Where to go on: the `cursor` of the next call."""
    reason: Literal["limit", "bytes"] | msgspec.UnsetType = msgspec.UNSET
    """Why they are not here: as many as asked for are, or as much as an answer takes."""
    related: dict[str, list[str]] | msgspec.UnsetType = msgspec.UNSET
    """The names of the columns in lists of related rows, by the dotted name of the relation."""
    cut: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Those of the lists of which some have as many rows as they may have, and would have more."""
    count: int | msgspec.UnsetType = msgspec.UNSET
    """How many rows there are in all."""
    estimated: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether the count is only about right."""
    shortened: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    """What is cut in the first row, which alone was too large for an answer: how many characters it has in all."""

    def text(self) -> str:
        """A header and a line a row, tabs between the values, each as it is. What would not be clear that way is JSON:
        `null`, lists and documents, and in double quotes all text that is empty, reads like any of these, ends with a
        blank, or holds a tab, a line end or another control character. The last lines say whether that is all."""
        return "\n".join(["\t".join(self._header()), *map(row_text, self.rows), *self._notes()])

    def _header(self) -> list[str]:
        """`lines[item,price]` is a column with lists of related rows, each row a list of that."""
        related = {} if self.related is msgspec.UNSET else self.related

        def head(name: str, path: str) -> str:
            inside = related.get(path)
            written = _quoted(name) if _ODD_NAME.search(name) else cell(name)
            return written if inside is None else f"{written}[{','.join(head(n, f'{path}.{n}') for n in inside)}]"

        return [head(name, name) for name in self.columns]

    def _notes(self) -> list[str]:
        count = f"{len(self.rows)} row{'' if len(self.rows) == 1 else 's'}"
        if self.count is not msgspec.UNSET:
            count += f" of {'about ' if self.estimated is True else ''}{self.count}"
        end = "all"
        if self.truncated:
            full = "the answer is full, " if self.reason == "bytes" else ""
            how = self.MORE if self.next_cursor is None else f"cursor {self.next_cursor}"
            end = f"{full}more follow: {how}"
        notes = [f"({count}, {end})"]
        if self.shortened is not msgspec.UNSET:
            lengths = ", ".join(f"{cell(name)} has {length:,} characters" for name, length in self.shortened.items())
            notes.append(f"(the first row is cut where … ends a value: {lengths}; with fewer columns more fits)")
        if self.cut is not msgspec.UNSET:
            notes.append(f"(the longest lists in {', '.join(self.cut)} are cut: raise their limit or query that table)")
        return notes


def row_text(values: Sequence[JsonValue]) -> str:
    """One row of text."""
    return "\t".join(map(cell, values))


def cell(value: JsonValue) -> str:
    """A value in a row of text."""
    if value.__class__ is str:
        if value.isprintable() and value[:1] not in _BEGINNINGS and value[-1] != " ":
            return value
        return _quoted(value) if _UNCLEAR.search(value) else value
    if value is None:
        return "null"
    if value.__class__ is int:
        return str(value)
    return msgspec.json.encode(value).decode()


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def line(words: Sequence[str]) -> str:
    """Words in one line, tabs between them; what would break the line is `\\t`, `\\n` and `\\r`."""
    return "\t".join(word.translate(_ESCAPES) for word in words)


def unique_names(found: Iterable[str]) -> list[str]:
    """The names of columns that a database gives: each has one, and no two have the same."""
    names: list[str] = []
    for place, text in enumerate(found, 1):
        name = text if text not in ("", "?column?") else f"column{place}"
        number, unique = 2, name
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


def size(values: Sequence[JsonValue]) -> int:
    """Bytes that a row takes in a reply: as JSON, and as text within JSON."""
    return len(msgspec.json.encode(values)) + len(msgspec.json.encode(row_text(values))) + 2
