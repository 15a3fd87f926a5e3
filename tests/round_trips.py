"""Values of every type of every engine, in the form that callers see and send, for tests of the way there and back."""

import base64
import os
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

EXAMPLES = int(os.environ.get("ISTHMUS_EXAMPLES", "0"))
"""How many examples each property is tried with; 0: few, and the same each time."""

FEW_OR_MANY = settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=list(Phase) if EXAMPLES else [Phase.explicit, Phase.generate],
)

Values = SearchStrategy[Any]


@dataclass(frozen=True)
class Kind:
    """A type of column."""

    sql: str
    values: Values
    comparable: bool = True
    """Whether a filter can ask for the value."""


def exact(least: int, most: int) -> Values:
    """Integers, which are texts where not every JSON reader is exact."""
    numbers = st.integers(least, most) | st.sampled_from([least, most, 0])
    return numbers.map(lambda number: number if abs(number) <= 2**53 else str(number))


def decimals(digits: int, places: int) -> Values:
    """Decimals with so many digits before and after the point."""

    def written(number: int) -> str:
        text = f"{abs(number):0{places + 1}}"
        sign = "-" if number < 0 else ""
        return f"{sign}{text[:-places]}.{text[-places:]}" if places else f"{sign}{text}"

    return st.integers(-(10 ** (digits + places)) + 1, 10 ** (digits + places) - 1).map(written)


def floats(*, special: bool) -> Values:
    """Floats with double precision, and those that JSON has no number for."""
    named = st.sampled_from(["NaN", "Infinity", "-Infinity"])
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    return numbers | named if special else numbers


