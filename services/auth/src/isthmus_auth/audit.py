"""What auth puts on the audit trail: who signed in, allowed what, and got tokens for whom.

An event is written in the transaction of what it tells, and waits in the database until the stream has it: a bus that
is away loses none.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import Header
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from isthmus import subjects
from isthmus.auditing import STREAM
from isthmus_auth.models import AuditEntry

logger = logging.getLogger("isthmus_auth.audit")

MOST = 100_000
"""Events that wait; further ones are in the log alone."""
BATCH = 100
AGAIN_AFTER = 0.5
LOOK_EVERY = 30.0
"""Seconds after which one looks whether another instance has left events behind."""

_NOTED = "isthmus_noted"


class AuthEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event; empty fields are left out."""

    event: Literal["sign_in", "sign_out", "consent", "token", "revoked", "registered", "key", "factor", "admin"]
    time: str = msgspec.field(default_factory=lambda: _now())
    """When (ISO 8601, UTC)."""
    outcome: str = "ok"
    """`ok`, `denied`, `wrong`, `wrong_code`, `too_many`, or an OAuth error code."""
    address: str = ""
    """Where the request came from."""
    principal: str = ""
    """The account, as `sub` in its tokens; empty: nobody that there is."""
    method: str = ""
    """How somebody signed in: `password`, `custom_page`, or `provider:<name>`."""
    client: str = ""
    service: str = ""
    grant: str = ""
    """The grant type of a token request."""
    scope: str = ""
    sources: Sequence[str] = ()
    action: str = ""
    """Of an administrator, or of the owner of a key: `create`, `update`, `delete`, or `secret` for another one."""
    object: str = ""
    """What they did it to, such as `role readers`."""


def note(session: Session, event: AuthEvent) -> None:
    """Puts an event on the trail, with what the session commits."""
    first = session.scalar(select(func.min(AuditEntry.id))) or 0
    last = session.scalar(select(func.max(AuditEntry.id))) or 0
    if last - first >= MOST:
        logger.error("too many events wait for the audit trail; this one is only here: %s", event)
        return
    session.add(AuditEntry(body=msgspec.json.encode(event)))
    session.info[_NOTED] = True


def noted(session: Session) -> bool:
    """Whether this session has put something on the trail."""
    return bool(session.info.get(_NOTED))


class AuditTrail:
    """Takes events from the database to the stream; `run` is its task."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()

    def wake(self) -> None:
        """There are events. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._work.set)

    async def run(self, stream: JetStreamContext) -> None:
        """Publishes in order, each event until it is acknowledged, until cancelled."""
        said = False
        while True:
            self._work.clear()
            try:
                while await self._drain(stream):
                    said = False
            except (NatsError, SQLAlchemyError, TimeoutError) as error:
                if not said:
                    logger.warning("events wait for the audit trail: %s", type(error).__name__)
                said = True
                await asyncio.sleep(AGAIN_AFTER)
                continue
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._work.wait()
            except TimeoutError:
                pass

    async def _drain(self, stream: JetStreamContext) -> bool:
        entries = await asyncio.to_thread(self._next)
        for number, body in entries:
            # Of two instances that publish one entry, the stream keeps one.
            name = f"auth-{number}-{hashlib.sha256(body).hexdigest()[:16]}"
            headers: dict[str, str] = {Header.MSG_ID.value: name, Header.EXPECTED_STREAM.value: STREAM}
            await stream.publish(subjects.audit("auth"), body, headers=headers)
        if entries:
            await asyncio.to_thread(self._forget, [number for number, _ in entries])
        return bool(entries)

    def _next(self) -> list[tuple[int, bytes]]:
        with self._sessions.begin() as session:
            rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id).limit(BATCH))
            return [(row.id, row.body) for row in rows]

    def _forget(self, numbers: list[int]) -> None:
        with self._sessions.begin() as session:
            session.execute(delete(AuditEntry).where(AuditEntry.id.in_(numbers)))


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
