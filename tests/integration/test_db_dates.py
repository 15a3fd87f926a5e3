"""Parts of dates: the same on every engine as in Python's calendar."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql, oracle

from databases import Shop
from isthmus_db_worker.dates import FUNCTIONS, DatePart

pytest_plugins = ["database_fixtures"]

START = datetime.fromisoformat("1999-12-27T22:59:58")
MOMENTS = [START + timedelta(days=41 * n, hours=5 * n, seconds=n) for n in range(250)]
"""28 years, with every weekday, month and hour."""

CALENDAR: dict[str, Callable[[datetime], Any]] = {
    "year": lambda at: at.year,
    "quarter": lambda at: f"{at.year}-Q{(at.month + 2) // 3}",
    "month": lambda at: f"{at:%Y-%m}",
    "week": lambda at: (at - timedelta(days=at.weekday())).date().isoformat(),
    "day": lambda at: at.date().isoformat(),
    "hour": lambda at: f"{at:%Y-%m-%dT%H}",
    "quarter_of_year": lambda at: (at.month + 2) // 3,
    "month_of_year": lambda at: at.month,
    "week_of_year": lambda at: at.isocalendar().week,
    "day_of_month": lambda at: at.day,
    "day_of_week": lambda at: at.isoweekday(),
    "hour_of_day": lambda at: at.hour,
}


@pytest.fixture
def moments(shop: Shop) -> Shop:
    """A table of moments and dates."""
    moment = {"sqlite": "datetime", "postgresql": "timestamp", "mariadb": "datetime"}[shop.engine]
    zoned = {"sqlite": "datetime", "postgresql": "timestamptz", "mariadb": "timestamp null"}[shop.engine]
    rows = ", ".join(f"({n}, '{at}', '{at}', '{at.date()}')" for n, at in enumerate(MOMENTS))
    if shop.engine == "postgresql":
        shop.execute("set time zone 'UTC'")
    shop.execute(
        f"create table moments (id integer primary key, at {moment}, zoned {zoned}, day date);\n"
        f"insert into moments values {rows};\ninsert into moments values (9999, null, null, null)"
    )
    return shop


async def test_parts_are_those_of_the_calendar(moments: Shop) -> None:
    names = sorted(FUNCTIONS)
    assert set(CALENDAR) == FUNCTIONS
    columns = ["id", *(f"{name}(at)" for name in names), *(f"{name}(day)" for name in names if "hour" not in name)]
    outcome = await moments.call("query_table", table="moments", columns=columns, order_by=["id"], limit=1000)
    assert outcome.value["columns"] == columns
    expected = [
        [n, *(CALENDAR[name](at) for name in names), *(CALENDAR[name](at) for name in names if "hour" not in name)]
        for n, at in enumerate(MOMENTS)
    ]
    assert outcome.rows == [*expected, [9999, *([None] * (len(columns) - 1))]]


async def test_rows_are_filtered_and_sorted_by_parts(moments: Shop) -> None:
    def ids(keep: Callable[[datetime], bool]) -> list[list[int]]:
        return [[n] for n, at in enumerate(MOMENTS) if keep(at)]

    cases: list[tuple[str, Callable[[datetime], bool]]] = [
        ("year(at) = 2004", lambda at: at.year == 2004),
        ("month(at) in ('2001-02', '2005-07')", lambda at: f"{at:%Y-%m}" in ("2001-02", "2005-07")),
        ("day_of_week(moments.at) > 5 and year(day) < 2002", lambda at: at.isoweekday() > 5 and at.year < 2002),
        ("quarter(at) between '2010-Q2' and '2010-Q3'", lambda at: at.year == 2010 and at.month in range(4, 10)),
    ]
    for text, keep in cases:
        assert await moments.query(table="moments", columns=["id"], filter=text, order_by=["id"], limit=500) == ids(
            keep
        )
    first = await moments.query(table="moments", columns=["id"], order_by=["-year(at) nulls last", "id"], limit=1)
    assert first == [[next(n for n, at in enumerate(MOMENTS) if at.year == MOMENTS[-1].year)]]
    months = await moments.query(table="moments", columns=["month_of_year(at)"], distinct=True)
    assert sorted(row[0] for row in months if row[0]) == list(range(1, 13))


async def test_a_moment_with_a_time_zone_counts_in_utc(moments: Shop) -> None:
    names = ["hour(zoned)", "day(zoned)", "year(zoned)", "day_of_week(zoned)"]
    first = await moments.query(table="moments", columns=names, filter="id = 0")
    assert first == [["1999-12-27T22", "1999-12-27", 1999, 1]]
    if moments.engine != "mariadb":  # whose moments come without a zone
        moments.execute("insert into moments (id, zoned) values (10000, '2024-12-31 21:30:00-05:00')")
        late = await moments.query(table="moments", columns=names, filter="id = 10000")
        assert late == [["2025-01-01T02", "2025-01-01", 2025, 3]]


async def test_infinity_has_no_parts(postgresql_shop: Shop) -> None:
    postgresql_shop.execute("create table terms (ends date);\ninsert into terms values ('infinity'), ('2024-05-06')")
    rows = await postgresql_shop.query(table="terms", columns=["year(ends)", "month(ends)"], order_by=["year(ends)"])
    assert rows == [[2024, "2024-05"], [None, None]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("month(at) = 3", "month(at) is compared with a month such as '2024-03'; month_of_year is 1 to 12"),
        ("month(id) = '2024-03'", "month(…) takes a date or a moment; id holds INTEGER"),
        ("century(at) = 20", "century(…) is not allowed here. Of functions there are day, "),
        ("month(at, day) = '2024-03'", "month(…) takes one column"),
    ],
)
async def test_what_has_no_parts_is_refused_with_a_sentence(moments: Shop, text: str, sentence: str) -> None:
    outcome = await moments.call("query_table", table="moments", filter=text)
    assert outcome.error == "invalid_arguments"
    assert sentence in outcome.text


@pytest.mark.parametrize("dialect", [mssql.dialect(), oracle.dialect()], ids=["mssql", "oracle"])
def test_other_dialects_can_write_them_without_a_parameter(dialect: sa.Dialect) -> None:
    for name in FUNCTIONS:
        part = DatePart(name, sa.column("at", sa.DateTime()))
        written = sa.select(part).group_by(part).compile(dialect=dialect)
        assert not written.params
        assert "at" in str(written)


@pytest.mark.parametrize(
    ("dialect", "kind", "written"),
    [
        (mssql.dialect(), mssql.DATETIMEOFFSET(), "switchoffset(at, '+00:00')"),
        (oracle.dialect(), oracle.TIMESTAMP(timezone=True), "sys_extract_utc("),
    ],
    ids=["mssql", "oracle"],
)
def test_other_dialects_reckon_in_utc(dialect: sa.Dialect, kind: sa.DateTime, written: str) -> None:
    for name in FUNCTIONS:
        assert written in str(sa.select(DatePart(name, sa.column("at", kind))).compile(dialect=dialect))
