"""What auth knows of the bus: workers that come, go and die, what they claim, and what it costs to look."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import fleet
from isthmus import bus, survey
from isthmus.survey import SourceStatus
from isthmus.worker import Source, Worker
from isthmus_auth.topology import Topology, Watch
from servers import NatsServer
from shelf import Shelf, calling, make_worker, served


@asynccontextmanager
async def watching(nats: NatsServer, *, fresh: float = 0, remembered: float = 60) -> AsyncGenerator[Watch]:
    """As auth does it, with its own user; without patience, so that each look is a new one."""
    client = await bus.connect(nats.settings("auth"), "auth")
    yield Watch(lambda: client, fresh=fresh, remembered=remembered)
    await client.close()


async def until(watch: Watch, holds: Callable[[Topology], object], seconds: float = 8) -> Topology:
    """Looks until it holds."""
    end = time.monotonic() + seconds
    while not holds(seen := await watch.now()):
        assert time.monotonic() < end, f"still {seen}"
        await asyncio.sleep(0.02)
    return seen


def source(seen: Topology, source_id: str) -> SourceStatus:
    return next(one for one in seen.sources if one.id == source_id)


async def test_a_worker_that_joins_and_one_that_leaves_show_at_the_next_look(nats: NatsServer) -> None:
    async with watching(nats) as watch:
        before = await watch.now()
        assert (before.bus, before.workers, before.sources) == (True, [], [])
        async with served(make_worker(Shelf()), nats):
            seen = await watch.now()
            (worker,) = seen.workers
            assert (worker.name, worker.version, worker.gone_for) == ("db-worker", "0.1.0", None)
            assert worker.sources == ["db.closed", "db.shelf"]
            assert worker.started is not None
            shelf = source(seen, "db.shelf")
            assert (shelf.kind, shelf.engine, shelf.title, shelf.access) == ("db", "test", "Shelf", "read-write")
            assert (shelf.conflict, shelf.total.limit, list(shelf.instances)) == (False, 4, [worker.id])
        after = await watch.now()
        assert [one.gone_for is not None for one in after.workers] == [True]
        assert source(after, "db.shelf").instances == {}


async def test_a_worker_that_is_killed_is_shown_as_gone_and_then_forgotten(nats: NatsServer, tmp_path: Path) -> None:
    with fleet.db_worker(nats, tmp_path, ledger=f"sqlite:///{fleet.ledger(tmp_path)}") as process:
        async with watching(nats, remembered=0.6) as watch:
            seen = await until(watch, lambda seen: seen.workers)
            assert source(seen, "db.ledger").engine == "sqlite"
            process.kill()
            seen = await until(watch, lambda seen: seen.workers[0].gone_for is not None)
            assert seen.workers[0].sources == ["db.ledger"]
            assert source(seen, "db.ledger").instances == {}
            seen = await until(watch, lambda seen: not seen.workers)
            assert seen.sources == []


async def test_the_rate_of_calls_is_that_between_two_looks(nats: NatsServer) -> None:
    async with watching(nats) as watch, served(make_worker(Shelf()), nats), calling(nats) as calls:
        first = source(await watch.now(), "db.shelf").total
        assert (first.calls, first.calls_per_second) == (0, 0)
        for tool in ("say", "say", "miss", "fall"):
            await calls.put(tool.encode())
        await asyncio.wait_for(calls.join(), 5)
        second = source(await watch.now(), "db.shelf").total
        assert (second.calls, second.errors, second.last_error) == (4, 1, "RuntimeError")
        assert second.calls_per_second > 0
        assert second.average_milliseconds > 0
        assert source(await watch.now(), "db.shelf").total.calls_per_second == 0


async def test_two_workers_with_one_name_and_two_targets_are_a_conflict(nats: NatsServer) -> None:
    def worker(target: str, version: str) -> Worker[None]:
        made = Worker[None]("db", argument="database", version=version)
        made.add(Source("sales", None, engine="test", target=target))
        return made

    async with watching(nats) as watch, served(worker("test://a", "1.0.0"), nats), AsyncExitStack() as other:
        await other.enter_async_context(served(worker("test://b", "1.1.0"), nats))
        seen = await watch.now()
        assert source(seen, "db.sales").conflict
        assert {one.version for one in seen.workers} == {"1.0.0", "1.1.0"}
        await other.aclose()
        assert not source(await watch.now(), "db.sales").conflict


async def test_while_the_bus_is_away_that_is_said_and_the_last_look_stays(nats: NatsServer) -> None:
    async with watching(nats) as watch, served(make_worker(Shelf()), nats):
        before = await watch.now()
        nats.stop()
        away = await until(watch, lambda seen: not seen.bus)
        assert (away.sources, away.workers, away.at) == (before.sources, before.workers, before.at)
        nats.start()
        back = await until(watch, lambda seen: seen.bus and source(seen, "db.shelf").instances)
        assert [one.id for one in back.workers] == [one.id for one in before.workers]


async def test_nobody_is_forgotten_because_the_bus_was_away(nats: NatsServer) -> None:
    async with watching(nats, remembered=0.3) as watch, AsyncExitStack() as there:
        liar = await there.enter_async_context(Liar.on(nats))
        liar.infos = [info()]
        heard = (await watch.now()).at
        nats.stop()
        await until(watch, lambda seen: not seen.bus and time.time() - heard > 0.6)
        await there.aclose()
        nats.start()
        back = await until(watch, lambda seen: seen.bus)
        assert [one.gone_for is not None for one in back.workers] == [True]


async def test_a_bus_that_was_never_there_is_said(nats: NatsServer) -> None:
    assert not (await Watch(lambda: None).now()).bus


async def test_ten_who_ask_at_once_ask_the_bus_once(nats: NatsServer) -> None:
    asked: list[str] = []

    async def on_question(message: Msg) -> None:
        asked.append(message.subject)

    listener = await bus.connect(nats.settings("db_worker"), "db_worker")
    for verb in ("PING", "INFO", "STATS"):
        await listener.subscribe(f"$SRV.{verb}", cb=on_question)
    await listener.flush()
    async with watching(nats, fresh=30) as watch, served(make_worker(Shelf()), nats):
        asked.clear()
        answers = await asyncio.gather(*(watch.now() for _ in range(10)))
        assert all(answer is answers[0] for answer in answers)
        assert len(answers[0].workers) == 1
    await listener.close()
    assert sorted(asked) == ["$SRV.INFO", "$SRV.STATS"]


class Liar:
    """Answers what it likes to INFO and STATS."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.infos: list[bytes] = []
        self.stats: list[bytes] = []

    @classmethod
    @asynccontextmanager
    async def on(cls, nats: NatsServer) -> AsyncGenerator["Liar"]:
        client = await bus.connect(nats.settings("db_worker"), "db_worker")
        liar = cls(client)
        await client.subscribe("$SRV.INFO", cb=liar.on_info)
        await client.subscribe("$SRV.STATS", cb=liar.on_stats)
        await client.flush()
        yield liar
        await client.close()

    async def on_info(self, message: Msg) -> None:
        for answer in self.infos:
            await self.client.publish(message.reply, answer)

    async def on_stats(self, message: Msg) -> None:
        for answer in self.stats:
            await self.client.publish(message.reply, answer)


