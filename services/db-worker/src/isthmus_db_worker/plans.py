"""What a plan knows of the rows that it is about: how many they are, and each as it was."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from isthmus import plans
from isthmus.errors import Conflict
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.journal import Journal
from isthmus_db_worker.keys import Key
from isthmus_db_worker.targets import written

TOLD_APART = 8
"""Rows of which a plan knows each; of more it knows whether one of them is another now."""

_HEAD = struct.Struct(">I8s")
_ROW = struct.Struct(">2s3s")

Mark = tuple[str, Key, bytes]


@dataclass(frozen=True)
class Statement:
    """What a call asks for, whoever asks for a preview of it or brings the plan."""

    tool: str
    table: str
    arguments: msgspec.Struct
    """As far as they decide what is written."""


def make_plan(call: Call[Database], statement: Statement, journal: Journal) -> str:
    """The plan for what the journal says."""
    marks = journal.marks
    rows = b"".join(_ROW.pack(*_short(mark)) for mark in marks) if len(marks) <= TOLD_APART else b""
    return plans.make_plan(call, statement, _HEAD.pack(len(marks), _digest(marks)) + rows)


def check_plan(call: Call[Database], statement: Statement, plan: str, journal: Journal | None = None) -> None:
    """That the plan is for this, and that the rows are as they were. Raises InvalidArguments, and Conflict."""
    seen = plans.open_plan(call, statement, plan)
    if journal is not None:
        count, digest = _HEAD.unpack_from(seen)
        if (_digest(journal.marks), len(journal.marks)) != (digest, count):
            rows = list(_ROW.iter_unpack(seen[_HEAD.size :]))
            what = _difference(rows, count, journal.marks)
            raise Conflict(f"{what}; nothing was changed. Preview the change again.")


def _digest(marks: Sequence[Mark]) -> bytes:
    joined = b"".join(sorted(_hash(mark[0], mark[1]) + mark[2] for mark in marks))
    return hashlib.blake2b(joined, digest_size=8).digest()


def _short(mark: Mark) -> tuple[bytes, bytes]:
    table, key, image = mark
    return _hash(table, key)[:2], hashlib.blake2b(image, digest_size=3).digest()


def _hash(table: str, key: Key) -> bytes:
    return hashlib.blake2b(f"{table}\0{key!r}".encode(), digest_size=8).digest()


def _difference(before: Sequence[tuple[bytes, bytes]], count: int, marks: Sequence[Mark]) -> str:
    """What is another now, as far as it is known."""
    if len(before) != count:
        return (
            f"This is about {len(marks):,} rows now, not {count:,}"
            if len(marks) != count
            else (f"Some of the {count:,} rows were changed meanwhile")
        )
    images, said = dict(before), list[str]()
    for mark in marks:
        key, image = _short(mark)
        name = f"record {written(mark[1])} of {mark[0]}" if mark[1] else f"what the database does in {mark[0]}"
        if key not in images:
            said.append(f"{name} came to it")
        elif images[key] != image:
            said.append(f"{name} was changed")
    gone = len(images.keys() - {_short(mark)[0] for mark in marks})
    if gone:
        said.append(f"{gone} {'record is' if gone == 1 else 'records are'} gone or no longer meant")
    return f"Meanwhile {', '.join(said[:5])}" if said else "The rows were changed meanwhile"
