"""The order of rows, and the condition for what comes after one of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from isthmus.errors import InvalidArguments
from isthmus_db_worker.filters import Condition
from isthmus_db_worker.joining import Joins
from isthmus_db_worker.parameters import Parameters
from isthmus_db_worker.tables import Column

LONGEST = 300
"""Characters of one column to sort by."""
MOST = 32
"""Columns that rows are sorted by, or that tell distinct rows apart."""

_NULLS = re.compile(r"\s+nulls\s+(first|last)\s*$", re.IGNORECASE)
_DIRECTION = re.compile(r"\s+(asc|desc)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class SortKey:
    """One column that rows are sorted by."""

    column: Column
    descending: bool
    nulls_last: bool
    moved: bool
    """Whether the engine itself would put nulls at the other end."""

    @property
    def sql(self) -> list[ColumnElement[Any]]:
        """For ORDER BY. Not every engine has NULLS LAST."""
        column = self.column.sql.desc() if self.descending else self.column.sql.asc()
        if not (self.moved and self.column.nullable):
            return [column]
        return [sa.case((self.column.sql.is_(None), int(self.nulls_last)), else_=int(not self.nulls_last)), column]


@dataclass(frozen=True)
class Order:
    """The columns that rows are sorted by."""

    keys: tuple[SortKey, ...]
    total: bool
    """Whether they tell every row from every other."""

    @property
    def sql(self) -> list[ColumnElement[Any]]:
        """For ORDER BY."""
        return [part for key in self.keys for part in key.sql]


def sort_key(column: Column, text: str, *, nulls_sort_high: bool) -> SortKey:
    """The column, sorted as the text has it: `-total`, `total desc`, `total nulls last`."""
    _, descending, nulls = read_order(text)
    default = nulls_sort_high != descending
    nulls_last = default if nulls is None else nulls == "last"
    return SortKey(column, descending, nulls_last, nulls_last != default)


def read_order(text: str) -> tuple[str, bool, str | None]:
    """The column's name, whether it goes down, and where nulls are to be: `first`, `last` or wherever."""
    nulls = None
    if len(text) > LONGEST:
        raise InvalidArguments(f"A column to sort by has at most {LONGEST} characters.")
    if (found := _NULLS.search(text)) is not None:
        nulls, text = found.group(1).lower(), text[: found.start()]
    descending = text.startswith("-")
    if (found := _DIRECTION.search(text)) is not None:
        descending, text = found.group(1).lower() == "desc", text[: found.start()]
    return text.removeprefix("-").removeprefix("+"), descending, nulls


def order_of(joins: Joins, order_by: Sequence[str], *, distinct: Sequence[Column] | None = None) -> Order:
    """The caller's order, with the row's key behind it where the caller may know that.

    Rows that are all `distinct` in these columns are told apart by them, and can be sorted by nothing else.
    """
    nulls_sort_high = joins.view.dialect.nulls_sort_high
    keys: list[SortKey] = []
    if distinct is not None:
        distinct = list({column.name: column for column in distinct}.values())
    if max(len(order_by), len(distinct or ())) > MOST:
        raise InvalidArguments(f"Rows are sorted, or told apart when distinct, by at most {MOST} columns.")
    for text in order_by:
        column = joins.known(read_order(text)[0])
        if any(key.column.name == column.name for key in keys):
            raise InvalidArguments(f"order_by names {column.name} twice.")
        if distinct is not None and column.name not in {other.name for other in distinct}:
            raise InvalidArguments(
                f"Distinct rows can only be sorted by what is in them: add {column.name} to columns."
            )
        keys.append(sort_key(column, text, nulls_sort_high=nulls_sort_high))
    if distinct is None:
        behind = [joins.known(name) for name in joins.view.row_key]
        total = bool(behind)
    else:
        behind = list(distinct)
        total = all(column.conversion.comparable for column in behind)
    named = {key.column.name for key in keys}
    rest = [column for column in behind if total and column.name not in named]
    keys += [sort_key(column, "", nulls_sort_high=nulls_sort_high) for column in rest]
    return Order(tuple(keys), total)


def after(order: Order, values: Sequence[object], parameters: Parameters) -> Condition:
    """The rows that come after the one with these values in the order's columns; they are the inputs' `after`, and
    only which of them are null counts here."""
    bound = [
        sa.null() if value is None else _parameter(key, place, parameters)
        for place, (key, value) in enumerate(zip(order.keys, values, strict=True))
    ]
    alternatives: list[Condition] = []
    for index, (key, value) in enumerate(zip(order.keys, values, strict=True)):
        later = _later(key, value, bound[index])
        if later is not None:
            same = [_same(k, v, b) for k, v, b in zip(order.keys[:index], values, bound, strict=False)]
            alternatives.append(sa.and_(*same, later))
    return sa.or_(*alternatives) if alternatives else sa.false()


def _parameter(key: SortKey, place: int, parameters: Parameters) -> ColumnElement[Any]:
    return key.column.parameter(parameters, lambda inputs: inputs.after[place])


def _later(key: SortKey, value: object, bound: ColumnElement[Any]) -> Condition | None:
    """None: nothing comes later."""
    column = key.column.sql
    if value is None:
        return None if key.nulls_last else column.is_not(None)
    later = column < bound if key.descending else column > bound
    return sa.or_(later, column.is_(None)) if key.nulls_last and key.column.nullable else later


def _same(key: SortKey, value: object, bound: ColumnElement[Any]) -> Condition:
    return key.column.sql.is_(None) if value is None else key.column.sql == bound
