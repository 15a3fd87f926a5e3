"""A page: the rows of one reply, taken as they come until it is full."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from isthmus.errors import TooLarge
from isthmus_db_worker.rows import FRAME, size
from isthmus_db_worker.statements import Row
from isthmus_db_worker.values import JsonValue

LEAST_CELL = 5
"""Bytes of the shortest value, as JSON and as text within JSON; a text takes two more for each of its characters."""
MOST = 11
"""How many times the least a row may take, with control characters and long floats in it."""
SHORTEST = 64
"""Characters that a value may always have."""
ELLIPSIS = "…"

_LONG = {str, list, msgspec.Raw}
"""The classes of values that may be long."""


class Page:
    """The rows of one reply."""

    def __init__(self, present: Callable[[Row], list[JsonValue]], limit: int, budget: int) -> None:
        """At most `limit` rows, and `budget` bytes."""
        self.rows: list[list[JsonValue]] = []
        self.raw: list[Row] = []
        self.reason: Literal["limit", "bytes"] | None = None
        """Why there are no more of them."""
        self._present = present
        self._limit = limit
        self._budget = budget - FRAME
        self._least = 0
        self._width = 0

    def take(self, row: Row) -> bool:
        """Adds the row, or returns True when there is no place for it."""
        if len(self.rows) == self._limit:
            self.reason = "limit"
            return True
        cells = self._present(row)
        self._width = len(cells)
        self._least += _least(cells)
        if self._least > self._budget and self.rows:
            self.reason = "bytes"
            return True
        self.rows.append(cells)
        self.raw.append(row)
        return False

    def weigh(self, *, grown: bool = False) -> dict[int, int]:
        """Gives up the rows at the end for which there is no place after all. `grown`: lists were added to them.

        Where not even the first has a place, its longest values are cut: where they are, and how many characters they
        have. Raises TooLarge when that does not help.
        """
        if not self.rows or (not grown and self._least * MOST <= self._budget):
            return {}
        cut = self._shorten(self.rows[0])
        if _at_most(self.rows) <= self._budget:
            return cut
        room = self._budget
        for place, row in enumerate(self.rows):
            room -= size(row)
            if room < 0:
                del self.rows[place:], self.raw[place:]
                self.reason = "bytes"
                break
        if not self.rows:
            raise TooLarge("One row alone is larger than an answer may be: ask for fewer columns or related rows.")
        return cut

    def _shorten(self, row: list[JsonValue]) -> dict[int, int]:
        if self._fits(row):
            return {}
        whole = row[: self._width]
        texts = [_as_text(value) for value in whole]
        low, high = SHORTEST, self._budget
        while high - low > SHORTEST:
            longest = (low + high) // 2
            row[: self._width] = map(_cut, whole, texts, [longest] * len(whole))
            low, high = (longest, high) if self._fits(row) else (low, longest)
        row[: self._width] = map(_cut, whole, texts, [low] * len(whole))
        return {place: len(text) for place, text in enumerate(texts) if len(text) > low}

    def _fits(self, row: list[JsonValue]) -> bool:
        return _least(row) <= self._budget and size(row) <= self._budget


def _cut(value: JsonValue, text: str, longest: int) -> JsonValue:
    return text[:longest] + ELLIPSIS if len(text) > longest else value


def _least(cells: Sequence[JsonValue]) -> int:
    """Bytes that a row takes at least, as JSON and as text."""
    least = LEAST_CELL * len(cells)
    for value in cells:
        if value.__class__ in _LONG:
            least += 2 * len(value if value.__class__ is not list else msgspec.json.encode(value))
    return least


def _at_most(rows: list[list[JsonValue]]) -> int:
    """Bytes that rows take at most, as JSON and as text: what the one escapes, the other may escape again."""
    encoded = msgspec.json.encode(rows)
    return 2 * len(encoded) + encoded.count(b'"') + encoded.count(b"\\") + len(rows) * len(rows[0])


def _as_text(value: JsonValue) -> str:
    """What can be cut; numbers and the like are short."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if isinstance(value, msgspec.Raw | list) else ""
