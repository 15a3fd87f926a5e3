"""Parameters: the places in a statement where the values of one query go, so that queries of one shape share it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from isthmus_db_worker.filter_syntax import Literal


@dataclass(frozen=True)
class Inputs:
    """What queries of one shape differ in."""

    literals: Sequence[Literal] = ()
    """The values in the caller's filter."""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """The caller's own, `id` among them."""
    keys: Sequence[Sequence[object]] = ()
    """The keys of the rows to read."""
    after: Sequence[object] = ()
    """The values of the row that the page before ended with."""


Pick = Callable[[Inputs], object]
"""What is bound; raises a ToolError for a value that does not fit."""


class Parameters:
    """The named parameters of one statement. With inputs given, their values are bound at once instead."""

    def __init__(self, fixed: Inputs | None = None) -> None:
        self._fixed = fixed
        self._start = 0
        self._picks: dict[str, Pick] = {}

    def behind(self, start: int) -> "Parameters":
        """The same, for a filter whose literals begin there among those of several."""
        others = Parameters(self._fixed)
        others._start, others._picks = start, self._picks
        return others

    def add(self, kind: sa.types.TypeEngine[Any], pick: Pick) -> sa.BindParameter[Any]:
        """A parameter of that type."""
        if self._start:
            pick = _behind(self._start, pick)
        if self._fixed is not None:
            return sa.bindparam(None, pick(self._fixed), kind, unique=True)
        name = f"v{len(self._picks)}"
        self._picks[name] = pick
        return sa.bindparam(name, type_=kind, required=True)

    def values(self, inputs: Inputs) -> dict[str, object]:
        """Name → what is bound."""
        return {name: pick(inputs) for name, pick in self._picks.items()}


def _behind(start: int, pick: Pick) -> Pick:
    return lambda inputs: pick(replace(inputs, literals=inputs.literals[start:]))
