"""The JetStream stream of the audit trail: there and as it should be, whenever the bus is."""

import asyncio
import logging
from typing import Any

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from isthmus import subjects
from isthmus.auditing import STREAM

logger = logging.getLogger("isthmus_auth.audit")

DAYS = 90
BYTES = 1024 * 1024 * 1024
"""What is older, or too much, goes: the oldest first."""
KNOWN_FOR = 600.0
"""Seconds for which a batch that is sent again is known to be the same; at least an outage of the bus."""
RETRY_AFTER = 1.0

OURS: dict[str, Any] = {
    "subjects": [subjects.audit("*")],
    "discard": DiscardPolicy.OLD,
    "max_age": DAYS * 24 * 3600.0,
    "max_bytes": BYTES,
    "duplicate_window": KNOWN_FOR,
}
"""The settings that are ours to say; what else an operator has set, such as replicas, stays."""


class AuditStream:
    """Looks after the stream; `run` is its task."""

    def __init__(self) -> None:
        self._look = asyncio.Event()
        self._look.set()

    def look_again(self) -> None:
        """The bus was away: it may be another one, without the stream."""
        self._look.set()

    async def run(self, stream: JetStreamContext) -> None:
        """Makes sure of the stream, again whenever it is asked to."""
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await make(stream)
            except (NatsError, TimeoutError) as error:
                logger.warning("the stream of the audit trail is not there yet: %s", type(error).__name__)
                self._look.set()
                await asyncio.sleep(RETRY_AFTER)


async def make(stream: JetStreamContext) -> None:
    """Creates the stream, or brings it up to date. Raises what the client raises."""
    try:
        present = (await stream.stream_info(STREAM)).config
    except NotFoundError:
        kept = StreamConfig(name=STREAM, storage=StorageType.FILE, retention=RetentionPolicy.LIMITS)
        await stream.add_stream(kept.evolve(**OURS))
        logger.info("the stream of the audit trail is made")
        return
    if any(getattr(present, name) != value for name, value in OURS.items()):
        await stream.update_stream(present.evolve(**OURS))
        logger.info("the stream of the audit trail is brought up to date")
