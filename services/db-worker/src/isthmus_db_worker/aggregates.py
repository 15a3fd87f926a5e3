"""Aggregates, exact on every engine: decimals never become floats, and nulls never count.

A statement has three layers. The innermost has a row for each row that counts, with what rows are grouped by and what
is aggregated; the second groups them; the third, which others build, filters, sorts and cuts the groups like any table.
So no expression stands twice in one layer, as engines that compare what is selected with what is grouped by want it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy import func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from isthmus.errors import InvalidArguments
from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.filters import Condition
from isthmus_db_worker.json_forms import present
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import BOOLEAN, BYTES, IDENTIFIER, INTEGER, UNSIGNED, JsonValue

Function = Literal["count", "count_distinct", "sum", "avg", "min", "max", "median", "percentile"]

DIGITS = 16
"""Of an average, behind the decimal point."""
FINEST = 6
"""Digits of a percentile's fraction, behind the decimal point."""

_DOUBLE: sa.types.TypeEngine[float] = sa.Double()

Sql = sa.ColumnElement[Any]
Kind = Literal["whole", "decimal", "float", "other"]


class Sum(FunctionElement[Any]):
    """Σ x of whole numbers."""

    inherit_cache = True
    name = "isthmus_sum"


class ExactSum(Sum):
    """Σ x of decimals."""

    inherit_cache = True


class Average(FunctionElement[Any]):
    """Σ x / count, rounded half away from zero."""

    inherit_cache = True
    name = "isthmus_average"


class Weighed(FunctionElement[Any]):
    """Σ x · weight / whole: x, the weights, a power of ten, and its reciprocal."""

    inherit_cache = True
    name = "isthmus_weighed"


@compiles(Sum)
def _sum(element: Sum, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.sum(*element.clauses), **options)


@compiles(Sum, "mssql")
def _sum_mssql(element: Sum, compiler: SQLCompiler, **options: Any) -> str:
    """Its sums have the type of what they add up."""
    return compiler.process(func.sum(sa.cast(_only(element), sa.Numeric(38, 0))), **options)


@compiles(ExactSum)
@compiles(ExactSum, "mssql")
def _exact_sum(element: ExactSum, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.sum(*element.clauses), **options)


@compiles(ExactSum, "sqlite")
def _exact_sum_sqlite(element: ExactSum, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.exact_sum(*element.clauses), **options)


@compiles(Average)
def _average(element: Average, compiler: SQLCompiler, **options: Any) -> str:
    return _divided(element, compiler, sa.Numeric(65, 30), **options)


@compiles(Average, "mssql")
@compiles(Average, "oracle")
def _average_38(element: Average, compiler: SQLCompiler, **options: Any) -> str:
    """Decimals have 38 digits there."""
    return _divided(element, compiler, sa.Numeric(38, DIGITS), **options)


@compiles(Average, "sqlite")
def _average_sqlite(element: Average, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.exact_avg(*element.clauses), **options)


def _divided(element: Average, compiler: SQLCompiler, kind: sa.Numeric[Decimal], **options: Any) -> str:
    """A quotient has as many digits as what is divided, at least."""
    x = _only(element)
    total = sa.cast(func.sum(x), kind)
    return compiler.process(func.round(total.op("/")(func.count(x)), _number(DIGITS)), **options)


@compiles(Weighed)
def _weighed(element: Weighed, compiler: SQLCompiler, **options: Any) -> str:
    """The part first: whole numbers become decimals before they grow."""
    x, weight, _, part = element.clauses
    return compiler.process(func.sum(x * part * weight), **options)


@compiles(Weighed, "sqlite")
def _weighed_sqlite(element: Weighed, compiler: SQLCompiler, **options: Any) -> str:
    x, weight, whole, _ = element.clauses
    return compiler.process(func.exact_weighed(x, weight, whole), **options)


