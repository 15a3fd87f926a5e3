"""A changed `isthmus.toml` under running calls: what changed is served anew, and nothing else notices."""

import asyncio
import os
import signal
import sqlite3
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp import Client
from mcp_types import CallToolResult

from gateways import Gateway, running_gateway
from isthmus.errors import ConfigurationError
from isthmus.launcher.survey import surveying
from isthmus.worker import ConfiguredSources, Source
from servers import NatsServer
from shelf import Shelf, make_worker, served

WITHIN = 15.0
"""Seconds on a busy machine; a quiet one takes one."""


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    end = time.monotonic() + WITHIN
    while not await holds():
        assert time.monotonic() < end, f"not within {WITHIN} s"
        await asyncio.sleep(0.05)


async def sources(client: Client) -> dict[str, str]:
    """The description of every source."""
    found = (await client.call_tool("list_sources", {})).structured_content
    assert found is not None
    return {source["name"]: source["description"] for source in found["sources"]}


@dataclass
class Callers:
    """Calls without end, each of them checked."""

    made: dict[str, int] = field(default_factory=dict[str, int])
    wrong: list[CallToolResult] = field(default_factory=list[CallToolResult])

    done: bool = False

    async def call(self, client: Client, tool: str, arguments: dict[str, Any], right: str) -> None:
        while not self.done:
            answer = await client.call_tool(tool, arguments)
            self.made[tool] = self.made.get(tool, 0) + 1
            if answer.is_error or right not in str(answer.structured_content):
                self.wrong.append(answer)


@asynccontextmanager
async def worker(module: str, config: Path, nats: NatsServer) -> AsyncGenerator[tuple[Process, Path]]:
    """A real worker process with this configuration, and its log."""
    kind = module.split("_")[1]
    log = config.with_name(f"{kind}.log")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            env={**environment, **nats.environment(f"{kind}_worker"), "ISTHMUS_CONFIG": str(config)},
            stderr=output,
        )
    try:
        yield process, log
    finally:
        process.terminate()
        await process.wait()


def database(folder: Path, name: str) -> str:
    """A database with one row that says its name; its URL."""
    with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
        connection.execute("create table facts (id integer primary key, name text)")
        connection.execute("insert into facts (name) values (?)", (f"I am {name}",))
        connection.commit()
    return f"sqlite:///{folder}/{name}.db"


def write(config: Path, tables: Sequence[str]) -> None:
    """As an editor does it: aside, then renamed."""
    aside = config.with_suffix(".new")
    aside.write_text("\n".join(tables))
    aside.replace(config)


def table(kind: str, name: str, key: str, value: str, description: str = "") -> str:
    return f'[{kind}.{name}]\n{key} = "{value}"\ndescription = "{description}"\n'