def single(value: float) -> float:
    """The nearest float with single precision."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _shortest(value: float) -> float:
    """The fewest digits that mean a float of single precision."""
    return next(short for n in range(6, 10) if single(short := float(f"{value:.{n}g}")) == value)


SINGLES = st.floats(-(2.0**127), 2.0**127, width=32, allow_subnormal=False).map(_shortest)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "NULL",
        "null",
        "\\N",
        "\\",
        "a\tb\nc\r",
        '"',
        "'",
        "''",
        "[1]",
        "{}",
        "x" * 300,
        "\x1b[0m",
        "😀",
        "%s :a ?",
    ]
)
WORDS = st.text("abcxyzäß", min_size=1, max_size=8)
BYTES = st.binary(max_size=12).map(lambda value: base64.b64encode(value).decode())
DATES = st.dates().map(lambda value: value.isoformat())
MOMENTS = st.datetimes().map(lambda value: value.isoformat())
ZONED = st.datetimes(timezones=st.just(UTC)).map(lambda value: value.isoformat())
TIMES = st.times().map(lambda value: value.isoformat())
IDENTIFIERS = st.uuids().map(str)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value is not None)


def lists(items: Values) -> Values:
    """Arrays of one dimension or two, in which nulls may be."""
    items = st.none() | items
    nested = st.integers(1, 2).flatmap(
        lambda n: st.lists(st.lists(items, min_size=n, max_size=n), min_size=1, max_size=2)
    )
    return st.lists(items, max_size=3) | nested


def _zoned_times() -> Values:
    zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    return st.times(timezones=zones).map(lambda value: value.isoformat())


def _interval(months: int, days: int, microseconds: int) -> str:
    """As PostgreSQL writes it in the style of ISO 8601."""

    def part(number: int, unit: str) -> str:
        return f"{number}{unit}" if number else ""

    def cut(number: int, by: int) -> tuple[int, int]:
        whole, rest = divmod(abs(number), by)
        return (whole, rest) if number >= 0 else (-whole, -rest)

    years, months = cut(months, 12)
    seconds, fraction = cut(microseconds, 1_000_000)
    minutes, seconds = cut(seconds, 60)
    hours, minutes = cut(minutes, 60)
    day = part(years, "Y") + part(months, "M") + part(days, "D")
    written = f"{abs(seconds)}.{abs(fraction):06}".rstrip("0").rstrip(".")
    sign = "-" if microseconds < 0 else ""
    clock = part(hours, "H") + part(minutes, "M") + (f"{sign}{written}S" if seconds or fraction else "")
    return f"P{day}T{clock}" if clock else f"P{day}" if day else "PT0S"


INTERVALS = st.builds(_interval, *[st.integers(-m, m) | st.just(0) for m in (100_000, 100_000, 10**15)])


def _ranges(bounds: Values) -> Values:
    """Ranges of whole steps, as they are written once they are normal."""

    def written(pair: list[Any]) -> str:
        low, high = pair
        return "empty" if low == high else f"[{low},{high})"

    pairs = st.lists(bounds, min_size=2, max_size=2).map(sorted).map(written)
    return pairs | bounds.map(lambda high: f"(,{high})") | st.just("(,)")


ADDRESSES = st.ip_addresses(v=4).map(str) | st.tuples(st.ip_addresses(v=4), st.integers(0, 31)).map(
    lambda pair: f"{pair[0]}/{pair[1]}"
)
POINTS = st.tuples(*[st.integers(-999, 999)] * 2)

POSTGRESQL = [
    Kind("smallint", exact(-(2**15), 2**15 - 1)),
    Kind("integer", exact(-(2**31), 2**31 - 1)),
    Kind("bigint", exact(-(2**63), 2**63 - 1)),
    Kind("oid", exact(0, 2**32 - 1)),
    Kind("numeric(14, 4)", decimals(10, 4)),
    Kind("numeric", decimals(30, 20) | st.sampled_from(["NaN", "Infinity", "-Infinity", "0.000000000000000000001"])),
    Kind("real", SINGLES | st.sampled_from(["NaN", "Infinity", "-Infinity"])),
    Kind("double precision", floats(special=True)),
    Kind("money", decimals(15, 2)),
    Kind("boolean", st.booleans()),
    Kind("text", TEXTS),
    Kind("varchar(300)", TEXTS),
    Kind("char(3)", st.text("abc", min_size=3, max_size=3)),
    Kind("date", DATES | st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "20000-01-01"])),
    Kind("timestamp", MOMENTS | st.sampled_from(["infinity", "0044-03-15 10:00:00 BC", "20000-01-01 00:00:00"])),
    Kind("timestamptz", ZONED | st.sampled_from(["-infinity", "0044-03-15 10:00:00+00 BC", "20000-01-01 00:00:00+00"])),
    Kind("time", TIMES | st.just("24:00:00")),
    Kind("timetz", _zoned_times() | st.just("24:00:00+00")),
    Kind("interval", INTERVALS | st.sampled_from(["infinity", "-infinity"])),
    Kind("uuid", IDENTIFIERS),
    Kind("bytea", BYTES),
    Kind("jsonb", DOCUMENTS, comparable=False),
    Kind("json", DOCUMENTS, comparable=False),
    Kind("mood", st.sampled_from(["glad", "so, so", '"']),),
    Kind("score", st.integers(-(2**31), 9)),
    Kind("document", DOCUMENTS, comparable=False),
    Kind("bit(5)", st.text("01", min_size=5, max_size=5)),
    Kind("bit varying", st.text("01", max_size=70)),
    Kind("inet", ADDRESSES | st.ip_addresses(v=6).map(str).filter(lambda text: "::ffff" not in text)),
    Kind("cidr", st.integers(0, 255).map(lambda part: f"10.{part}.0.0/16")),
    Kind("macaddr", st.binary(min_size=6, max_size=6).map(lambda value: value.hex(":"))),
    Kind("macaddr8", st.binary(min_size=8, max_size=8).map(lambda value: value.hex(":"))),
    Kind("int4range", _ranges(st.integers(-999, 999))),
    Kind("numrange", st.sampled_from(["empty", "(1.50,2]", "[0,)", "(,)"])),
    Kind("daterange", _ranges(DATES)),
    Kind("tstzrange", st.sampled_from(['["2024-01-01 00:00:00+00","2024-02-01 00:00:00+00")', "empty"])),
    Kind("int4multirange", st.sampled_from(["{}", "{[1,3),[5,7)}", "{(,)}"])),
    Kind("tsvector", st.just("'a' 'b':2")),
    Kind("tsquery", st.just("'a' & 'b'")),
    Kind("pg_lsn", st.just("16/B374D848")),
    Kind("point", POINTS.map(lambda p: f"({p[0]},{p[1]})"), comparable=False),
    Kind("polygon", st.just("((0,0),(1,1),(2,0))"), comparable=False),
    Kind("circle", POINTS.map(lambda p: f"<({p[0]},{p[1]}),1.5>"), comparable=False),
    Kind("integer[]", lists(exact(-(2**31), 2**31 - 1)), comparable=False),
    Kind("numeric[]", lists(decimals(20, 3)), comparable=False),
    Kind("text[]", lists(TEXTS), comparable=False),
    Kind("timestamptz[]", lists(ZONED), comparable=False),
    Kind("bytea[]", lists(BYTES), comparable=False),
    Kind("jsonb[]", st.lists(DOCUMENTS.map(lambda value: {"a": value}), max_size=2), comparable=False),
    Kind("mood[]", lists(st.sampled_from(["glad", "so, so", '"'])), comparable=False),
    Kind("score[]", lists(st.integers(-9, 9)), comparable=False),
    Kind("money[]", lists(decimals(3, 2)), comparable=False),
    Kind("inet[]", lists(ADDRESSES), comparable=False),
    Kind("int4range[]", lists(_ranges(st.integers(-9, 9))), comparable=False),
    Kind("moods", st.lists(st.sampled_from(["glad", "so, so"]), max_size=2), comparable=False),
]  # fmt: skip

_CLOCKS = st.tuples(st.sampled_from(["", "-"]), st.integers(0, 838), st.integers(0, 59), st.integers(0, 59)).map(
    lambda t: f"{t[0]}{t[1]:02}:{t[2]:02}:{t[3]:02}" if any(t[1:]) else "00:00:00"
)
_WHOLE_MOMENTS = st.datetimes().map(lambda value: value.replace(microsecond=0).isoformat())
_STAMPS = st.integers(1, 2**31 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat())

MARIADB = [
    Kind("tinyint", exact(-128, 127)),
    Kind("tinyint unsigned", exact(0, 255)),
    Kind("boolean", st.booleans()),
    Kind("bigint", exact(-(2**63), 2**63 - 1)),
    Kind("bigint unsigned", exact(0, 2**64 - 1)),
    Kind("decimal(14, 4)", decimals(10, 4)),
    Kind("decimal(65, 30)", decimals(35, 30)),
    Kind("float", SINGLES),
    Kind("double", floats(special=False)),
    Kind("bit(1)", st.booleans()),
    Kind("bit(64)", exact(0, 2**64 - 1)),
    Kind("year", st.just(0) | st.integers(1901, 2155)),
    Kind("text", TEXTS),
    Kind("varchar(300)", TEXTS),
    Kind("char(9)", TEXTS.map(lambda text: text[:9].rstrip(" "))),
    Kind("date", DATES | st.just("0000-01-01")),
    Kind("datetime", _WHOLE_MOMENTS | st.just("0000-01-01 00:00:00")),
    Kind("datetime(6)", MOMENTS),
    Kind("timestamp null", _STAMPS),
    Kind("time", _CLOCKS),
    Kind("enum('z', 'so so', '')", st.sampled_from(["z", "so so", ""])),
    Kind("set('x', 'y', 'z')", st.sets(st.sampled_from("xyz")).map(sorted)),
    Kind("json", DOCUMENTS, comparable=False),
    Kind("longblob", BYTES),
    Kind("varbinary(20)", BYTES),
    Kind("uuid", st.uuids(version=4).map(str)),
    Kind("inet6", st.sampled_from(["::", "::1", "2001:db8::ff00:42:8329", "::ffff:10.0.0.1"])),
    Kind("point", POINTS.map(lambda p: f"POINT({p[0]} {p[1]})"), comparable=False),
    Kind("geometry", st.just("POLYGON((0 0,1 0,1 1,0 0))"), comparable=False),
]

_BLANK = [values.map(lambda text: text.replace("T", " ")) for values in (MOMENTS, ZONED)]

SQLITE = [
    Kind("integer", exact(-(2**63), 2**63 - 1)),
    Kind("unsigned big int", exact(-(2**63), 2**63 - 1)),
    Kind("real", floats(special=False) | st.sampled_from(["Infinity", "-Infinity"])),
    Kind("numeric", decimals(8, 0) | st.integers(-(2**40), 2**40).map(lambda n: repr(n / 8).removesuffix(".0"))),
    Kind("boolean", st.booleans()),
    Kind("text", TEXTS),
    Kind("blob", BYTES),
    Kind("date", DATES),
    Kind("datetime", _BLANK[0]),
    Kind("timestamp with time zone", _BLANK[1]),
    Kind("time", TIMES),
    Kind("json", DOCUMENTS, comparable=False),
    Kind("uuid", IDENTIFIERS),
    Kind("interval", st.just("P1D")),
    Kind("inet", ADDRESSES.filter(lambda text: "/" in text)),
    Kind("", TEXTS | exact(-(2**53), 2**53)),
]


def table(kinds: list[Kind]) -> str:
    """CREATE TABLE with a column for each."""
    columns = ", ".join(f"c{place} {kind.sql}" for place, kind in enumerate(kinds))
    return f"create table kinds (id integer primary key, {columns})"


def records(kinds: list[Kind]) -> SearchStrategy[list[list[Any]]]:
    """The values of a few records of such a table, with nulls among them."""
    return st.lists(st.tuples(*(st.none() | kind.values for kind in kinds)).map(list), min_size=1, max_size=3)


def conditions(kinds: list[Kind], values: list[Any]) -> list[str]:
    """Filters that ask for each of a record's values, or for null; and where values cannot be asked for, for any."""
    return [_condition(f"c{place}", kind, value) for place, (kind, value) in enumerate(zip(kinds, values, strict=True))]


def _condition(name: str, kind: Kind, value: Any) -> str:
    if value is None or not kind.comparable:
        return f"{name} is {'null' if value is None else 'not null'}"
    return f"{name} = {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = ",".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
    return "'" + text.replace("'", "''") + "'"
