"""Keys: what callers name single rows by, and the conditions that find them."""

from collections.abc import Iterator, Sequence
from typing import cast

import sqlalchemy as sa

from isthmus.errors import InvalidArguments
from isthmus_db_worker.filters import Condition
from isthmus_db_worker.parameters import Parameters, Pick
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View

CHUNK = 200
"""Keys in one statement."""

Key = tuple[object, ...]


def read_keys(view: View, ids: Sequence[JsonValue]) -> list[Key]:
    """What is bound for the ids that a caller gave. Raises InvalidArguments."""
    if not view.row_key:
        raise InvalidArguments(f"{view.table.key} has no key that you may use; name the records by filter.")
    columns = [view.table.columns[name] for name in view.row_key]
    return [_read(columns, item) for item in ids]


def with_keys(columns: Sequence[Column], keys: Sequence[Key]) -> Iterator[Condition]:
    """Conditions that together hold for the rows with these keys."""
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        if len(columns) == 1:
            yield columns[0].sql.in_([columns[0].bind(key[0]) for key in chunk])
        else:
            yield sa.or_(*(sa.and_(*(c.sql == c.bind(v) for c, v in zip(columns, key, strict=True))) for key in chunk))


def with_key_of(columns: Sequence[Column], count: int, parameters: Parameters) -> Condition:
    """The rows with the keys of the inputs, of which there are so many."""

    def picked(place: int, part: int) -> Pick:
        return lambda inputs: inputs.keys[place][part]

    if len(columns) == 1:
        return columns[0].sql.in_([columns[0].parameter(parameters, picked(place, 0)) for place in range(count)])
    return sa.or_(
        *(
            sa.and_(*(c.sql == c.parameter(parameters, picked(place, part)) for part, c in enumerate(columns)))
            for place in range(count)
        )
    )


def _read(columns: Sequence[Column], item: JsonValue) -> Key:
    given = [item] if len(columns) == 1 else cast("list[JsonValue]", item if isinstance(item, list) else [])
    if len(given) != len(columns) or None in given:
        names = ", ".join(column.name for column in columns)
        raise InvalidArguments("Each of ids is " + (f"a list: [{names}]." if len(columns) > 1 else f"one {names}."))
    try:
        return tuple(column.conversion.parse(value) for column, value in zip(columns, given, strict=True))
    except (ValueError, OverflowError):
        nouns = " and ".join(f"{column.name} takes {column.conversion.noun}" for column in columns)
        raise InvalidArguments(f"ids: {nouns}.") from None