@pytest.mark.timeout(120)
async def test_sources_are_added_changed_and_removed_and_no_call_of_another_fails(
    nats: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text("I am a paper")
    config = tmp_path / "isthmus.toml"
    steady = table("databases", "steady", "url", database(tmp_path, "steady"))
    papers = table("files", "papers", "path", str(tmp_path / "papers"))
    one = table("databases", "moving", "url", database(tmp_path, "one"), "first")
    other = table("databases", "moving", "url", database(tmp_path, "other"), "second")
    more = table("files", "more", "path", str(tmp_path))
    write(config, [steady, papers])
    callers, calling = Callers(), list[asyncio.Task[None]]()
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(running_gateway(nats, call_timeout=20))
        databases, log = await stack.enter_async_context(worker("isthmus_db_worker", config, nats))
        await stack.enter_async_context(worker("isthmus_file_worker", config, nats))
        client = await stack.enter_async_context(client_of(gateway))
        await until(lambda: has(client, {"steady", "papers"}))
        survey = await stack.enter_async_context(surveying(nats.settings("ops")))
        began = await survey.read()
        for tool, arguments, right in (
            ("query_table", {"database": "steady", "table": "facts"}, "I am steady"),
            ("read_file", {"store": "papers", "path": "a.txt"}, "I am a paper"),
        ):
            for _ in range(2):
                caller = await stack.enter_async_context(client_of(gateway))
                calling.append(asyncio.create_task(callers.call(caller, tool, arguments, right)))
        query = {"database": "moving", "table": "facts"}

        write(config, [steady, papers, one, more])
        await until(lambda: has(client, {"steady", "papers", "moving", "more"}))
        assert "I am one" in str(await client.call_tool("query_table", query))
        assert not (await client.call_tool("list_files", {"store": "more"})).is_error

        write(config, [steady, papers, other, more])
        await until(lambda: describes(client, "moving", "second"))
        assert "I am other" in str(await client.call_tool("query_table", query))

        for broken, reason in (("[databases", "not valid TOML"), (f"{one}acces = 1", "`acces`")):
            write(config, [steady, papers, more, broken])
            await until(lambda reason=reason: says(log, reason))
            assert "I am other" in str(await client.call_tool("query_table", query))
        config.unlink()
        await until(lambda: says(log, "cannot be read"))
        assert set(await sources(client)) == {"steady", "papers", "moving", "more"}

        write(config, [steady, papers, one])
        databases.send_signal(signal.SIGHUP)
        await until(lambda: has(client, {"steady", "papers", "moving"}))
        await until(lambda: describes(client, "moving", "first"))
        assert "I am one" in str(await client.call_tool("query_table", query))

        write(config, [steady, papers])
        await until(lambda: has(client, {"steady", "papers"}))
        assert (await client.call_tool("query_table", query)).is_error

        callers.done = True
        await asyncio.gather(*calling)
        made, ended = callers.made, await survey.read()
    assert callers.wrong == []
    assert made["query_table"] > 20
    assert made["read_file"] > 20
    assert [one.id for one in ended.workers] == [one.id for one in began.workers]
    served_calls = {source.id: source.total.calls for source in ended.sources}
    assert served_calls["db.steady"] >= made["query_table"]  # they count from the start: it was never opened anew
    assert served_calls["file.papers"] >= made["read_file"]


def client_of(gateway: Gateway) -> Any:
    scope = "data:read data:write files:read files:write"
    return gateway.client(token=gateway.authority.token(scope=scope))


async def has(client: Client, names: set[str]) -> bool:
    return set(await sources(client)) == names


async def describes(client: Client, name: str, description: str) -> bool:
    return (await sources(client)).get(name) == description


async def says(log: Path, text: str) -> bool:
    return text in log.read_text()


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A source of the worker below."""

    target: str


async def test_a_call_that_runs_on_a_source_that_goes_is_finished_and_then_the_source_is_closed(
    nats: NatsServer, tmp_path: Path
) -> None:
    config = tmp_path / "isthmus.toml"
    closed: list[str] = []
    shelves: dict[str, Shelf] = {}

    def make(name: str, place: Place) -> Source[Shelf]:
        shelf = shelves[place.target] = Shelf()
        return Source(name, shelf, engine="test", target=place.target, close=lambda: closed.append(place.target))

    def hold(client: Client, name: str) -> "asyncio.Task[Any]":
        return asyncio.create_task(client.call_tool("hold", {"database": name, "words": f"held {name}"}))

    write(config, [table_of("moving", "x:1"), table_of("going", "x:2"), table_of("staying", "x:3")])
    kit = make_worker(Shelf())
    kit.follow(ConfiguredSources("databases", Place, make, {"ISTHMUS_CONFIG": str(config)}))
    async with running_gateway(nats, call_timeout=30) as gateway, served(kit, nats), gateway.client() as client:
        all_there = {"moving", "going", "staying", "shelf", "closed"}
        await until(lambda: has(client, all_there))
        calls = [hold(client, name) for name in ("moving", "going", "staying")]
        await until(lambda: in_flight(nats, 3))

        write(config, [table_of("moving", "x:4"), table_of("staying", "x:3")])
        await until(lambda: has(client, all_there - {"going"}))
        said = await client.call_tool("say", {"database": "moving", "words": "new"})
        assert not said.is_error
        assert list(shelves) == ["x:1", "x:2", "x:3", "x:4"]
        assert closed == []
        for target in ("x:1", "x:2", "x:3"):
            shelves[target].open.set()
        answers = [await call for call in calls]
        assert [answer.content[0].text for answer in answers] == ["held moving", "held going", "held staying"]
        await until(lambda: are(closed, ["x:1", "x:2"]))
    assert not any(shelf.stopped for shelf in shelves.values())


def table_of(name: str, target: str) -> str:
    return f'[databases.{name}]\ntarget = "{target}"\n'


async def are(found: list[str], wanted: list[str]) -> bool:
    return sorted(found) == wanted


async def in_flight(nats: NatsServer, number: int) -> bool:
    async with surveying(nats.settings("ops")) as survey:
        return sum(source.total.in_flight for source in (await survey.read()).sources) == number


async def test_unchanged_settings_keep_their_source_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "isthmus.toml"

    def make(name: str, place: Place) -> Source[Place]:
        return Source(name, place, engine="test", target=place.target)

    write(config, [table_of("a", "x:1"), table_of("b", "x:2")])
    configured = ConfiguredSources("databases", Place, make, {"ISTHMUS_CONFIG": str(config)})
    first = configured.read()
    write(config, [table_of("b", "x:2"), table_of("a", "x:3"), "[databases.Wrong]\ntarget = 'x'\n"])
    with pytest.raises(ConfigurationError, match="Wrong"):
        configured.read()
    write(config, [table_of("b", "x:2"), table_of("a", "x:3")])
    second = configured.read()
    assert second["b"] is first["b"]
    assert second["a"].target == "x:3"
