"""Cursors: where a page ended, sealed with the query that it belongs to.

A cursor holds the last row's values of the columns that the rows are sorted by, so that rows that come or go before it
change nothing; where no columns tell the rows apart it holds a number of rows instead. The seal is a digest of the
query's shape and the position: it finds mistakes, and needs no secret, since it opens nothing that the caller could
not ask for outright.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import msgspec

from isthmus.errors import InvalidArguments

_READERS: dict[str, Callable[[str], object]] = {
    "int": int,
    "str": str,
    "float": float,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "UUID": UUID,
    "bytes": bytes.fromhex,
    "bool": "True".__eq__,
}


class Position(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Where to go on: after these values, or after this many rows."""

    after: tuple[tuple[str, str] | None, ...] | int
    """Type and text of each value; None: null."""

    def values(self) -> tuple[object, ...]:
        """The values of the last row."""
        assert not isinstance(self.after, int)  # noqa: S101  (the caller has looked)
        return tuple(None if item is None else _READERS[item[0]](item[1]) for item in self.after)


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    seal: str
    position: Position


def position_after(values: Sequence[object]) -> Position:
    """The position of a row, from its values of the columns that the rows are sorted by."""
    return Position(tuple(None if value is None else _write(value) for value in values))


def seal(shape: Sequence[object], position: Position) -> str:
    """The cursor for a position in the query of that shape."""
    return (
        base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(_digest(shape, position), position))).decode().rstrip("=")
    )


def unseal(shape: Sequence[object], cursor: str, columns: int, *, total: bool) -> Position:
    """The position in a query of that shape, sorted by so many columns. Raises InvalidArguments for any other.

    `total`: the columns tell all rows apart, so that the position is made of their values.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=_Cursor)
        sealed = found.seal == _digest(shape, found.position)
        if isinstance(found.position.after, int):
            sealed = sealed and not total and found.position.after >= 0
        else:
            sealed = sealed and total and len(found.position.values()) == columns
    except (msgspec.DecodeError, binascii.Error, ValueError, KeyError, ArithmeticError):
        sealed, found = False, None
    if not sealed or found is None:
        raise InvalidArguments(
            "This cursor does not belong to this query: repeat the arguments that it came with, or leave it out to "
            "begin again."
        )
    return found.position


def _write(value: object) -> tuple[str, str]:
    """What has no reader goes as text: the database reads it back."""
    match value:
        case bytes() | bytearray() | memoryview():
            return "bytes", value.hex()
        case datetime() | date() | time():
            return type(value).__name__, value.isoformat()
        case float():
            return "float", repr(value)
        case bool() | int() | Decimal() | UUID():
            return type(value).__name__, str(value)
        case _:
            return "str", str(value)


def _digest(shape: Sequence[object], position: Position) -> str:
    return hashlib.sha256(msgspec.json.encode([shape, position])).hexdigest()[:16]
