"""What a call has written: said by the tool, sent in a header of the reply, and put on record by the gateway.

The worker knows what was written, and the gateway who wrote it. Keys travel, the values of other columns never do.
"""

import json
import math
from dataclasses import dataclass, field
from typing import Annotated, cast

import msgspec

STREAM = "AUDIT"
"""The JetStream stream of the audit trail: every message is JSON lines, an event each."""

AUDIT_HEADER = "Isthmus-Audit"
"""On the final reply, refusals too: a Report in JSON, in ASCII."""

MOST_KEYS = 100
"""Of one Written."""
MOST_WRITTEN = 100
"""Different objects and actions of one call."""
LONGEST_INTEGER = 128
"""Bits of one that stays a number."""
MOST_BYTES = 16 * 1024
"""Of the header's value."""


Part = str | int | float | bool | None
Key = Part | list[Part]
"""A primary key; one of several columns is a list."""


class Written(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done to one object."""

    object: str
    """The table, routine or path."""
    action: str
    """`create`, `update`, `delete`, `upsert`, `call`, or a worker's own word."""
    # a factory's value is not omitted: events always say it
    count: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(default_factory=lambda: 1)
    """Of rows, files or whatever the object consists of; 0: it is not known how many."""
    keys: tuple[Key, ...] = ()
    """Primary keys. Fewer than `count` where they are not known or were too many."""
    plan: str = ""
    """The id of the plan that was executed, if one was."""


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that one call has written."""

    written: tuple[Written, ...] = ()
    left_out: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Further writes, which did not fit."""


@dataclass
class Trail:
    """What one call has written so far. What it says of one object and action is added up."""

    _written: dict[tuple[str, str, str], Written] = field(default_factory=dict[tuple[str, str, str], Written])
    _left_out: int = 0

    def add(self, written: Written) -> None:
        """One more write, which is committed."""
        name = (written.object, written.action, written.plan)
        before = self._written.get(name)
        if before is None and len(self._written) >= MOST_WRITTEN:
            self._left_out += 1
            return
        keys, count = (before.keys, before.count) if before is not None else ((), 0)
        self._written[name] = msgspec.structs.replace(
            written, count=count + written.count, keys=(*keys, *written.keys[: MOST_KEYS - len(keys)])
        )

    def __bool__(self) -> bool:
        return bool(self._written)

    @property
    def size(self) -> int:
        """Bytes that the header takes at most."""
        return len(AUDIT_HEADER) + MOST_BYTES if self else 0

    def headers(self) -> dict[str, str]:
        """The header of the final reply; none if nothing was written."""
        return {AUDIT_HEADER: _fitting(list(self._written.values()), self._left_out)} if self else {}


def _fitting(written: list[Written], left_out: int) -> str:
    """Keys go first, then whole objects, the last ones first."""
    keys = MOST_KEYS
    while len(text := _encode(Report(written=tuple(written), left_out=left_out))) > MOST_BYTES:
        if keys:
            keys //= 2
            written = [msgspec.structs.replace(entry, keys=entry.keys[:keys]) for entry in written]
        else:
            written, left_out = written[:-1], left_out + 1
    return text


def _encode(report: Report) -> str:
    """In ASCII, as headers must be. A key that is none becomes its text: the write is done already."""
    plain = [msgspec.structs.replace(each, keys=tuple(map(_plain, each.keys))) for each in report.written]
    report = msgspec.structs.replace(report, written=tuple(plain))
    return json.dumps(msgspec.to_builtins(report), separators=(",", ":"))


def _plain(key: object) -> Key:
    if isinstance(key, list):
        return [_part(part) for part in cast("list[object]", key)]
    return _part(key)


def _part(value: object) -> Part:
    if value is None or isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= LONGEST_INTEGER else hex(value)
    try:
        value = msgspec.to_builtins(value, enc_hook=str)
    except (TypeError, ValueError):
        value = str(value)
    return (value if isinstance(value, str) else str(value)).encode("utf-8", "replace").decode()


def read(headers: dict[str, str]) -> Report | None:
    """What the header of a reply says; None if there is none. Raises msgspec.DecodeError for what is no Report."""
    if (text := headers.get(AUDIT_HEADER)) is None:
        return None
    if len(text) > MOST_BYTES:
        raise msgspec.DecodeError("the report is too long")
    return msgspec.json.decode(text, type=Report)
