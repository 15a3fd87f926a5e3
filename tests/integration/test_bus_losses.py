"""The bus goes while calls are on their way: they are told at that moment, and nothing goes on unseen."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from mcp import Client

from fleet import until_listed
from gateways import running_gateway
from isthmus.worker import Call, Source, Worker
from servers import NatsServer
from shelf import Say, Shelf, served

TOLD_WITHIN = 1.0
"""Seconds; a silent worker counts as lost after two."""


@dataclass
class Counted(Shelf):
    """How many calls have begun."""

    began: int = 0
    at_work: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))


def make_worker(shelf: Counted) -> Worker[Shelf]:
    """Tools that wait for the gate: one that reads, one that writes."""
    worker = Worker[Shelf]("db", argument="database")

    async def wait(call: Call[Shelf], arguments: Say) -> str:
        shelf.began += 1
        shelf.at_work.release()
        try:
            await shelf.open.wait()
        except asyncio.CancelledError:
            shelf.stopped += 1
            raise
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def look(call: Call[Shelf], arguments: Say) -> str:
        """Reads."""
        return await wait(call, arguments)

    @worker.tool(scope="data:write", action="update")
    async def change(call: Call[Shelf], arguments: Say) -> str:
        """Writes."""
        return await wait(call, arguments)

    worker.add(Source("shelf", shelf, engine="test", target="test://shelf", writable=True))
    return worker


@asynccontextmanager
async def calling(nats: NatsServer, shelf: Counted) -> AsyncGenerator[Client]:
    async with (
        running_gateway(nats, call_timeout=15) as gateway,
        served(make_worker(shelf), nats),
        gateway.client() as client,
    ):
        await until_listed(client, "shelf")
        yield client


def kill(nats: NatsServer) -> None:
    assert nats.process is not None
    nats.process.kill()
    nats.process.wait(5)


async def test_a_write_under_way_when_the_bus_goes_is_told_at_once_and_stopped_when_it_is_back(
    nats: NatsServer,
) -> None:
    shelf = Counted()
    async with calling(nats, shelf) as client:
        call = asyncio.create_task(client.call_tool("change", {"words": "x"}))
        await asyncio.wait_for(shelf.at_work.acquire(), 5)
        kill(nats)
        began = time.monotonic()
        result = await call
        took = time.monotonic() - began
        nats.start()
        await until(lambda: shelf.stopped == 1)
    assert result.meta is not None
    assert result.meta["isthmus/error"] == "outcome_unknown"
    assert took < TOLD_WITHIN
    assert shelf.began == 1


async def test_a_read_under_way_when_the_bus_goes_is_asked_again_when_it_is_back(nats: NatsServer) -> None:
    shelf = Counted()
    async with calling(nats, shelf) as client:
        call = asyncio.create_task(client.call_tool("look", {"words": "x"}))
        await asyncio.wait_for(shelf.at_work.acquire(), 5)
        kill(nats)
        done, _ = await asyncio.wait([call], timeout=2.5)  # longer than a call looks for a worker that is not there
        assert not done
        nats.start()
        await asyncio.wait_for(shelf.at_work.acquire(), 5)
        await until(lambda: shelf.stopped == 1)
        shelf.open.set()
        result = await call
    assert not result.is_error, result.content
    assert shelf.began == 2


async def test_a_call_that_is_given_up_while_the_bus_is_away_is_stopped_when_it_is_back(nats: NatsServer) -> None:
    shelf = Counted()
    async with calling(nats, shelf) as client:
        call = asyncio.create_task(client.call_tool("look", {"words": "x"}))
        await asyncio.wait_for(shelf.at_work.acquire(), 5)
        kill(nats)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        nats.start()
        await until(lambda: shelf.stopped == 1)
    assert shelf.began == 1


async def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)
