"""The JSON forms of what drivers return."""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec

EXACT = 2**53
"""The largest integer up to which every JSON reader is exact."""


def present(value: object) -> object:
    """The JSON form of any value."""
    form = _FORMS.get(type(value), _other)
    return value if form is None else form(value)


def as_is(value: object) -> object:
    """Where the driver returns nothing but what JSON has, too."""
    return value


def present_json(value: object) -> object:
    """A document that comes as text, without its blanks: not read, so that no number loses a digit."""
    if not isinstance(value, str):
        return present(value)
    try:
        written = msgspec.json.format(value, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return _half_readable(value)
    return None if written == "null" else msgspec.Raw(written.encode())


def _half_readable(text: str) -> object:
    """Halves of surrogate pairs, which no text can have, become U+FFFD. What is no JSON at all is text."""
    try:
        written = json.dumps(json.loads(text, parse_constant=_refuse), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return text
    return msgspec.Raw(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode())


def _refuse(constant: str) -> object:
    raise ValueError(constant)


def _whole(value: int) -> object:
    return value if -EXACT <= value <= EXACT else str(value)


def _floating(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _fixed(value: Decimal) -> object:
    return format(value, "f") if value.is_finite() else _floating(float(value))


def _base64(value: bytes | bytearray | memoryview) -> object:
    return base64.b64encode(value).decode()


def _iso(value: date | time) -> object:
    return value.isoformat()


def _other(value: object) -> object:
    """Of a class that no driver promises."""
    match value:
        case str():
            return str(value)
        case int():
            return _whole(int(value))
        case Mapping():
            return {str(key): present(item) for key, item in cast("Mapping[object, object]", value).items()}
        case Sequence() | set() | frozenset():
            return [present(item) for item in cast("Sequence[object]", value)]
        case _:
            return str(value)


_FORMS: dict[type, Callable[[Any], object] | None] = {
    type(None): None,
    bool: None,
    str: None,
    int: _whole,
    float: _floating,
    Decimal: _fixed,
    date: _iso,
    datetime: _iso,
    time: _iso,
    timedelta: msgspec.to_builtins,
    bytes: _base64,
    bytearray: _base64,
    memoryview: _base64,
    UUID: str,
}
"""None: JSON has it."""
