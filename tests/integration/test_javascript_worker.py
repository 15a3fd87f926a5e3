"""A worker in JavaScript: the contract on the bus, as docs/workers.md tells it, is enough to write one."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp import Client
from mcp_types import TextContent
from nats.aio.msg import Msg

from gateways import Authority, Gateway, running_gateway
from isthmus import bus, subjects
from isthmus.grants import EVERYTHING, Grant, Granted
from isthmus.launcher.survey import surveying
from isthmus.messages import (
    CODE_HEADER,
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    FRAME_HEADER,
    TIMEOUT_HEADER,
    VERSION_HEADER,
    WORKER_HEADER,
    Envelope,
    Principal,
)
from isthmus.policy import Role
from isthmus.survey import Instance
from node import Javascript
from servers import NatsServer

pytestmark = pytest.mark.timeout(150)  # the first test installs the packages

SCOPE = "words:use data:read"


@contextmanager
def worker(nats: NatsServer, javascript: Javascript, folder: Path) -> Generator[subprocess.Popen[bytes]]:
    environment = {**nats.environment("worker"), "ISTHMUS_FINGERPRINT_KEY": "key"}
    process = subprocess.Popen(javascript.script("worker.mjs", folder), env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def joined(
    nats: NatsServer, javascript: Javascript, folder: Path, *, call_timeout: float = 10
) -> AsyncGenerator[tuple[Gateway, Client, subprocess.Popen[bytes]]]:
    """A gateway, ann's client, and the worker once its tools are listed."""
    with worker(nats, javascript, folder) as process:
        async with (
            running_gateway(nats, call_timeout=call_timeout) as gateway,
            gateway.client(token=gateway.authority.token(scope=SCOPE)) as client,
        ):
            await until(lambda: names(client), lambda found: "count_down" in found)
            yield gateway, client, process


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], object], seconds: float = 10) -> float:
    """Asks until the answer holds; the seconds that it took."""
    began = time.monotonic()
    while not holds(found := await ask()):
        assert time.monotonic() - began < seconds, f"still {found} after {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def instance(nats: NatsServer) -> Instance:
    """What the worker says of itself."""
    async with surveying(nats.settings("ops")) as survey:
        (found,) = (await survey.read()).workers
        return found


async def test_its_tools_are_listed_and_answer_like_any_other(
    nats: NatsServer, javascript: Javascript, tmp_path: Path
) -> None:
    async with joined(nats, javascript, tmp_path) as (_gateway, client, _):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {"count_down", "list_sources", "reverse_text"}
        assert tools["reverse_text"].input_schema["properties"]["notebook"]["enum"] == ["notes"]
        answer = await client.call_tool("reverse_text", {"text": "été 🌊"})
        assert not answer.is_error
        assert answer.structured_content == {"text": "🌊 été"}
        assert isinstance(answer.content[0], TextContent)
        sources = (await client.call_tool("list_sources", {})).structured_content
        assert sources is not None
        assert [(source["name"], source["kind"], source["engine"]) for source in sources["sources"]] == [
            ("notes", "words", "memory")
        ]
        found = await instance(nats)
        assert (found.worker, found.version) == ("words-worker", "1.0.0")
        assert found.sources["words.notes"].calls == 1
        assert found.sources["words.notes"].limit == 2
    assert "Violation" not in nats.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "`text` is missing"),
        ({"text": 7}, "`text` must be of the type string"),
        ({"text": "a", "loud": True}, "There is no argument `loud`"),
        ({"text": "a", "notebook": "diary"}, "There is no notebook 'diary'"),
    ],
)
async def test_wrong_arguments_are_told_in_a_sentence(
    nats: NatsServer, javascript: Javascript, tmp_path: Path, arguments: dict[str, Any], sentence: str
) -> None:
    async with joined(nats, javascript, tmp_path) as (_, client, _process):
        answer = await client.call_tool("reverse_text", arguments)
    assert answer.is_error
    assert sentence in str(answer.content[0])


async def test_progress_reaches_the_client_and_a_cancelled_call_stops(
    nats: NatsServer, javascript: Javascript, tmp_path: Path
) -> None:
    async with joined(nats, javascript, tmp_path) as (_, client, _process):
        heard: list[tuple[float, float | None, str | None]] = []
        begun = asyncio.Event()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            heard.append((progress, total, message))
            begun.set()

        answer = await client.call_tool("count_down", {"steps": 3}, progress_callback=on_progress)
        assert answer.structured_content == {"text": "done"}
        assert heard == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, "step 3")]

        begun.clear()
        call = asyncio.create_task(client.call_tool("count_down", {"steps": 40}, progress_callback=on_progress))
        await asyncio.wait_for(begun.wait(), 5)
        assert (await instance(nats)).sources["words.notes"].in_flight == 1
        call.cancel()
        assert await until(lambda: instance(nats), lambda i: i.sources["words.notes"].in_flight == 0, 3) < 3
        assert (await instance(nats)).sources["words.notes"].errors == 1


async def test_a_call_past_its_deadline_is_stopped(nats: NatsServer, javascript: Javascript, tmp_path: Path) -> None:
    async with joined(nats, javascript, tmp_path, call_timeout=1) as (_, client, _process):
        answer = await client.call_tool("count_down", {"steps": 40})
        assert answer.is_error
        assert "longer than it may" in str(answer.content[0])
        await until(lambda: instance(nats), lambda i: i.sources["words.notes"].in_flight == 0, 3)


