"""Rows as a result: structured, and as a table of text."""

from collections.abc import Sequence

import msgspec

from isthmus_db_worker.values import JsonValue

BUDGET = 256 * 1024
"""Bytes of one reply, both forms of the rows together."""
FRAME = 4096
"""Bytes of it that are kept for what surrounds the rows."""

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class Rows(msgspec.Struct, kw_only=True):
    """Rows of a table, in order."""

    columns: list[str]
    """The names of the columns."""
    rows: list[list[JsonValue]]
    """The values, in the order of the columns. Decimals, large integers, dates and bytes (base64) are strings."""
    truncated: bool = False
    """Whether more rows follow."""
    next_cursor: str | None = None
    """Where to go on: the `cursor` of the next call."""

    def text(self) -> str:
        """A header and a line a row, tabs between the values. Null is `\\N`; tabs, line ends and backslashes in values
        are `\\t`, `\\n`, `\\r` and `\\\\`. The last line says whether that is all."""
        count = f"{len(self.rows)} row{'' if len(self.rows) == 1 else 's'}"
        end = (
            f'{count}, more follow: call again with cursor "{self.next_cursor}"' if self.truncated else f"{count}, all"
        )
        return "\n".join([line(self.columns), *map(line, self.rows), f"({end})"])


def line(values: Sequence[JsonValue]) -> str:
    """One row of text."""
    return "\t".join(map(_cell, values))


def size(values: Sequence[JsonValue]) -> int:
    """Bytes that a row takes in a reply: as JSON, and as text within JSON."""
    return len(msgspec.json.encode(values)) + len(msgspec.json.encode(line(values))) + 2


def _cell(value: JsonValue) -> str:
    match value:
        case None:
            return "\\N"
        case str():
            return value.translate(_ESCAPES)
        case _:
            return msgspec.json.encode(value).decode().translate(_ESCAPES)
