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

KNOWN_FOR = 600.0
"""Seconds for which a batch that is sent again is known to be the same; at least an outage of the bus."""
RETRY_AFTER = 1.0


def ours(days: int = 90, megabytes: int = 1024) -> dict[str, Any]:
    """The settings that are ours to say; what else an operator has set, such as replicas, stays. What is older, or too
    much, goes: the oldest first."""
    return {
        "subjects": [subjects.audit("*")],
        "discard": DiscardPolicy.OLD,
        "max_age": days * 24 * 3600.0,
        "max_bytes": megabytes * 1024 * 1024,
        "duplicate_window": KNOWN_FOR,
    }


class AuditStream:
    """Looks after the stream; `run` is its task."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        """`wanted` are the settings that the stream is to have."""
        self._wanted = wanted
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
                await make(stream, self._wanted)
            except (NatsError, TimeoutError) as error:
                logger.warning("the stream of the audit trail is not there yet: %s", type(error).__name__)
                self._look.set()
                await asyncio.sleep(RETRY_AFTER)


async def make(stream: JetStreamContext, wanted: dict[str, Any] | None = None) -> None:
    """Creates the stream, or brings it up to date. Raises what the client raises."""
    wanted = ours() if wanted is None else wanted
    try:
        present = (await stream.stream_info(STREAM)).config
    except NotFoundError:
        kept = StreamConfig(name=STREAM, storage=StorageType.FILE, retention=RetentionPolicy.LIMITS)
        await stream.add_stream(kept.evolve(**wanted))
        logger.info("the stream of the audit trail is made")
        return
    if any(getattr(present, name) != value for name, value in wanted.items()):
        await stream.update_stream(present.evolve(**wanted))
        logger.info("the stream of the audit trail is brought up to date")