class Groups:
    """The two inner layers of one statement. What rows are grouped by is added before what is aggregated."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._numbers = dialect.conversion(sa.Numeric())
        self._numeric = dialect.column_type(sa.Numeric())
        self._keys: list[Sql] = []
        self._taken_keys: list[Sql] = []
        self._inner: list[sa.Label[Any]] = []
        self._outer: list[sa.Label[Any]] = []

    def key(self, column: Column) -> Column:
        """Groups by the column: what that is in the third layer."""
        taken = self._take(column.sql)
        self._keys.append(column.sql)
        self._taken_keys.append(taken)
        return self._give(taken, column, column.sql.type)

    def rows(self, name: str, condition: Condition | None) -> Column:
        """How many rows there are, or those of them that the condition holds for."""
        counted = func.count() if condition is None else func.count(self._take(sa.case((condition, 1))))
        return self._count(name, counted)

    def aggregate(
        self, function: Function, column: Column, name: str, condition: Condition | None, fraction: Decimal
    ) -> Column:
        """A function of a column. Raises InvalidArguments where the column's type has no such thing."""
        if function in ("sum", "avg", "median", "percentile") and column.number is not None:
            column = replace(column, sql=column.number, number=None, conversion=self._numbers)
        kind = self._kind(column)
        self._check(function, column, kind)
        value = column.sql if condition is None else sa.case((condition, column.sql))
        named = replace(column, name=name, nullable=True, number=None)
        if function in ("median", "percentile"):
            return self._percentile(value, kind, named, fraction)
        taken = self._take(value)
        match function:
            case "count":
                return self._count(name, func.count(taken))
            case "count_distinct":
                return self._count(name, func.count(sa.distinct(taken)))
            case "sum" | "avg" if kind == "float":
                as_double = sa.cast(taken, _DOUBLE)
                return self._float(func.sum(as_double) if function == "sum" else func.avg(as_double), named)
            case "sum" if kind == "whole":
                conversion = replace(self._numbers, present=_present_whole)
                return self._give(Sum(taken), replace(named, type="NUMERIC", conversion=conversion), self._numeric)
            case "sum":
                return self._exact(ExactSum(taken), named, present)
            case "avg":
                return self._exact(Average(taken), named, _present_short)
            case _:
                extreme = func.min(taken) if function == "min" else func.max(taken)
                return self._give(extreme, named, column.sql.type)

    def grouped(self, source: sa.FromClause, conditions: Sequence[Condition]) -> sa.Subquery:
        """Both layers, of these rows."""
        rows = sa.select(*(self._inner or [_number(1).label("x")]))
        rows = rows.select_from(source).where(*conditions).subquery("counted")
        return sa.select(*self._outer).select_from(rows).group_by(*self._taken_keys).subquery("grouped")

    def _take(self, expression: Sql) -> Sql:
        """An expression of the first layer, as it stands in the second."""
        label = f"x{len(self._inner)}"
        self._inner.append(expression.label(label))
        return sa.column(label, expression.type)

    def _give(self, expression: Sql, column: Column, kind: sa.types.TypeEngine[Any]) -> Column:
        """An expression of the second layer as a column of the third."""
        label = f"y{len(self._outer)}"
        self._outer.append(expression.label(label))
        return replace(column, sql=sa.column(label, kind), number=None)

    def _count(self, name: str, counted: Sql) -> Column:
        column = Column(
            name, "BIGINT", nullable=False, default=None, comment="", generated="", conversion=INTEGER, sql=counted
        )
        return self._give(counted, column, sa.BigInteger())

    def _float(self, figure: Sql, column: Column) -> Column:
        kind = _DOUBLE
        conversion = self._dialect.conversion(kind)
        return self._give(figure, replace(column, type="DOUBLE", conversion=conversion), kind)

    def _exact(self, figure: Sql, column: Column, shown: Callable[[object], JsonValue]) -> Column:
        conversion = replace(self._dialect.exact_conversion, present=shown)
        given = self._give(figure, replace(column, type="NUMERIC", conversion=conversion), self._numeric)
        return replace(given, sql=self._dialect.exact(given.sql))

    def _percentile(self, value: Sql, kind: Kind, column: Column, fraction: Decimal) -> Column:
        """The value at a place between the first and the last: of numbers, in proportion between its two neighbours;
        of others the lower one.

        With n values the place is fraction · (n - 1), counted in parts of a value so that all of it is whole numbers.
        """
        whole = 10 ** max(0, -cast("int", fraction.normalize().as_tuple().exponent))
        parts = int(fraction * whole)
        nulls_last = sa.case((value.is_(None), _number(1)), else_=_number(0))
        keys = self._keys or None
        place = self._take(func.row_number().over(partition_by=keys, order_by=[nulls_last, value]))
        count = self._take(func.count(value).over(partition_by=keys))
        taken = self._take(value)
        places, counted = sa.cast(place, sa.BigInteger()), sa.cast(count, sa.BigInteger())
        ahead = _number(parts) * (counted - _number(1)) - _number(whole) * (places - _number(1))
        if kind == "other":
            lower = sa.case((sa.and_(ahead >= _number(0), ahead < _number(whole)), taken))
            return self._give(func.max(lower), column, value.type)
        near = sa.and_(ahead > _number(-whole), ahead < _number(whole))
        weight = sa.case((near, _number(whole) - func.abs(ahead)))
        if kind == "float":
            return self._float(func.sum((sa.cast(taken, _DOUBLE) * weight).op("/")(_number(whole))), column)
        part = sa.literal_column(format(1 / Decimal(whole), "f"), sa.Numeric())
        return self._exact(Weighed(taken, weight, _number(whole), part), column, _present_short)

    def _kind(self, column: Column) -> Kind:
        parse = column.conversion.parse

        def is_like(kind: sa.types.TypeEngine[Any]) -> bool:
            return parse is self._dialect.conversion(kind).parse

        if is_like(sa.Integer()) or parse is UNSIGNED.parse:
            return "whole"
        if is_like(sa.Float()):
            return "float"
        return "decimal" if parse is self._numbers.parse else "other"

    def _check(self, function: Function, column: Column, kind: Kind) -> None:
        if function == "count" or (function == "count_distinct" and column.conversion.comparable):
            return
        if function in ("sum", "avg") and kind == "other":
            raise InvalidArguments(f"{function} takes numbers; {column.name} holds {column.type}.")
        if column.number is not None:
            raise InvalidArguments(
                f"{column.name} is in JSON, where a value may be a number or text: take sum, avg, median or "
                "percentile, which leave out what is no number."
            )
        unordered = column.conversion.parse in (BOOLEAN.parse, BYTES.parse, IDENTIFIER.parse)
        if unordered or not column.conversion.comparable:
            raise InvalidArguments(f"{column.name} holds {column.type}, of which there is no {function}.")


def _only(element: FunctionElement[Any]) -> Sql:
    (x,) = element.clauses
    return x


def _number(value: int) -> Sql:
    """In the statement itself: it belongs to its shape."""
    return sa.literal_column(str(value), sa.BigInteger())


def _present_whole(value: object) -> JsonValue:
    return present(int(value) if isinstance(value, Decimal) and value.is_finite() else value)


def _present_short(value: object) -> JsonValue:
    """Without zeros at the end, which say nothing of how exact the value is."""
    text = present(value)
    return (
        text.rstrip("0").rstrip(".") if isinstance(text, str) and isinstance(value, Decimal) and "." in text else text
    )
