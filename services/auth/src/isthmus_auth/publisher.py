"""Publishes policy to the JetStream KV bucket: changes in order, and everything again after every connection."""

import asyncio
import logging
import time
from contextlib import suppress

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError, NoKeysError
from nats.js.kv import KeyValue
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from isthmus import bus, policy
from isthmus_auth.audit import AuditTrail
from isthmus_auth.audit_stream import AuditStream, ours
from isthmus_auth.authorizations import forget_expired
from isthmus_auth.models import Outbox
from isthmus_auth.outbox import Entry, current_entries
from isthmus_auth.settings import AuthSettings
from isthmus_auth.signing import KeyRing, SigningKeys

logger = logging.getLogger("isthmus_auth.publisher")

MARKER_LIFETIME = 60
"""Seconds that the trace of a deleted or expired entry stays, for those who watch."""

BATCH = 100
RETRY_AFTER = 0.5
"""Seconds between attempts while the bus or the database does not answer."""

PATIENCE = 30.0
"""Seconds for publishing everything; listing a bucket never ends when its connection is lost."""

LOOKS = 3
"""Times that a bucket must seem empty: nats-py takes one for empty whose entries came before it looked for them."""

TIDY_EVERY = 600
"""Seconds between deletions of what has expired."""


class Publisher:
    """The only one who writes to the bucket; `run` is its task."""

    def __init__(self, settings: AuthSettings, sessions: sessionmaker[Session], keys: SigningKeys) -> None:
        self._settings = settings
        self._sessions = sessions
        self._keys = keys
        self._announced: KeyRing | None = None
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.Event()
        self._progress = asyncio.Condition()
        self._audit_stream = AuditStream(ours(settings.audit_days, settings.audit_megabytes))
        self.audit = AuditTrail(sessions)
        self._client: Client | None = None
        self._published = 0
        """The id of the last change that the bus has acknowledged."""
        self._tidy_at = 0.0
        self._complete = False
        """Whether the bucket is known to hold every entry, but for those in the outbox."""

    @property
    def connection(self) -> Client | None:
        """The bus, once it was there."""
        return self._client

    def wake(self) -> None:
        """There is something in the outbox. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._work.set)

    async def wait_for(self, change: int, seconds: float) -> None:
        """Returns once the change is acknowledged, or the time is over, or at once if there is no bus."""
        if self._client is None or not self._client.is_connected:
            return
        try:
            async with asyncio.timeout(seconds), self._progress:
                await self._progress.wait_for(lambda: self._published >= change)
        except TimeoutError:
            logger.warning("the bus has not acknowledged a change of policy within %s s", seconds)

    async def run(self) -> None:
        """Publishes, and looks after the stream of the audit trail, until cancelled."""
        self._client = await bus.connect(self._settings, "auth", on_reconnect=self._start_over)
        stream = self._client.jetstream()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish(stream))
                group.create_task(self._audit_stream.run(stream))
                group.create_task(self.audit.run(stream))
        finally:
            await self._client.close()

    async def _publish(self, stream: JetStreamContext) -> None:
        while True:
            self._work.clear()
            try:
                if not self._complete:
                    async with asyncio.timeout(PATIENCE):
                        await self._republish(stream)
                await self._announce(stream)
                while await self._drain(stream):
                    pass
                if time.monotonic() > self._tidy_at:
                    await asyncio.to_thread(self._tidy)
                    self._tidy_at = time.monotonic() + TIDY_EVERY
                    continue
                await self._more_work()
            except (NatsError, SQLAlchemyError, TimeoutError) as error:
                logger.warning("policy is not published yet: %s", type(error).__name__)
                self._complete = False
                await asyncio.sleep(RETRY_AFTER)

    async def _more_work(self) -> None:
        """Waits for something to publish, or until it is time to tidy."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._tidy_at - time.monotonic())):
                await self._work.wait()

    async def _start_over(self) -> None:
        self._complete = False
        self._work.set()
        self._audit_stream.look_again()

    async def _republish(self, stream: JetStreamContext) -> None:
        """Makes the bucket equal to the database."""
        self._complete = True  # a connection lost from here on sets it back
        ring = self._keys.ring
        entries, last = await asyncio.to_thread(self._snapshot, ring)
        bucket = await _bucket(stream)
        present = await _keys(bucket)
        for key, entry in entries.items():
            await _publish(stream, key, entry)
        for key in present - entries.keys():
            await bucket.purge(key, msg_ttl=MARKER_LIFETIME)
        self._has_announced(ring)
        await asyncio.to_thread(self._forget, last)
        await self._acknowledge(last)
        logger.info("policy published: %d entries", len(entries))

    async def _announce(self, stream: JetStreamContext) -> None:
        """Publishes the signing keys if the gateways have others."""
        ring = self._keys.ring
        if ring is not self._announced:
            for name, value in ring.entries().items():
                await _publish(stream, name, Entry(value))
            self._has_announced(ring)

    def _has_announced(self, ring: KeyRing) -> None:
        self._announced = ring
        self._keys.announced(ring)

    async def _drain(self, stream: JetStreamContext) -> bool:
        """Publishes the next changes; whether there were any."""
        changes = await asyncio.to_thread(self._next)
        for number, key, entry in changes:
            await _publish(stream, key, entry)
            await self._acknowledge(number)
        if changes:
            await asyncio.to_thread(self._forget, changes[-1][0])
        return bool(changes)

    async def _acknowledge(self, change: int) -> None:
        async with self._progress:
            self._published = max(self._published, change)
            self._progress.notify_all()

    def _snapshot(self, ring: KeyRing) -> tuple[dict[str, Entry], int]:
        with self._sessions.begin() as session:
            last = session.scalar(select(func.max(Outbox.id))) or 0
            keys = {name: Entry(value) for name, value in ring.entries().items()}
            return {**keys, **current_entries(session)}, last

    def _next(self) -> list[tuple[int, str, Entry | None]]:
        with self._sessions.begin() as session:
            rows = session.scalars(select(Outbox).order_by(Outbox.id).limit(BATCH))
            return [(r.id, r.key, None if r.value is None else Entry(r.value, r.expires_at)) for r in rows]

    def _forget(self, last: int) -> None:
        with self._sessions.begin() as session:
            session.execute(delete(Outbox).where(Outbox.id <= last))

    def _tidy(self) -> None:
        self._keys.tidy(self._settings.signing_key_days * 24 * 3600)
        with self._sessions.begin() as session:
            forget_expired(session)


async def _keys(bucket: KeyValue) -> set[str]:
    """All that are in the bucket."""
    for _ in range(LOOKS):
        with suppress(NoKeysError):
            return set(await bucket.keys())
    return set()


async def _bucket(stream: JetStreamContext) -> KeyValue:
    try:
        return await stream.key_value(policy.BUCKET)
    except BucketNotFoundError:
        config = KeyValueConfig(policy.BUCKET, history=1, direct=True, limit_marker_ttl=MARKER_LIFETIME)
        return await stream.create_key_value(config)


async def _publish(stream: JetStreamContext, key: str, entry: Entry | None) -> None:
    """Writes or deletes one entry. The client's KV has no lifetime for a put, so this is what its put does."""
    subject = f"$KV.{policy.BUCKET}.{key}"
    if entry is None:
        headers = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
        await stream.publish(subject, headers=headers, msg_ttl=MARKER_LIFETIME)
    elif entry.expires_at is None:
        await stream.publish(subject, entry.value)
    elif (left := entry.expires_at - int(time.time())) >= 1:
        await stream.publish(subject, entry.value, msg_ttl=left)
