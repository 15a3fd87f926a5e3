"""Plans: what a preview promised, as a short text that any worker of the source can check.

It is made for one statement, one caller and ten minutes, and knows the rows as they were. Nothing is kept of it: it is
signed with the workers' common secret.
"""

import base64
import binascii
import hashlib
import hmac
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from isthmus.errors import Conflict, InvalidArguments
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.journal import Journal
from isthmus_db_worker.keys import Key
from isthmus_db_worker.targets import written

SECONDS = 600
"""For which a plan holds."""
TOLD_APART = 8
"""Rows of which a plan knows each; of more it knows whether one of them is another now."""

_HEAD = struct.Struct(">II8s")
_ROW = struct.Struct(">2s3s")
_SIGNATURE = 12

Mark = tuple[str, Key, bytes]


@dataclass(frozen=True)
class Statement:
    """What a call asks for, whoever asks for a preview of it or brings the plan."""

    tool: str
    table: str
    arguments: msgspec.Struct
    """Without preview and plan."""


def id_of(plan: str) -> str:
    """What audit events call it."""
    return plan[:16]


def make_plan(call: Call[Database], statement: Statement, journal: Journal) -> str:
    """The plan for what the journal says."""
    marks = journal.marks
    rows = b"".join(_ROW.pack(*_short(mark)) for mark in marks) if len(marks) <= TOLD_APART else b""
    body = _HEAD.pack(int(time.time()) + SECONDS, len(marks), _digest(marks)) + rows
    return base64.urlsafe_b64encode(_signature(call, statement, body) + body).decode().rstrip("=")


def check_plan(call: Call[Database], statement: Statement, plan: str, journal: Journal | None = None) -> None:
    """That the plan is for this, and that the rows are as they were. Raises InvalidArguments, and Conflict."""
    try:
        sealed = base64.b64decode(plan + "=" * (-len(plan) % 4), altchars=b"-_", validate=True)
        signature, body = sealed[:_SIGNATURE], sealed[_SIGNATURE:]
        until, count, digest = _HEAD.unpack_from(body)
        rows = list(_ROW.iter_unpack(body[_HEAD.size :]))
    except (binascii.Error, ValueError, struct.error):
        raise InvalidArguments("This is no plan; preview the change again.") from None
    if not hmac.compare_digest(signature, _signature(call, statement, body)):
        raise InvalidArguments("This plan is for another change or another caller; preview this one.")
    if time.time() > until:
        raise Conflict("This plan is too old; nothing was changed. Preview the change again.")
    if journal is not None and (_digest(journal.marks), len(journal.marks)) != (digest, count):
        raise Conflict(f"{_difference(rows, count, journal.marks)}; nothing was changed. Preview the change again.")


def _signature(call: Call[Database], statement: Statement, body: bytes) -> bytes:
    who = call.principal
    bound = (
        "plan", call.source.name, call.source.target, who.id, who.client_id, who.service, call.granted.digest,
        statement.tool, statement.table, statement.arguments, body,
    )  # fmt: skip
    return call.sign(msgspec.json.encode(bound, order="sorted"))[:_SIGNATURE]


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
