"""Statements: what SQLAlchemy built for one shape of a query, run many times with other values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

Values = Mapping[str, object]
"""Name of a parameter → what is bound. What the statement itself holds needs no name."""

Process = Callable[[Any], object]
Row = Sequence[object]

K = TypeVar("K")
T = TypeVar("T")


class Compiled:
    """A statement as a driver takes it."""

    def __init__(self, select: sa.Select[Any], dialect: sa.Dialect) -> None:
        compiled = select.compile(dialect=dialect)
        self.text = compiled.string
        self.is_final = not (compiled.post_compile_params or compiled.literal_execute_params)
        """Whether the text is the same for all values."""
        self._fixed: Mapping[str, object] = compiled.params
        self._names: Sequence[str] = compiled.positiontup or list(self._fixed)
        types = {name: parameter.type for parameter, name in compiled.bind_names.items()} if self.is_final else {}
        self._bound = _processes(types, lambda kind: kind.dialect_impl(dialect).bind_processor(dialect))
        self._columns = [column.type.dialect_impl(dialect) for column in select.selected_columns]
        self._dialect = dialect
        self._fetched: dict[int, Process] | None = None

    def in_order(self, values: Values) -> list[object]:
        """What is bound, as the text's parameters stand: a name may stand there more than once."""
        picked = self.parameters(values)
        return [picked[name] for name in self._names]

    def parameters(self, values: Values) -> dict[str, object]:
        """What is bound, by name."""
        picked = {name: values[name] if name in values else self._fixed[name] for name in self._names}
        for name, process in self._bound.items():
            picked[name] = process(picked[name])
        return picked

    def rows(self, rows: Sequence[Row], codes: Sequence[object]) -> Sequence[Row]:
        """What SQLAlchemy makes of the driver's values; `codes` are the driver's for the types of the columns."""
        if self._fetched is None:
            types = dict(enumerate(zip(self._columns, codes, strict=False)))
            self._fetched = _processes(types, lambda kind: kind[0].result_processor(self._dialect, kind[1]))
        if not self._fetched:
            return rows
        kept = self._fetched
        return [[value if n not in kept else kept[n](value) for n, value in enumerate(row)] for row in rows]


class Statement:
    """A SELECT. A runner that compiles it by itself keeps the result here, as long as the statement lives."""

    def __init__(self, select: sa.Select[Any]) -> None:
        self.select = select
        self.slow_until = 0.0
        """On the monotonic clock: until then it is not worth a try to be quick."""
        self._compiled: Compiled | None = None

    def compiled(self, dialect: sa.Dialect) -> Compiled:
        """As the driver of its database takes it."""
        if self._compiled is None:
            self._compiled = Compiled(self.select, dialect)
        return self._compiled


def _processes(types: Mapping[K, T], of: Callable[[T], Process | None]) -> dict[K, Process]:
    """Only those that do something."""
    return {key: process for key, kind in types.items() if (process := of(kind)) is not None}
