"""The worker kit on a real bus: calls, bounds, frames, cancellation, `$SRV` and leaving."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from isthmus import bus, subjects
from isthmus.grants import EVERYTHING, Grant, Granted
from isthmus.messages import (
    FRAME_HEADER,
    TIMEOUT_HEADER,
    VERSION_HEADER,
    Envelope,
    Principal,
)
from isthmus.tools import Source, Updated
from servers import NatsServer
from shelf import Shelf, make_worker, served


@dataclass
class Caller:
    """A gateway, as small as can be: calls, and all that comes back."""

    client: Client
    messages: asyncio.Queue[Msg] = field(default_factory=asyncio.Queue[Msg])

    @classmethod
    @asynccontextmanager
    async def connected(cls, nats: NatsServer) -> AsyncGenerator["Caller"]:
        client = await bus.connect(nats.settings("gateway"), "gateway")
        caller = cls(client)
        await client.subscribe("_INBOX_gateway.db.test.*", cb=caller.messages.put)
        await client.subscribe("_INBOX_gateway.srv.test", cb=caller.messages.put)
        await client.flush()
        yield caller
        await client.close()

    async def send(
        self,
        tool: str,
        arguments: dict[str, Any] | bytes,
        *,
        call_id: str = "c1",
        source: str = "shelf",
        grant: Grant = EVERYTHING,
        milliseconds: int = 5000,
    ) -> None:
        raw = arguments if isinstance(arguments, bytes) else json.dumps(arguments).encode()
        envelope = Envelope(
            call_id, Principal("u", "c", "default"), {f"db.{source}": Granted.of([grant])}, msgspec.Raw(raw)
        )
        await self.client.publish(
            subjects.call("db", source, tool),
            msgspec.json.encode(envelope),
            reply=f"_INBOX_gateway.db.test.{call_id}",
            headers={VERSION_HEADER: "1", TIMEOUT_HEADER: str(milliseconds)},
        )

    async def ask(self, subject: str) -> dict[str, Any]:
        await self.client.publish(subject, reply="_INBOX_gateway.srv.test")
        return json.loads((await self.next()).data)

    async def next(self) -> Msg:
        return await asyncio.wait_for(self.messages.get(), 5)

    async def call(self, tool: str, arguments: dict[str, Any] | bytes, **options: Any) -> dict[str, Any]:
        await self.send(tool, arguments, **options)
        while (message := await self.next()).headers and FRAME_HEADER in message.headers:
            pass
        return json.loads(message.data) if message.data else dict(message.headers or {})


async def test_a_call_is_answered_with_text_and_structured_content(nats: NatsServer) -> None:
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        result = await caller.call("say", {"words": "hello"})
    assert result == {
        "content": [{"type": "text", "text": "It said: hello"}],
        "structuredContent": {"words": "hello"},
        "isError": False,
        "resultType": "complete",
    }


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("say", {"word": "x"}, "say has no argument `word`. Did you mean words?"),
        ("say", {}, "Object missing required field `words`."),
        ("say", {"words": 1}, "`words`: Expected `string`, got `integer`."),
        ("say", {"words": "x", "database": "other"}, "The call was for shelf, but `database` names another source."),
        ("say", b"{}x", None),
        ("miss", {"words": "book"}, "There is no book."),
        ("burn", {"words": "x"}, "shelf has no such tool; a read-only source has none that write."),
    ],
)
async def test_what_a_caller_can_mend_is_a_tool_error_in_one_sentence(
    nats: NatsServer, tool: str, arguments: dict[str, Any] | bytes, sentence: str | None
) -> None:
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        result = await caller.call(tool, arguments)
    if sentence is None:
        assert result["Isthmus-Error"] == "bad_call"
    else:
        assert result["isError"] is True
        assert result["content"][0]["text"] == sentence


@pytest.mark.parametrize("words", ["x", "socket"])
async def test_a_failing_tool_says_nothing_about_its_insides(nats: NatsServer, words: str) -> None:
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        headers = await caller.call("fall", {"words": words})
        assert headers["Nats-Service-Error-Code"] == "500"
        assert "hunter2" not in str(headers)
        assert (await caller.call("say", {"words": "still here"}))["isError"] is False


async def test_a_read_only_source_has_no_tools_that_write(nats: NatsServer) -> None:
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        assert (await caller.call("write", {"words": "x"}, source="closed"))["isError"] is True
        assert (await caller.call("write", {"words": "x"}, source="shelf"))["isError"] is False


async def test_without_a_grant_for_the_action_nothing_runs(nats: NatsServer) -> None:
    reader = Grant(sources=("db.*",), actions=("read",))
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        result = await caller.call("write", {"words": "x"}, grant=reader)
        assert result["_meta"] == {"isthmus/error": "not_allowed"}
        assert (await caller.call("say", {"words": "x"}, grant=reader))["isError"] is False


async def test_a_worker_that_knows_no_parts_refuses_who_is_granted_a_part(nats: NatsServer) -> None:
    part = Grant(sources=("db.*",), actions=("read",), objects=("orders",))
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        result = await caller.call("say", {"words": "x"}, grant=part)
        assert result["_meta"] == {"isthmus/error": "not_allowed"}


async def test_a_call_over_the_bound_is_answered_busy_at_once(nats: NatsServer) -> None:
    shelf = Shelf()
    async with served(make_worker(shelf, limit=1), nats), Caller.connected(nats) as caller:
        await caller.send("hold", {"words": "first"}, call_id="c1")
        assert FRAME_HEADER in ((await caller.next()).headers or {})
        assert (await caller.call("say", {"words": "x"}, call_id="c2"))["Nats-Service-Error-Code"] == "429"
        shelf.open.set()
        assert json.loads((await caller.next()).data)["content"][0]["text"] == "first"


async def test_a_long_call_reports_progress_and_that_it_is_alive(nats: NatsServer) -> None:
    shelf = Shelf()
    async with served(make_worker(shelf), nats), Caller.connected(nats) as caller:
        await caller.send("hold", {"words": "x"})
        progress, working = await caller.next(), await caller.next()
        assert (progress.headers or {})[FRAME_HEADER] == "progress"
        assert json.loads(progress.data) == {"progress": 1.0, "total": 2.0, "message": "half way"}
        assert (working.headers or {})[FRAME_HEADER] == "working"
        shelf.open.set()


async def test_the_deadline_travels_and_stops_the_tool(nats: NatsServer) -> None:
    shelf = Shelf()
    async with served(make_worker(shelf), nats), Caller.connected(nats) as caller:
        result = await caller.call("hold", {"words": "x"}, milliseconds=100)
    assert result["_meta"] == {"isthmus/error": "deadline_exceeded"}
    assert shelf.stopped == 1


async def test_a_cancelled_call_stops_even_when_the_cancellation_comes_first(nats: NatsServer) -> None:
    shelf = Shelf()
    async with served(make_worker(shelf, limit=1), nats), Caller.connected(nats) as caller:
        await caller.send("hold", {"words": "x"}, call_id="late")
        await caller.next()
        await caller.client.publish(subjects.CANCEL, b"late")
        await caller.client.publish(subjects.CANCEL, b"early")
        await caller.client.flush()
        await caller.send("hold", {"words": "x"}, call_id="early")
        while (await caller.call("say", {"words": "x"}, call_id="c3")).get("Nats-Service-Error-Code") == "429":
            pass
        assert shelf.stopped == 1


async def test_srv_answers_with_true_numbers_while_calls_are_running(nats: NatsServer) -> None:
    shelf = Shelf()
    async with served(make_worker(shelf, limit=64), nats), Caller.connected(nats) as caller:
        for number in range(64):
            await caller.send("hold", {"words": "x"}, call_id=f"c{number}")
        for _ in range(64):
            await caller.next()
        ops = await bus.connect(nats.settings("ops"), "ops")
        stats = json.loads((await ops.request("$SRV.STATS.db-worker", timeout=2)).data)
        info = json.loads((await ops.request("$SRV.INFO.db-worker", timeout=2)).data)
        ping = json.loads((await ops.request("$SRV.PING.db-worker", timeout=2)).data)
        await ops.close()
        shelf.open.set()
    (endpoint,) = [e for e in stats["endpoints"] if e["name"] == "shelf"]
    assert endpoint["num_requests"] == 64
    assert endpoint["data"] == {"in_flight": 64, "limit": 64}
    assert {e["name"]: e["metadata"]["access"] for e in info["endpoints"]} == {
        "shelf": "read-write",
        "closed": "read-only",
    }
    assert int(ping["metadata"]["revision"]) > 0


async def test_a_set_of_definitions_is_found_under_its_digest(nats: NatsServer) -> None:
    async with served(make_worker(Shelf()), nats), Caller.connected(nats) as caller:
        info = await caller.ask("$SRV.INFO.db-worker")
        by_source = {e["name"]: e["metadata"]["definitions"] for e in info["endpoints"]}
        sets = {name: await caller.ask(subjects.tools("db", digest)) for name, digest in by_source.items()}
    assert [tool["name"] for tool in sets["shelf"]["tools"]] == ["fall", "hold", "miss", "say", "write"]
    assert [tool["name"] for tool in sets["closed"]["tools"]] == ["fall", "hold", "miss", "say"]
    (say,) = [tool for tool in sets["closed"]["tools"] if tool["name"] == "say"]
    assert say["description"] == "Says it."
    assert say["inputSchema"]["properties"]["words"] == {"type": "string", "description": "The words."}
    assert say["sources"] == {"database": "db"}
    assert say["annotations"]["readOnlyHint"] is True


async def test_a_worker_that_leaves_loses_no_call(nats: NatsServer) -> None:
    async with Caller.connected(nats) as caller:
        async with served(make_worker(Shelf(), limit=1000), nats):
            for number in range(200):
                await caller.send("say", {"words": str(number)}, call_id=f"c{number}")
            await caller.client.flush()
        answers = [await caller.next() for _ in range(200)]
    assert {json.loads(answer.data)["structuredContent"]["words"] for answer in answers} == {str(n) for n in range(200)}


async def test_a_heartbeat_shows_that_a_worker_is_on_the_bus(nats: NatsServer, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"

    async def beats() -> bool:
        """Whether it is touched within a second."""
        before, end = modified(), asyncio.get_running_loop().time() + 1
        while modified() == before and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        return modified() != before

    def modified() -> int:
        return heartbeat.stat().st_mtime_ns if heartbeat.exists() else 0

    async def until(beating: bool) -> None:
        async with asyncio.timeout(8):
            while await beats() is not beating:
                pass

    async with served(make_worker(Shelf()), nats, heartbeat_path=str(heartbeat)):
        await until(beating=True)
        nats.stop()
        await until(beating=False)
        nats.start()
        await until(beating=True)
    assert not await beats()


async def test_what_goes_on_beside_the_calls_of_a_source_lasts_as_long_as_the_source(nats: NatsServer) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def beside(updated: Updated) -> None:
        try:
            began.set()
            while True:
                await updated("shelf://news")
                await asyncio.sleep(0.05)
        finally:
            ended.set()

    async def fails(updated: Updated) -> None:
        raise RuntimeError

    worker = make_worker(Shelf())
    worker.add(Source("busy", Shelf(), engine="shelf", target="shelf:busy", background=beside))
    worker.add(Source("failing", Shelf(), engine="shelf", target="shelf:failing", background=fails))
    client = await bus.connect(nats.settings("gateway"), "gateway")
    news = await client.subscribe(subjects.updated("db", "busy"))
    await client.flush()
    async with served(worker, nats), Caller.connected(nats) as caller:
        await asyncio.wait_for(began.wait(), 5)
        assert (await news.next_msg(5)).data == b"shelf://news"
        assert (await caller.call("say", {"words": "hello"}, source="failing"))["isError"] is False
    assert ended.is_set()
    await client.close()
