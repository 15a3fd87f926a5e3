"""Globs over paths, as callers write them: matched in time that grows with their length and no faster."""

import fnmatch
import re
from collections.abc import Sequence

from isthmus.errors import InvalidArguments

LONGEST = 1024


class Glob:
    """`*` and `?` and `[abc]` stay in one name, `**` stands for any number of names.

    A glob without a slash is matched with the last name alone.
    """

    def __init__(self, pattern: str) -> None:
        """Raises InvalidArguments for a pattern that is too long."""
        if len(pattern) > LONGEST:
            raise InvalidArguments(f"A pattern has at most {LONGEST} characters.")
        parts = pattern.split("/") if "/" in pattern else ["**", pattern]
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]

    def matches(self, names: Sequence[str]) -> bool:
        """Whether the whole path matches; on a mismatch only the latest `**` takes one name more."""
        parts = self._parts
        part = name = 0
        many = begun = -1
        while name < len(names):
            wanted = parts[part] if part < len(parts) else None
            if wanted is not None and wanted.match(names[name]):
                part, name = part + 1, name + 1
            elif part < len(parts) and wanted is None:
                many, begun = part, name
                part += 1
            elif many >= 0:
                begun += 1
                part, name = many + 1, begun
            else:
                return False
        return all(left is None for left in parts[part:])
