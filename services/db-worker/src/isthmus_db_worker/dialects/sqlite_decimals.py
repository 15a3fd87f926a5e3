"""Decimals in SQLite, which has none: exact aggregates of what its NUMERIC columns hold, as text, and their order.

A float counts as the shortest decimal that means it, which is how it is shown, too: 0.1 and 0.2 make 0.3.
"""

import sqlite3
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Any

from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

COLLATION = "exact"
"""The order of such texts."""
DIGITS = 16
"""Of an average, behind the decimal point."""

_EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation, Overflow])
"""Room for the largest and the smallest float together. What does not fit is an error, and no wrong figure."""
_ROUNDED = Context(prec=1000, rounding=ROUND_HALF_UP, traps=[InvalidOperation, Overflow])
_UNIT = Decimal(1).scaleb(-DIGITS)


class _Sum:
    """Σ value."""

    def __init__(self) -> None:
        self.sum = Decimal(0)
        self.count = 0

    def step(self, value: object) -> None:
        """One row."""
        if value is not None:
            self.sum = _EXACT.add(self.sum, _decimal(value))
            self.count += 1

    def finalize(self) -> str | None:
        """The sum; null of nothing."""
        return _written(self.sum) if self.count else None


class _Average(_Sum):
    """Σ value / count."""

    def finalize(self) -> str | None:
        """The average, rounded."""
        if not self.count:
            return None
        average = _ROUNDED.divide(self.sum, self.count)
        return _written(average.quantize(_UNIT, context=_ROUNDED) if average.is_finite() else average)


class _Weighed(_Sum):
    """Σ value · weight / whole, where the whole is a power of ten."""

    whole = 1

    def step(self, value: object, weight: int | None = None, whole: int = 1) -> None:
        """One row; one without a weight does not count. Text is no number, and in no order with numbers."""
        if isinstance(value, str):
            raise TypeError
        if value is not None and weight is not None:
            self.sum = _EXACT.add(self.sum, _EXACT.multiply(_decimal(value), weight))
            self.count += 1
            self.whole = whole

    def finalize(self) -> str | None:
        """The quotient."""
        return _written(_EXACT.divide(self.sum, self.whole)) if self.count else None


def register(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """Makes them known to a new connection."""
    del entry
    if isinstance(connection, sqlite3.Connection):
        aggregates: list[tuple[str, int, Any]] = [("sum", 1, _Sum), ("avg", 1, _Average), ("weighed", 3, _Weighed)]
        for name, arguments, kind in aggregates:
            connection.create_aggregate(f"exact_{name}", arguments, kind)
        connection.create_collation(COLLATION, _compare)


def text_of(number: Decimal) -> str:
    """As the aggregates write it."""
    if number.is_finite() and number and not -1000 < number.adjusted() < 1000:
        raise ValueError
    return _written(_EXACT.create_decimal(number))


def _decimal(value: object) -> Decimal:
    match value:
        case int() | str():
            return Decimal(value)
        case float():
            return Decimal(repr(value))
        case _:
            raise TypeError


def _written(number: Decimal) -> str:
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _compare(one: str, other: str) -> int:
    """Never raises: SQLite knows no errors of collations."""
    try:
        a, b = Decimal(one), Decimal(other)
        return (a > b) - (a < b)
    except InvalidOperation:
        return (one > other) - (one < other)