def info(instance: str = "L1", name: str = "db-worker", source: str = "lies", **metadata: object) -> bytes:
    about = {
        "kind": "db",
        "engine": "test",
        "title": "",
        "description": "",
        "fingerprint": "f",
        "definitions": "d",
        "access": "read-only",
        **metadata,
    }
    endpoint = {"name": source, "subject": f"isthmus.call.db.{source}.*", "metadata": about}
    return json.dumps({"name": name, "id": instance, "version": "1.0.0", "endpoints": [endpoint]}).encode()


def stats(instance: str = "L1", **changes: object) -> bytes:
    endpoint = {"name": "lies", "num_requests": 7, "data": {"in_flight": 1, "limit": 2}, **changes}
    answer = {"name": "db-worker", "id": instance, "started": "2026-01-02T03:04:05.678Z", "endpoints": [endpoint]}
    return json.dumps(answer).encode()


NO_WORKERS = [
    b"",
    b"[]",
    b'{"name": 7}',
    b"\xff\xfe",
    info(name="../db-worker"),
    info(instance="L 1<script>"),
    info(kind=7),
    info(title=None),
]
NO_SOURCES = [
    info(source="Lies"),
    info(name="file-worker"),
    info(kind="peer", name="peer-worker"),
    info(source="lies.x"),
]


