"""Parts of dates, the same on every engine: `month(placed_at)` is `2024-03`, `month_of_year(placed_at)` is 3.

A moment with a time zone counts in UTC. PostgreSQL's infinity has no parts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from isthmus.errors import InvalidArguments
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import INTEGER, TEXT

Sql = sa.ColumnElement[Any]


@dataclass(frozen=True)
class _Part:
    noun: str
    """What it is compared with."""
    kind: sa.types.TypeEngine[Any]


_TEXT, _WHOLE = sa.Text(), sa.Integer()
_PARTS = {
    "year": _Part("a year such as 2024", _WHOLE),
    "quarter": _Part("a quarter such as '2024-Q1'; quarter_of_year is 1 to 4", _TEXT),
    "month": _Part("a month such as '2024-03'; month_of_year is 1 to 12", _TEXT),
    "week": _Part("the Monday of a week such as '2024-03-25'; week_of_year is 1 to 53", _TEXT),
    "day": _Part("a day such as '2024-03-31'; day_of_month is 1 to 31", _TEXT),
    "hour": _Part("an hour such as '2024-03-31T12'; hour_of_day is 0 to 23", _TEXT),
    "quarter_of_year": _Part("1 to 4", _WHOLE),
    "month_of_year": _Part("1 to 12", _WHOLE),
    "week_of_year": _Part("a week of ISO 8601, 1 to 53", _WHOLE),
    "day_of_month": _Part("1 to 31", _WHOLE),
    "day_of_week": _Part("1 (Monday) to 7", _WHOLE),
    "hour_of_day": _Part("0 to 23", _WHOLE),
}
FUNCTIONS = frozenset(_PARTS)
"""Their names."""


class DatePart(FunctionElement[Any]):
    """A part of a date or moment, which every dialect writes in its own way."""

    inherit_cache = True
    name = "date_part"

    def __init__(self, part: str, moment: Sql) -> None:
        self.part = part
        self.type = _PARTS[part].kind
        super().__init__(sa.literal_column(f"'{part}'"), moment)

    @property
    def moment(self) -> Sql:
        """What it is a part of."""
        return list(self.clauses)[1]


def date_part(part: str, column: Column) -> Column:
    """The part as a column. Raises InvalidArguments for a column that holds no dates."""
    if not column.conversion.noun.startswith("a date") and column.conversion is not TEXT:
        raise InvalidArguments(f"{part}(…) takes a date or a moment; {column.name} holds {column.type}.")
    known = _PARTS[part]
    whole = known.kind is _WHOLE
    return replace(
        column,
        name=f"{part}({column.name})",
        type="INTEGER" if whole else "TEXT",
        conversion=replace(INTEGER if whole else TEXT, noun=known.noun),
        sql=DatePart(part, column.sql),
        number=None,
        nullable=True,
    )


def _text(value: str) -> Sql:
    """In the statement itself: engines compare what is grouped by with what is selected, and parameters differ."""
    return sa.literal_column(f"'{value}'", sa.Text())


def _as_whole(value: Sql) -> Sql:
    return sa.cast(value, sa.Integer())


def _word(name: str) -> Sql:
    return sa.literal_column(name)


def _count(number: int) -> Sql:
    return sa.literal_column(str(number), sa.Integer())


def _strftime(part: str, moment: Sql, *modifiers: str) -> Sql:
    """A number as SQLite writes it."""
    return _as_whole(func.strftime(_text(part), moment, *map(_text, modifiers)))


def _days(moment: Sql) -> Sql:
    """SQL Server's, since a Monday."""
    return func.datediff(_word("day"), _word(_MONDAY), moment, type_=sa.Integer())


