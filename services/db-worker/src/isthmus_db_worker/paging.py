"""A page: the rows of one reply, taken as they come until it is full."""

from collections.abc import Sequence
from typing import Literal

from isthmus_db_worker.rows import FRAME, size
from isthmus_db_worker.selecting import Output
from isthmus_db_worker.statements import Row
from isthmus_db_worker.values import JsonValue


class Page:
    """The rows of one reply."""

    def __init__(self, outputs: Sequence[Output], limit: int, budget: int) -> None:
        """At most `limit` rows, and `budget` bytes."""
        self.rows: list[list[JsonValue]] = []
        self.raw: list[Row] = []
        self.reason: Literal["limit", "bytes"] | None = None
        """Why there are no more of them."""
        self._outputs = outputs
        self._limit = limit
        self._budget = budget - FRAME
        self._room = self._budget

    def take(self, row: Row) -> bool:
        """Adds the row, or returns True when there is no place for it."""
        if len(self.rows) == self._limit:
            self.reason = "limit"
            return True
        presented = [output.of(row) for output in self._outputs]
        self._room -= size(presented)
        if self._room < 0:
            self.reason = "bytes"
            return True
        self.rows.append(presented)
        self.raw.append(row)
        return False

    def weigh(self) -> None:
        """Gives up the rows at the end for which there is no place, now that they have their lists."""
        room = self._budget
        for place, row in enumerate(self.rows):
            room -= size(row)
            if room < 0:
                del self.rows[place:], self.raw[place:]
                self.reason = "bytes"
                return
