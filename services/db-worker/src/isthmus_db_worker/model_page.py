"""The page that a data model is written on: whole tables while there is room, then names, then a number."""

import re
from collections import Counter
from collections.abc import Iterable

from isthmus_db_worker.table_lines import table_name
from isthmus_db_worker.tables import TableName

ENDS = 700
"""Bytes for the first line and the last one."""
REMARK = 400
"""Characters of a list of names in a remark."""

_FIRST_PART = re.compile(r"[A-Za-z0-9]+[._]")


class ModelPage:
    """What is written, and what waits for its place."""

    def __init__(self, names: Iterable[TableName], max_bytes: int) -> None:
        self.waiting = {name.key: name for name in names}
        """The tables that are not written yet."""
        self.remarks: list[str] = []
        self._most = max_bytes
        self._room = max_bytes - ENDS
        self._names_room = self._room // 4
        self._names = sum(map(_size, self.waiting.values()))
        self._lines: dict[tuple[bool, str], str] = {}
        self._broken: list[TableName] = []

    @property
    def is_full(self) -> bool:
        """Whether a table of ordinary length has no place any more."""
        return self._left(0) < self._most // 8

    def take(self, name: TableName, text: str, *, last: bool = False) -> bool:
        """Writes a table, after the others if it is to be `last`; False: it has no place beside the others' names."""
        size = len(text.encode()) + 1
        if self._left(_size(name)) < size:
            return False
        self._room -= size
        self._names -= _size(name)
        self._lines[last, name.key] = text
        del self.waiting[name.key]
        return True

    def give_up(self, name: TableName) -> None:
        """A table that cannot be described."""
        self._broken.append(name)
        self._names -= _size(name)
        del self.waiting[name.key]

    def text(self, title: str, legend: str, more: str) -> str:
        """All of it; the last line says how to see what has no place. `more` is what max_bytes may be."""
        count = len(self._lines) + len(self.waiting) + len(self._broken)
        head = f"{title}: {f'{count} tables and views' if count > 1 else '1 table or view'}"
        parts = [
            f"{head}{f', {len(self._lines)} of them here' if self.waiting else ''}{f'. {legend}' if legend else ''}."
        ]
        parts += [self._lines[place] for place in sorted(self._lines)]
        if self._broken:
            parts.append(f"Cannot be described: {_listed(self._broken, REMARK)}.")
        parts += self.remarks
        if self.waiting:
            left = [self.waiting[key] for key in sorted(self.waiting)]
            parts.append(f"Only by name: {_listed(left, self._room)}.")
            parts.append(
                f"(for these call get_data_model with tables such as {_pattern(left)}, with a shorter detail, keys "
                f"or names, or with max_bytes {more})"
            )
        return "\n".join(parts)

    def _left(self, own: int) -> int:
        """Bytes for a table, whose own name then has its place."""
        return (
            self._room - sum(len(text.encode()) + 1 for text in self.remarks) - min(self._names - own, self._names_room)
        )


def _size(name: TableName) -> int:
    return len(table_name(name.key).encode()) + 2


def _listed(names: Iterable[TableName], room: int) -> str:
    """As many names as fit, and how many there are beside them."""
    listed, more = list[str](), 0
    for name in names:
        room -= _size(name)
        if room < 0:
            more += 1
        else:
            listed.append(table_name(name.key))
    return ", ".join(listed) + (f"{' and ' if listed else ''}{more} more" if more else "")


def _pattern(names: Iterable[TableName]) -> str:
    """A pattern that finds most of those that belong together, as far as their names tell."""
    keys = [name.key for name in names]
    parts = Counter(match.group() for key in keys if (match := _FIRST_PART.match(key)) is not None)
    common = parts.most_common(1)
    return f'["{common[0][0]}*"]' if common and common[0][1] > 1 else f'["{keys[0][:3]}*"]'