_POSTGRESQL: dict[str, Callable[[Sql], Sql]] = {
    "year": lambda x: _as_whole(sa.extract("year", x)),
    "quarter": lambda x: func.to_char(x, _text('YYYY"-Q"Q')),
    "month": lambda x: func.to_char(x, _text("YYYY-MM")),
    "week": lambda x: func.to_char(func.date_trunc(_text("week"), x), _text("YYYY-MM-DD")),
    "day": lambda x: func.to_char(x, _text("YYYY-MM-DD")),
    "hour": lambda x: func.to_char(x, _text('YYYY-MM-DD"T"HH24')),
    "quarter_of_year": lambda x: _as_whole(sa.extract("quarter", x)),
    "month_of_year": lambda x: _as_whole(sa.extract("month", x)),
    "week_of_year": lambda x: _as_whole(sa.extract("week", x)),
    "day_of_month": lambda x: _as_whole(sa.extract("day", x)),
    "day_of_week": lambda x: _as_whole(sa.extract("isodow", x)),
    "hour_of_day": lambda x: _as_whole(func.date_part(_text("hour"), x)),
}
_MYSQL: dict[str, Callable[[Sql], Sql]] = {
    "year": lambda x: func.year(x),
    "quarter": lambda x: func.concat(func.year(x), _text("-Q"), func.quarter(x)),
    "month": lambda x: func.date_format(x, _text("%Y-%m")),
    "week": lambda x: func.date_format(func.subdate(x, func.weekday(x)), _text("%Y-%m-%d")),
    "day": lambda x: func.date_format(x, _text("%Y-%m-%d")),
    "hour": lambda x: func.date_format(x, _text("%Y-%m-%dT%H")),
    "quarter_of_year": lambda x: func.quarter(x),
    "month_of_year": lambda x: func.month(x),
    "week_of_year": lambda x: func.week(x, _word("3")),
    "day_of_month": lambda x: func.dayofmonth(x),
    "day_of_week": lambda x: func.weekday(x, type_=sa.Integer()) + _count(1),
    "hour_of_day": lambda x: func.hour(x),
}
_SQLITE: dict[str, Callable[[Sql], Sql]] = {
    "year": lambda x: _strftime("%Y", x),
    "quarter": lambda x: func.strftime(_text("%Y-Q"), x).op("||")(sa.cast(_SQLITE["quarter_of_year"](x), sa.Text())),
    "month": lambda x: func.strftime(_text("%Y-%m"), x),
    "week": lambda x: func.date(x, _text("weekday 0"), _text("-6 days")),
    "day": lambda x: func.date(x),
    "hour": lambda x: func.strftime(_text("%Y-%m-%dT%H"), x),
    "quarter_of_year": lambda x: (_strftime("%m", x) + _count(2)) // _count(3),
    "month_of_year": lambda x: _strftime("%m", x),
    "week_of_year": lambda x: (_strftime("%j", x, "-3 days", "weekday 4") - _count(1)) // _count(7) + _count(1),
    "day_of_month": lambda x: _strftime("%d", x),
    "day_of_week": lambda x: (_strftime("%w", x) + _count(6)) % _count(7) + _count(1),
    "hour_of_day": lambda x: _strftime("%H", x),
}
_MONDAY = "cast('00010101' AS date)"
"""The first one: no number of days from it is negative."""
_MSSQL: dict[str, Callable[[Sql], Sql]] = {
    "year": lambda x: func.datepart(_word("year"), x),
    "quarter": lambda x: func.concat(func.datepart(_word("year"), x), _text("-Q"), func.datepart(_word("quarter"), x)),
    "month": lambda x: func.convert(_word("varchar(7)"), x, _word("126")),
    "week": lambda x: func.convert(
        _word("varchar(10)"),
        func.dateadd(_word("day"), _days(x) // _count(7) * _count(7), _word(_MONDAY)),
        _word("126"),
    ),
    "day": lambda x: func.convert(_word("varchar(10)"), x, _word("126")),
    "hour": lambda x: func.convert(_word("varchar(13)"), x, _word("126")),
    "quarter_of_year": lambda x: func.datepart(_word("quarter"), x),
    "month_of_year": lambda x: func.datepart(_word("month"), x),
    "week_of_year": lambda x: func.datepart(_word("iso_week"), x),
    "day_of_month": lambda x: func.datepart(_word("day"), x),
    "day_of_week": lambda x: _days(x) % _count(7) + _count(1),
    "hour_of_day": lambda x: func.datepart(_word("hour"), x),
}
_ORACLE: dict[str, Callable[[Sql], Sql]] = {
    "year": lambda x: sa.extract("year", x),
    "quarter": lambda x: func.to_char(x, _text('YYYY"-Q"Q')),
    "month": lambda x: func.to_char(x, _text("YYYY-MM")),
    "week": lambda x: func.to_char(func.trunc(x, _text("IW")), _text("YYYY-MM-DD")),
    "day": lambda x: func.to_char(x, _text("YYYY-MM-DD")),
    "hour": lambda x: func.to_char(x, _text('YYYY-MM-DD"T"HH24')),
    "quarter_of_year": lambda x: func.to_number(func.to_char(x, _text("Q"))),
    "month_of_year": lambda x: sa.extract("month", x),
    "week_of_year": lambda x: func.to_number(func.to_char(x, _text("IW"))),
    "day_of_month": lambda x: sa.extract("day", x),
    "day_of_week": lambda x: (
        func.trunc(x, type_=sa.Integer()) - func.trunc(x, _text("IW"), type_=sa.Integer()) + _count(1)
    ),
    "hour_of_day": lambda x: func.to_number(func.to_char(x, _text("HH24"))),
}
_ENGINES = {
    "mariadb": _MYSQL,
    "mssql": _MSSQL,
    "mysql": _MYSQL,
    "oracle": _ORACLE,
    "postgresql": _POSTGRESQL,
    "sqlite": _SQLITE,
}
_TO_UTC: dict[str, Callable[[Sql], Sql]] = {
    "mssql": lambda x: func.switchoffset(x, _text("+00:00")),
    "oracle": lambda x: func.sys_extract_utc(x),
}
"""Where a session in UTC does not do it."""


@compiles(DatePart)
def _compile(element: DatePart, compiler: SQLCompiler, **options: Any) -> str:
    engine = compiler.dialect.name
    if engine not in _ENGINES:
        raise InvalidArguments(f"{element.part}(…) is not known for this engine; leave it out.")
    moment = element.moment
    if engine in _TO_UTC and _has_zone(moment.type):
        moment = _TO_UTC[engine](moment)
    part = _ENGINES[engine][element.part](moment)
    if engine == "postgresql" and isinstance(moment.type, sa.Date | sa.DateTime):
        part = sa.case((func.isfinite(moment), part))
    return compiler.process(part, **options)


def _has_zone(kind: sa.types.TypeEngine[Any]) -> bool:
    return bool(getattr(kind, "timezone", False)) or type(kind).__name__ == "DATETIMEOFFSET"
