"""What a statement selects: its columns, each once, and how the answer's columns are read from its rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from isthmus.errors import InvalidArguments
from isthmus_db_worker.joining import Joins
from isthmus_db_worker.json_forms import as_is
from isthmus_db_worker.statements import Row
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import MASK, JsonValue

MOST = 1000
"""Columns of an answer."""


@dataclass(frozen=True)
class Output:
    """One column of the answer."""

    name: str
    place: int
    """In the statement's rows; -1: its values are masked."""
    present: Callable[[object], JsonValue]


def presenter(outputs: Sequence[Output]) -> Callable[[Row], list[JsonValue]]:
    """What makes a statement's row one of the answer. What needs no change is not looked at."""
    places = [max(output.place, 0) for output in outputs]
    count = len(places)
    straight = places == list(range(count))
    changes = [_mask if output.place < 0 else output.present for output in outputs]
    changed = [(number, change) for number, change in enumerate(changes) if change is not as_is]

    def present(row: Row) -> list[JsonValue]:
        cells: list[JsonValue] = list(row[:count]) if straight else [row[place] for place in places]
        for number, change in changed:
            cells[number] = change(cells[number])
        return cells

    return present


def _mask(value: object) -> JsonValue:
    del value
    return MASK


class Selection:
    """Gathers the columns of a statement."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.columns: list[sa.ColumnElement[Any]] = []

    def place(self, column: Column, name: str = "") -> int:
        """Where the statement's rows have the column, which may be there under another name, too."""
        name = name or column.name
        if name not in self._places:
            self._places[name] = len(self.columns)
            self.columns.append(column.sql.label(f"c{len(self.columns)}"))
        return self._places[name]

    def outputs(self, joins: Joins, names: Sequence[str] | None) -> list[Output]:
        """The answer's columns; None, or `*` among them, stands for all of the table's own."""
        if names is not None and not names:
            raise InvalidArguments("columns is empty; leave it out for all of them.")
        if names is not None and len(names) > MOST:
            raise InvalidArguments(f"An answer has at most {MOST:,} columns.")
        outputs: list[Output] = []
        for name in names if names is not None else ("*",):
            own = joins.view.columns if name == "*" and "*" not in joins.view.columns else [name]
            outputs += [self._output(joins, each) for each in own]
        return outputs

    def _output(self, joins: Joins, name: str) -> Output:
        column, masked = joins.shown(joins.operand(name))
        return Output(column.name, -1 if masked else self.place(column), column.conversion.present)
