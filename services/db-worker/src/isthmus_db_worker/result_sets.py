"""What a routine gives back: single values by name, and rows in any number of sets, within one answer's budget."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import msgspec

from isthmus.errors import TooLarge
from isthmus_db_worker.paging import Page
from isthmus_db_worker.rows import FRAME, Rows, cell, size
from isthmus_db_worker.statements import Row
from isthmus_db_worker.values import JsonValue

MOST = 20
"""Sets in one answer."""
LEAST = 2 * FRAME
"""Bytes without which another set is not begun."""

Present = Callable[[object], JsonValue]


class ResultSet(Rows, kw_only=True):
    """Rows that a routine gave back."""

    MORE: ClassVar[str] = "raise limit, or ask for less by the arguments"


class Called(msgspec.Struct, kw_only=True):
    """What a routine gave back."""

    output: dict[str, JsonValue]
    """The values of its out and inout arguments; of a function that returns one value that, as `result`."""
    result_sets: list[ResultSet]
    """The rows of a table function, or those that a procedure selects, set by set."""
    truncated: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether there are more rows, or more sets; left out where there are not."""
    shortened: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    """Values of `output` that were too large for an answer and are cut: how many characters they have in all."""

    def text(self) -> str:
        """A line a value, then set after set."""
        lengths: dict[str, int] = {} if self.shortened is msgspec.UNSET else self.shortened
        lines = [f"{cell(name)} = {cell(value)}" for name, value in self.output.items()]
        lines += [f"({cell(name)} is cut where it ends in …: it has {n:,} characters)" for name, n in lengths.items()]
        parts = ["\n".join(lines)] if lines else []
        parts += [rows.text() for rows in self.result_sets]
        if self.truncated is True and not any(rows.truncated for rows in self.result_sets):
            parts.append("(more result sets follow, which have no place here)")
        return "\n\n".join(parts) or "Done; nothing was returned."


class Gathering:
    """Takes values and rows as they come, until the answer is full."""

    def __init__(self, limit: int, budget: int, kept: int = 0) -> None:
        """At most `limit` rows in each set, and `budget` bytes in all, of which so many are kept for values that come
        behind the rows."""
        self.called = Called(output={}, result_sets=[])
        self.limit = limit
        """Rows in each set."""
        self._left = budget - kept
        self._kept = kept

    def output(self, names: Sequence[str], presents: Sequence[Present], row: Row) -> None:
        """The single values."""
        page = Page(_presenter(presents), 1, self._left + self._kept)
        page.take(row)
        cut = page.weigh()
        self._left -= max(0, size(page.rows[0]) - self._kept)
        self.called.output = dict(zip(names, page.rows[0], strict=True))
        self.called.shortened = {names[place]: length for place, length in cut.items()} or msgspec.UNSET

    def add(self, names: Sequence[str], presents: Sequence[Present], rows: Iterable[Row]) -> None:
        """A set of rows; no more are asked for than have a place."""
        if len(self.called.result_sets) == MOST or self._left < LEAST:
            self.called.truncated = True
            return
        page = Page(_presenter(presents), self.limit, self._left)
        for row in rows:
            if page.take(row):
                break
        try:
            cut = page.weigh()
        except TooLarge:  # what the routine did is done, whatever there is room to show of it
            cut = dict[int, int]()
        self._left -= sum(map(size, page.rows)) + len(msgspec.json.encode(names))
        truncated = page.reason is not None
        self.called.truncated = truncated or self.called.truncated
        self.called.result_sets.append(
            ResultSet(
                columns=list(names),
                rows=page.rows,
                truncated=truncated,
                reason=page.reason or msgspec.UNSET,
                shortened={names[place]: length for place, length in cut.items()} or msgspec.UNSET,
            )
        )


def _presenter(presents: Sequence[Present]) -> Callable[[Row], list[JsonValue]]:
    return lambda row: [present(value) for present, value in zip(presents, row, strict=True)]
