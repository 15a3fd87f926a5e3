"""What a statement selects: its columns, each once, and how the answer's columns are read from its rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from isthmus.errors import InvalidArguments
from isthmus_db_worker.joining import Joins
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

    def of(self, row: Row) -> JsonValue:
        """Its value."""
        return MASK if self.place < 0 else self.present(row[self.place])


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
