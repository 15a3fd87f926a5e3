"""The order of rows, and the condition for what comes after one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement

from isthmus.errors import InvalidArguments
from isthmus_db_worker.filters import Condition
from isthmus_db_worker.tables import Column
from isthmus_db_worker.visibility import View


@dataclass(frozen=True)
class SortKey:
    """One column that rows are sorted by."""

    column: Column
    descending: bool

    @property
    def sql(self) -> ColumnElement[Any]:
        return self.column.sql.desc() if self.descending else self.column.sql.asc()


@dataclass(frozen=True)
class Order:
    """The columns that rows are sorted by."""

    keys: tuple[SortKey, ...]
    total: bool
    """Whether they tell every row from every other."""


def order_of(view: View, order_by: Sequence[str]) -> Order:
    """The caller's order, with the row's key behind it where the caller may know that."""
    keys: list[SortKey] = []
    for text in order_by:
        column = view.known(text.removeprefix("-").removeprefix("+"))
        if not column.conversion.comparable:
            raise InvalidArguments(f"{column.name} holds {column.type}, which rows cannot be sorted by.")
        if any(key.column.name == column.name for key in keys):
            raise InvalidArguments(f"order_by names {column.name} twice.")
        keys.append(SortKey(column, text.startswith("-")))
    row_key = view.row_key
    named = {key.column.name for key in keys}
    keys += [SortKey(view.columns[name], descending=False) for name in row_key if name not in named]
    return Order(tuple(keys), bool(row_key))


def after(order: Order, values: Sequence[object], *, nulls_sort_high: bool) -> Condition:
    """The rows that come after the one with these values in the order's columns."""
    alternatives: list[Condition] = []
    for index, (key, value) in enumerate(zip(order.keys, values, strict=True)):
        later = _later(key, value, nulls_last=nulls_sort_high != key.descending)
        if later is not None:
            same = [_same(k, v) for k, v in zip(order.keys[:index], values[:index], strict=True)]
            alternatives.append(sa.and_(*same, later))
    return sa.or_(*alternatives) if alternatives else sa.false()


def _later(key: SortKey, value: object, *, nulls_last: bool) -> Condition | None:
    """None: nothing comes later."""
    column = key.column.sql
    if value is None:
        return None if nulls_last else column.is_not(None)
    bound = key.column.bind(value)
    later = column < bound if key.descending else column > bound
    return sa.or_(later, column.is_(None)) if nulls_last and key.column.nullable else later


def _same(key: SortKey, value: object) -> Condition:
    return key.column.sql.is_(None) if value is None else key.column.sql == key.column.bind(value)