async def test_only_who_is_granted_the_whole_source_may_call(
    nats: NatsServer, javascript: Javascript, tmp_path: Path
) -> None:
    async with joined(nats, javascript, tmp_path) as (gateway, _client, _process):
        authority: Authority = gateway.authority
        async with gateway.client(token=authority.token(sub="bob", scope=SCOPE)) as bob:
            assert await names(bob) == ["list_sources"]  # his role is about databases
        async with gateway.client(token=authority.token(scope="data:read")) as without_scope:
            assert await names(without_scope) == ["list_sources"]
        for part in (Grant(("words.*",), ("use",), objects=("a",)), Grant(("words.*",), ("use",), hidden=("x",))):
            await authority.publish({"role.reader": Role("reader", "Reader", (part,))})
            async with gateway.client(token=authority.token(sub="bob", scope=SCOPE)) as bob:
                await until(lambda client=bob: names(client), lambda found: "reverse_text" in found)
                answer = await bob.call_tool("reverse_text", {"text": "a"})
                assert answer.is_error
                assert "may not" in str(answer.content[0])
        await authority.publish({"role.reader": Role("reader", "Reader", (Grant(("words.notes",), ("use",)),))})
        async with gateway.client(token=authority.token(sub="bob", scope=SCOPE)) as bob:

            async def call() -> bool:
                return (await bob.call_tool("reverse_text", {"text": "a"})).is_error or False

            await until(call, lambda refused: not refused)


async def test_at_its_limit_it_is_busy_at_once_and_shows_every_second_that_it_works(
    nats: NatsServer, javascript: Javascript, tmp_path: Path
) -> None:
    async with joined(nats, javascript, tmp_path) as (_, client, _process):
        caller = await bus.connect(nats.settings("gateway"), "gateway")
        replies = asyncio.Queue[Msg]()
        await caller.subscribe("_INBOX_gateway.words.test.*", cb=replies.put)

        async def send(call_id: str, version: str = "1", body: bytes | None = None) -> None:
            granted = {"words.notes": Granted.of([EVERYTHING])}
            call = Envelope(call_id, Principal("u", "c", "default"), granted, msgspec.Raw(b'{"steps": 8}'))
            await caller.publish(
                subjects.call("words", "notes", "count_down"),
                body or msgspec.json.encode(call),
                reply=f"_INBOX_gateway.words.test.{call_id}",
                headers={VERSION_HEADER: version, TIMEOUT_HEADER: "5000"},
            )

        await caller.publish(subjects.CANCEL, b"early")  # before its call: which never runs
        for call_id in ("early", "a", "b", "c"):
            await send(call_id)
        frames: dict[str, list[str]] = {"a": [], "b": []}
        results: dict[str, Any] = {}
        busy = await asyncio.wait_for(replies.get(), 5)
        assert busy.subject.endswith(".c")
        assert busy.headers is not None
        assert (busy.headers[ERROR_CODE_HEADER], busy.headers[CODE_HEADER]) == ("429", "busy")
        assert busy.headers[ERROR_HEADER]
        while len(results) < 2:
            message = await asyncio.wait_for(replies.get(), 5)
            call_id = message.subject.rpartition(".")[2]
            if message.headers and FRAME_HEADER in message.headers:
                assert message.headers[WORKER_HEADER] == (await instance(nats)).id
                frames[call_id].append(message.headers[FRAME_HEADER])
            else:
                results[call_id] = msgspec.json.decode(message.data)
        for call_id in ("a", "b"):
            assert frames[call_id].count("working") == 2
            assert frames[call_id].count("progress") == 8
            assert results[call_id]["resultType"] == "complete"

        for call_id, version, body in (("v", "2", None), ("w", "1", b"{")):
            await send(call_id, version, body)
            refused = await asyncio.wait_for(replies.get(), 5)
            assert refused.headers is not None
            assert (refused.headers[ERROR_CODE_HEADER], refused.headers[CODE_HEADER]) == ("400", "bad_call")
        await caller.close()

        answers = await asyncio.gather(*(client.call_tool("reverse_text", {"text": str(n)}) for n in range(20)))
        assert [answer.structured_content for answer in answers] == [{"text": str(n)[::-1]} for n in range(20)]


async def test_told_to_end_it_finishes_what_runs_and_is_gone_at_once(
    nats: NatsServer, javascript: Javascript, tmp_path: Path
) -> None:
    async with joined(nats, javascript, tmp_path) as (_, client, process):
        begun = asyncio.Event()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        call = asyncio.create_task(client.call_tool("count_down", {"steps": 6}, progress_callback=on_progress))
        await asyncio.wait_for(begun.wait(), 5)
        process.send_signal(signal.SIGTERM)
        assert await until(lambda: names(client), lambda found: "count_down" not in found) < 1
        assert (await call).structured_content == {"text": "done"}
        assert await asyncio.to_thread(process.wait, 5) == 0


async def test_killed_it_is_gone_within_ten_seconds(nats: NatsServer, javascript: Javascript, tmp_path: Path) -> None:
    async with joined(nats, javascript, tmp_path) as (_, client, process):
        process.kill()
        answer = await client.call_tool("reverse_text", {"text": "a"})
        assert answer.is_error
        assert "worker" in str(answer.content[0])
        assert await until(lambda: names(client), lambda found: "count_down" not in found) < 10


async def test_without_the_right_to_hear_its_calls_it_ends(
    nats: NatsServer, javascript: Javascript, tmp_path: Path
) -> None:
    nats.passwords["worker"] = nats.passwords["ops"]
    environment = {**nats.environment("worker"), "ISTHMUS_NATS_USER": "ops"}
    done = await asyncio.to_thread(
        subprocess.run, javascript.script("worker.mjs", tmp_path), env=environment, capture_output=True, timeout=10
    )
    assert done.returncode != 0
