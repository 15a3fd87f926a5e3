"""What the audit trail keeps of a call's arguments: nothing, their names, or all but what is written."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

LONGEST = 4096
"""Bytes of one call's arguments on record."""
MOST_NAMES = 50
WRITTEN = frozenset(("values", "records", "content", "edits", "new_text", "old_text"))
"""Arguments that hold what is written: of those only the size is kept."""

OnRecord = Callable[[Mapping[str, Any]], msgspec.Raw | msgspec.UnsetType]
"""What is kept of these arguments, as JSON."""


def nothing(arguments: Mapping[str, Any]) -> msgspec.UnsetType:
    """Keeps nothing."""
    return msgspec.UNSET


def names(arguments: Mapping[str, Any]) -> msgspec.Raw | msgspec.UnsetType:
    """Keeps what the arguments are called."""
    if not arguments:
        return msgspec.UNSET
    return _encoded([name[:64] for name in list(arguments)[:MOST_NAMES]])


def values(arguments: Mapping[str, Any]) -> msgspec.Raw | msgspec.UnsetType:
    """Keeps names and values; of what is written, and of what is too long, only how long it is."""
    if not arguments:
        return msgspec.UNSET
    kept: dict[str, object] = {}
    left = LONGEST
    for name, value in list(arguments.items())[:MOST_NAMES]:
        size = len(_encoded(value))
        short = name not in WRITTEN and size <= left
        kept[name[:64]] = value if short else {"bytes": size}
        left -= size if short else 0
    return _encoded(kept)


def _encoded(value: object) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except UnicodeEncodeError:  # a client may send halves of characters
        return msgspec.Raw(json.dumps(value, separators=(",", ":")).encode())
    except RecursionError:
        return msgspec.Raw(b'"?"')


KEPT: dict[str, OnRecord] = {"none": nothing, "names": names, "values": values}
