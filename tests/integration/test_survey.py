"""`isthmus status` on a real bus: who is there, how each source does, and what stands in the way of asking."""

import asyncio
import io
import json

import msgspec
import pytest
from rich.console import Console

from isthmus.launcher.status import NOTHING, render
from isthmus.launcher.survey import surveying
from isthmus.settings import BusSettings
from isthmus.survey import BusUnreachable, Figures, Status
from servers import NatsServer, free_port
from shelf import Shelf, calling, make_worker, served


def shown(status: Status, width: int) -> str:
    """The report as a terminal of this width shows it."""
    console = Console(file=io.StringIO(), width=width)
    console.print(render(status, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_a_bus_without_workers_is_said(nats: NatsServer) -> None:
    async with surveying(nats.settings("ops")) as survey:
        status = await survey.read()
    assert status == Status(workers=[], sources=[])
    assert shown(status, 80).strip() == NOTHING


async def test_two_workers_of_one_source_are_added_up_and_shown_below_it(nats: NatsServer) -> None:
    shelf = Shelf()
    async with served(make_worker(shelf), nats), served(make_worker(shelf), nats), calling(nats) as calls:
        async with surveying(nats.settings("ops")) as survey:
            await survey.read()
            for tool in ("say", "say", "fall", "hold"):
                await calls.put(tool.encode())
            await asyncio.wait_for(calls.join(), 10)
            status = await survey.read()
        shelf.open.set()
    assert [worker.worker for worker in status.workers] == ["db-worker", "db-worker"]
    closed, both = status.sources
    assert (closed.id, both.id) == ("db.closed", "db.shelf")
    assert (both.engine, both.access, closed.access) == ("test", "read-write", "read-only")
    assert (both.total.calls, both.total.errors, both.total.in_flight, both.total.limit) == (4, 1, 1, 8)
    assert both.total.calls_per_second > 0
    assert both.total.average_milliseconds > 0
    assert len(both.instances) == 2
    assert sum(figures.calls for figures in both.instances.values()) == 4
    for width in (80, 120):
        text = shown(status, width)
        assert max(len(line) for line in text.splitlines()) <= width
        for instance in both.instances:
            assert text.count(instance[-8:]) == 3  # with the workers, and below both sources
    assert json.loads(msgspec.json.encode(status))["sources"][1]["total"]["calls"] == 4


def test_averages_weigh_by_finished_calls() -> None:
    slow = Figures(calls=2, in_flight=1, average_milliseconds=100)
    quick = Figures(calls=9, average_milliseconds=10)
    assert slow.plus(quick).average_milliseconds == 19


async def test_what_keeps_from_asking_is_one_sentence_without_the_password(nats: NatsServer) -> None:
    cases = {
        "Nothing answers": BusSettings(nats_url=f"nats://me:hunter2@127.0.0.1:{free_port()}"),
        "refused this user": BusSettings(nats_url=nats.url, nats_user="ops", nats_password="phunter2"),
        "does not let this user ask": nats.settings("auth"),
    }
    for sentence, settings in cases.items():
        with pytest.raises(BusUnreachable, match=sentence) as raised:
            async with surveying(settings) as survey:
                await survey.read()
        assert "hunter2" not in raised.value.message
