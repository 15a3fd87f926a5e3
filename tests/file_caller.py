"""A gateway as small as can be, with a file worker of its own."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from isthmus import bus, subjects
from isthmus.grants import EVERYTHING, Grant, Granted
from isthmus.messages import FRAME_HEADER, TIMEOUT_HEADER, VERSION_HEADER, Envelope, Principal
from servers import NatsServer


@dataclass
class Caller:
    """A gateway, as small as can be, with a file worker of its own."""

    client: Client
    process: subprocess.Popen[bytes]
    joined_after: float
    """Seconds from the start of the process until its sources could be called."""
    numbers: Iterator[int] = field(default_factory=itertools.count)
    messages: asyncio.Queue[Msg] = field(default_factory=asyncio.Queue[Msg])

    async def ask(self, subject: str) -> dict[str, Any]:
        await self.client.publish(subject, reply="_INBOX_gateway.srv.test")
        return json.loads((await asyncio.wait_for(self.messages.get(), 5)).data)

    async def call(
        self, source: str, tool: str, *, grant: Grant = EVERYTHING, milliseconds: int = 5000, **arguments: object
    ) -> dict[str, Any]:
        await self.send(source, tool, grant=grant, milliseconds=milliseconds, **arguments)
        return json.loads((await self.next()).data)

    async def send(
        self, source: str, tool: str, *, grant: Grant = EVERYTHING, milliseconds: int = 5000, **arguments: object
    ) -> None:
        """Without waiting for the answer."""
        raw = msgspec.Raw(json.dumps(arguments).encode())
        granted = {f"file.{source}": Granted.of([grant])}
        await self.client.publish(
            subjects.call("file", source, tool),
            msgspec.json.encode(Envelope(f"c{next(self.numbers)}", Principal("u", "c", "default"), granted, raw)),
            reply="_INBOX_gateway.file.test.c1",
            headers={VERSION_HEADER: "1", TIMEOUT_HEADER: str(milliseconds)},
        )

    async def next(self) -> Msg:
        """The next answer."""
        while True:
            message = await asyncio.wait_for(self.messages.get(), 10)
            if FRAME_HEADER not in (message.headers or {}):
                return message


@asynccontextmanager
async def file_worker(nats: NatsServer, **environment: str) -> AsyncGenerator[Caller]:
    client = await bus.connect(nats.settings("gateway"), "gateway")
    joined = await client.subscribe(subjects.CATALOG_CHANGED)
    await client.flush()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "isthmus_file_worker"],
        env={**os.environ, **nats.environment("file_worker"), **environment},
    )
    try:
        await joined.next_msg(10)
        caller = Caller(client, process, time.monotonic() - began)
        await client.subscribe("_INBOX_gateway.file.test.*", cb=caller.messages.put)
        await client.subscribe("_INBOX_gateway.srv.test", cb=caller.messages.put)
        await client.flush()
        yield caller
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)
        await client.close()


def stores(**folders: dict[str, Any]) -> str:
    return json.dumps(folders)
