"""Values on their way between JSON and the database.

What a caller sees and sends:

- integers as numbers; beyond 2^53 as strings, because many JSON readers would round them
- decimals as strings (`"12.50"`), never as floats
- floats as numbers; `NaN`, `Infinity` and `-Infinity` as strings
- dates and times in ISO 8601; a time zone is kept where the column has one, and a value without one counts as UTC
- durations in ISO 8601 (`P1DT2H`)
- bytes in base64
- UUIDs and what else has no form of its own in JSON as the database writes it
- JSON columns as the JSON that they hold, digit by digit; arrays as arrays
- a masked value, null or not, as `***`

docs/databases.md has the table, type by type.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from isthmus_db_worker.json_forms import as_is, present, present_json

JsonValue = Any
"""A value as JSON has it: open by nature, so untyped."""

MASK = "***"

_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Conversion:
    """How the values of a column come in and go out."""

    noun: str
    """What a value is, with an example, for the sentence that refuses another."""
    parse: Callable[[JsonValue], object]
    """What is bound for a JSON value that is not null; raises ValueError when it does not fit."""
    present: Callable[[object], JsonValue] = present
    comparable: bool = True
    """Whether filters may compare the column and rows be sorted by it."""


def conversion_for(
    kind: TypeEngine[Any], conversions: Sequence[tuple[type[TypeEngine[Any]], Conversion]]
) -> Conversion:
    """The first conversion whose type fits, with what the type itself restricts."""
    if isinstance(kind, sa.Enum) and kind.enums:
        return _one_of(kind.enums)
    return next((conversion for known, conversion in conversions if isinstance(kind, known)), TEXT)


def _whole(value: JsonValue) -> int:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError  # noqa: TRY004  (one exception for every value that does not fit)
    if not -(2**63) <= value < 2**64 or value != int(value):
        raise ValueError
    return int(value)


def _integer(value: JsonValue) -> object:
    if (number := _whole(value)) >= 2**63:
        raise ValueError
    return number


def _decimal(value: JsonValue) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError  # noqa: TRY004
    try:
        return Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise ValueError from None


def _float(value: JsonValue) -> float:
    number = _decimal(value)
    if math.isinf(floating := float(number)) and number.is_finite():
        raise ValueError
    return floating


def _boolean(value: JsonValue) -> bool:
    if value in (True, False):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  (one exception for every value that does not fit)
    return value


def _date(value: JsonValue) -> date:
    text = _text(value)
    try:
        return date.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.time() != time():
            raise
        return moment.date()


def _moment(value: JsonValue) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _zoned(value: JsonValue) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bytes(value: JsonValue) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error:
        raise ValueError from None


def _one_of(allowed: list[str]) -> Conversion:
    def parse(value: JsonValue) -> str:
        if value not in allowed:
            raise ValueError
        return cast("str", value)

    shown = ", ".join(allowed[:20]) + (", …" if len(allowed) > 20 else "")
    return Conversion(f"one of {shown}", parse)


def array_of(item: Conversion) -> Conversion:
    """Lists of what the other one converts, or of lists of it."""

    def parse(value: JsonValue) -> object:
        if isinstance(value, list):
            return [None if part is None else parse(part) for part in cast("list[JsonValue]", value)]
        return item.parse(value)

    def parse_list(value: JsonValue) -> object:
        if not isinstance(value, list):
            raise ValueError  # noqa: TRY004
        return parse(value)

    def present_list(value: object) -> JsonValue:
        if isinstance(value, list):
            return [present_list(part) for part in cast("list[object]", value)]
        return None if value is None else item.present(value)

    return Conversion(f"a list, each item {item.noun}", parse_list, present_list, comparable=False)


def parse_json(value: JsonValue) -> object:
    """JSON columns take any JSON value."""
    return value


def _encode_json(value: JsonValue) -> str:
    return msgspec.json.encode(value).decode()


INTEGER = Conversion("a whole number such as 42", _integer)
UNSIGNED = Conversion(INTEGER.noun, _whole)
"""Up to 2^64."""
DECIMAL = Conversion("a number such as 12.50", _decimal)
FLOAT = Conversion("a number such as 1.5", _float)
BOOLEAN = Conversion("true or false", _boolean)
DATE = Conversion("a date such as '2024-01-31'", _date)
MOMENT = Conversion("a date and time such as '2024-01-31T12:00:00'", _moment)
ZONED = Conversion("a date and time such as '2024-01-31T12:00:00+00:00'", _zoned)
TIME = Conversion("a time such as '12:30:00'", lambda value: time.fromisoformat(_text(value)))
DURATION = Conversion("a duration such as 'P1DT2H'", _text)
BYTES = Conversion("bytes in base64", _bytes)
IDENTIFIER = Conversion("a UUID", lambda value: UUID(_text(value)))
JSON_NOUN = "a JSON value"
JSON = Conversion(JSON_NOUN, parse_json, as_is, comparable=False)
JSON_TEXT = Conversion(JSON_NOUN, _encode_json, present_json, comparable=False)
"""Where the driver has JSON as text."""
TEXT = Conversion("text in single quotes", _text)

CONVERSIONS: tuple[tuple[type[TypeEngine[Any]], Conversion], ...] = (
    (sa.Boolean, BOOLEAN),
    (sa.Integer, INTEGER),
    (sa.Float, FLOAT),
    (sa.Numeric, DECIMAL),
    (sa.DateTime, MOMENT),
    (sa.Date, DATE),
    (sa.Time, TIME),
    (sa.Interval, DURATION),
    (sa.Uuid, IDENTIFIER),
    (sa.LargeBinary, BYTES),
    (sa.JSON, JSON),
)
"""By SQLAlchemy's generic types, the more particular ones first. What fits none is text."""
