"""Figures: what is asked of groups of rows, by a function or by the name of a metric."""

from collections.abc import Sequence
from typing import Annotated, get_args

import msgspec

from isthmus.errors import InvalidArguments, near
from isthmus.tools import Call
from isthmus_db_worker.aggregates import Function
from isthmus_db_worker.database import Database
from isthmus_db_worker.table_lines import metrics
from isthmus_db_worker.tables import TableName
from isthmus_db_worker.visibility import view_for

FUNCTION_NAMES: tuple[str, ...] = get_args(Function)
CALLS = frozenset(FUNCTION_NAMES)
"""`having` may say `sum(total)` for the aggregate that is that."""


class Aggregate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One figure of each group. The function is one of aggregates.py, or a metric of the table."""

    function: str
    column: str = ""
    alias: str = ""
    filter: str = ""
    fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    @property
    def name(self) -> str:
        """What it is called in the answer, in `having` and in `order_by`."""
        if self.alias or not self.column:
            return self.alias or self.function
        function = self.function if self.fraction is None else f"p{self.fraction * 100:.6g}"
        return "".join(sign if sign.isalnum() else "_" for sign in f"{function}_{self.column}").rstrip("_")

    @property
    def call(self) -> str:
        """As SQL writes it, where that says all; empty: it does not."""
        return f"{self.function}({self.column})" if self.column and not self.filter and self.fraction is None else ""


async def resolved(call: Call[Database], name: TableName, wanted: Sequence[Aggregate]) -> tuple[Aggregate, ...]:
    """With what metrics stand for in their place. Raises InvalidArguments for what has no such name."""
    for aggregate in wanted:
        if aggregate.alias and not aggregate.alias.isidentifier():
            raise InvalidArguments(f"{aggregate.alias[:64]!r} cannot be an alias: use letters, digits and underscores.")
    if not wanted:
        return (Aggregate("count"),)
    if all(aggregate.function in CALLS for aggregate in wanted):
        return tuple(wanted)
    view = await view_for(call, name, "read")
    known = {} if view is None else metrics(view)

    def resolve(aggregate: Aggregate) -> Aggregate:
        if aggregate.function in CALLS:
            return aggregate
        if (metric := known.get(aggregate.function)) is None:
            raise InvalidArguments(
                f"{aggregate.function[:64]} is no function, nor a metric of {name.key}."
                f"{near(aggregate.function, [*CALLS, *known])} Functions are {', '.join(FUNCTION_NAMES)}."
            )
        if aggregate.column or aggregate.filter or aggregate.fraction is not None:
            raise InvalidArguments(f"{aggregate.function} is a metric, {metric.formula()}: give it an alias at most.")
        return Aggregate(metric.function, metric.column, aggregate.alias or aggregate.function, metric.filter)

    return tuple(resolve(aggregate) for aggregate in wanted)
