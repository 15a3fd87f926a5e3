"""Statements: what SQLAlchemy built for one shape of a query, run many times with other values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

Values = Mapping[str, object]
"""Name of a parameter → what is bound. What the statement itself holds needs no name."""

Process = Callable[[Any], object]


class Compiled:
    """A statement as a driver takes it."""

    def __init__(self, select: sa.Select[Any], dialect: sa.Dialect) -> None:
        compiled = select.compile(dialect=dialect)
        self.text = compiled.string
        self.is_final = not (compiled.post_compile_params or compiled.literal_execute_params)
        """Whether the text is the same for all values."""
        self._names: Sequence[str] = compiled.positiontup or ()
        self._fixed: Mapping[str, object] = compiled.params
        types = {name: compiled.binds[name].type for name in self._names} if self.is_final else {}
        self._bound = _processes(types, lambda kind: kind.dialect_impl(dialect).bind_processor(dialect))
        columns = dict(enumerate(column.type for column in select.selected_columns))
        self._fetched = _processes(columns, lambda kind: kind.dialect_impl(dialect).result_processor(dialect, None))

    def parameters(self, values: Values) -> list[object]:
        """What is bound, in the order of the text's parameters."""
        picked = [(name, values[name] if name in values else self._fixed[name]) for name in self._names]
        return [value if name not in self._bound else self._bound[name](value) for name, value in picked]

    def row(self, row: Sequence[object]) -> Sequence[object]:
        """What SQLAlchemy makes of the driver's values."""
        if not self._fetched:
            return row
        return [value if place not in self._fetched else self._fetched[place](value) for place, value in enumerate(row)]


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


def _processes(
    types: Mapping[Any, sa.types.TypeEngine[Any]], of: Callable[[sa.types.TypeEngine[Any]], Process | None]
) -> dict[Any, Process]:
    """Only those that do something."""
    return {key: process for key, kind in types.items() if (process := of(kind)) is not None}
