"""Reads the audit trail in tests."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from isthmus import bus
from isthmus.auditing import STREAM
from servers import NatsServer

Event = dict[str, Any]


@dataclass
class Trail:
    """What has been read so far, from the beginning of the stream."""

    client: Client
    ignored: str = "list_sources"
    """The tool whose calls are left out: tests call it until a source is there."""
    events: list[Event] = field(default_factory=list[Event])
    messages: int = 0

    async def until(self, holds: Callable[[list[Event]], object], seconds: float = 10) -> list[Event]:
        """Reads until the events are as they should be."""
        end = asyncio.get_running_loop().time() + seconds
        while not holds(self.events):
            assert asyncio.get_running_loop().time() < end, f"still {self.events} after {seconds} s"
            try:
                await self._read()
            except (NatsError, TimeoutError):
                await asyncio.sleep(0.02)
        return self.events

    async def _read(self) -> None:
        stream = self.client.jetstream()
        config = ConsumerConfig(
            name=f"test{self.messages}",
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self.messages + 1,
            inactive_threshold=60,
        )
        await stream.add_consumer(STREAM, config)
        bound = await stream.pull_subscribe_bind(config.name, STREAM)
        try:
            for message in await bound.fetch(100, timeout=0.2):
                self.messages += 1
                events: list[Event] = [msgspec.json.decode(line) for line in message.data.splitlines()]
                self.events += [event for event in events if event.get("tool") != self.ignored]
        finally:
            await bound.unsubscribe()


@asynccontextmanager
async def reading(nats: NatsServer, ignored: str = "list_sources") -> AsyncGenerator[Trail]:
    """The trail, as the user that may read it."""
    client = await bus.connect(nats.settings("auth"), "auth")
    try:
        yield Trail(client, ignored)
    finally:
        await client.close()