@pytest.mark.parametrize(("answers", "workers"), [(NO_WORKERS, 0), (NO_SOURCES, 1)], ids=["no workers", "no sources"])
async def test_answers_that_are_no_source_of_a_worker_are_left_out(
    nats: NatsServer, answers: list[bytes], workers: int
) -> None:
    async with watching(nats) as watch, Liar.on(nats) as liar, served(make_worker(Shelf()), nats):
        for answer in answers:
            liar.infos = [answer]
            seen = await watch.now()
            assert [one.id for one in seen.sources] == ["db.closed", "db.shelf"], answer
            assert len([one for one in seen.workers if one.gone_for is None]) == 1 + workers, answer


@pytest.mark.parametrize(
    "answer",
    [
        b"nothing",
        stats(num_requests=-1),
        stats(num_requests=2**70),
        stats(num_requests="7"),
        stats(data=[]),
        stats(processing_time=1.5),
    ],
)
async def test_figures_that_cannot_be_are_none(nats: NatsServer, answer: bytes) -> None:
    async with watching(nats) as watch, Liar.on(nats) as liar:
        liar.infos, liar.stats = [info()], [answer]
        assert source(await watch.now(), "db.lies").total == survey.Figures()


async def test_a_look_during_which_the_process_stood_still_misses_nobody(nats: NatsServer) -> None:
    async with watching(nats) as watch, Liar.on(nats) as liar:
        liar.infos = [info()]
        look = asyncio.create_task(watch.now())
        await asyncio.sleep(0)
        time.sleep(survey.FIRST_WITHIN + 0.3)
        assert source(await look, "db.lies").instances


async def test_texts_are_cut_and_an_error_is_shown_only_as_a_code(nats: NatsServer) -> None:
    async with watching(nats) as watch, Liar.on(nats) as liar:
        liar.infos = [info(title="T" * 9000, description="D" * 9000, engine="E" * 9000, access="A" * 9000)]
        liar.stats = [stats(num_errors=3, last_error="password for postgresql://ann:hunter2@db is wrong", data=None)]
        seen = source(await watch.now(), "db.lies")
        assert [len(text) for text in (seen.title, seen.description, seen.engine, seen.access)] == [200, 2000, 64, 64]
        assert (seen.total.errors, seen.total.last_error) == (3, "")
        liar.stats = [stats(num_errors=3, last_error="source_unavailable", started="0001-01-01T00:00:00+14:00")]
        assert source(await watch.now(), "db.lies").total.last_error == "source_unavailable"


async def test_words_that_steer_a_terminal_or_read_as_others_do_not_come_through(nats: NatsServer) -> None:
    async with watching(nats) as watch, Liar.on(nats) as liar:
        liar.infos = [info(title="\x1b[2JSales\u202egro.elas\u200b", description="two\r\n lines\x00", engine="\x9b31m")]
        seen = source(await watch.now(), "db.lies")
        assert (seen.title, seen.description, seen.engine) == ("[2JSalesgro.elas", "two lines", "31m")


async def test_far_too_many_answers_and_sources_are_bounded_and_that_is_said(nats: NatsServer) -> None:
    async with watching(nats) as watch, Liar.on(nats) as liar:
        liar.infos = [info(instance=f"L{number}") for number in range(survey.MOST_ANSWERS + 500)]
        seen = await watch.now()
        assert not seen.complete
        assert len(seen.workers) == survey.MOST_ANSWERS
        liar.infos = []
        seen = await watch.now()
        assert len(seen.workers) == 200, "of those that are gone only so many are kept"
        one = msgspec.json.decode(info())
        endpoint = one["endpoints"][0]
        named = [
            {**endpoint, "name": f"s{number}", "subject": f"isthmus.call.db.s{number}.*"}
            for number in range(survey.MOST_SOURCES + 5)
        ]
        liar.infos = [json.dumps({**one, "endpoints": named}).encode()]
        seen = await watch.now()
        assert not seen.complete
        assert len([one for one in seen.sources if one.instances]) == survey.MOST_SOURCES
