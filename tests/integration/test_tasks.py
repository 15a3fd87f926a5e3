"""Calls that become tasks, on the bus and on the wire (the extension io.modelcontextprotocol/tasks)."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from gateways import Gateway, running_gateway
from isthmus.asking import form
from isthmus.errors import NotFound
from isthmus.worker import Call, Source, Worker
from isthmus_mcp_gateway.tasks import MOST_OF_ONE
from servers import NatsServer
from shelf import Shelf, served
from wire import TASKS, ask

MISSING_CAPABILITY = -32021
INVALID = -32602


class Work(msgspec.Struct, forbid_unknown_fields=True):
    """What to do."""

    words: str = "done"
    """What to say at the end."""
    database: str | None = None


class Sure(msgspec.Struct):
    """A question."""

    sure: bool
    """Whether to go on."""


def make_worker(shelf: Shelf) -> Worker[Shelf]:
    worker = Worker[Shelf]("db", argument="database")

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="optional")
    async def long_work(call: Call[Shelf], arguments: Work) -> str:
        """Takes until the gate opens."""
        await call.become_task()
        await call.progress(1, 2, "half way")
        try:
            await call.source.handle.open.wait()
        except asyncio.CancelledError:
            call.source.handle.stopped += 1
            raise
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="optional")
    async def quick_work(call: Call[Shelf], arguments: Work) -> str:
        """Is quick today."""
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="optional")
    async def silent_work(call: Call[Shelf], arguments: Work) -> str:
        """Takes until the gate opens, and does not say so."""
        try:
            await call.source.handle.open.wait()
        except asyncio.CancelledError:
            call.source.handle.stopped += 1
            raise
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="required")
    async def must_be_task(call: Call[Shelf], arguments: Work) -> str:
        """Finds nothing, as a task."""
        await call.become_task()
        raise NotFound("There is nothing.")

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="optional")
    async def fails(call: Call[Shelf], arguments: Work) -> str:
        """Breaks, as a task."""
        await call.become_task()
        raise RuntimeError("a secret: hunter2")

    @worker.tool(scope="data:write", action="update", task_support="optional")
    async def asks_twice(call: Call[Shelf], arguments: Work) -> str:
        """Asks two things in a task."""
        await call.become_task()
        found = call.ask({"one": form("One?", Sure), "two": form("Two?", Sure)}, state="kept")
        return f"{found['one'].content['sure']} {found['two'].content['sure']} {call.state}"

    worker.add(Source("shelf", shelf, engine="test", target="test://shelf", writable=True, limit=8))
    return worker


@asynccontextmanager
async def task_gateway(nats: NatsServer) -> AsyncGenerator[tuple[Gateway, Shelf]]:
    shelf = Shelf()
    async with served(make_worker(shelf), nats), running_gateway(nats) as gateway:
        yield gateway, shelf
        shelf.open.set()


async def begin(gateway: Gateway, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await ask(gateway, "tools/call", {"name": tool, "arguments": arguments}, capabilities=TASKS)
    return answer["result"]


async def look(gateway: Gateway, task: str, **options: Any) -> dict[str, Any]:
    return await ask(gateway, "tasks/get", {"taskId": task}, capabilities=TASKS, **options)


async def until(gateway: Gateway, task: str, *statuses: str) -> dict[str, Any]:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        shown = (await look(gateway, task))["result"]
        if shown["status"] in statuses:
            return shown
        await asyncio.sleep(0.02)
    raise TimeoutError(f"the task is not {statuses}")


async def test_a_call_that_says_it_takes_longer_becomes_a_task_with_its_result_later(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, shelf):
        created = await begin(gateway, "long_work", words="at last")
        assert created["resultType"] == "task"
        assert created["status"] == "working"
        assert isinstance(created["ttlMs"], int)
        assert "result" not in created
        assert (await until(gateway, created["taskId"], "working"))["statusMessage"] == "half way"
        shelf.open.set()
        done = await until(gateway, created["taskId"], "completed")
        assert done["result"]["content"] == [{"type": "text", "text": "at last"}]
        assert done["resultType"] == "complete"


async def test_a_client_that_does_not_know_tasks_waits_for_the_result(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, shelf):
        shelf.open.set()
        answer = await ask(gateway, "tools/call", {"name": "long_work", "arguments": {}})
        assert answer["result"]["resultType"] == "complete"
        assert answer["result"]["content"][0]["text"] == "done"


async def test_a_tool_that_is_quick_answers_at_once(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        assert (await begin(gateway, "quick_work"))["resultType"] == "complete"


async def test_a_tool_that_must_be_a_task_is_refused_to_clients_without_them(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        answer = await ask(gateway, "tools/call", {"name": "must_be_task", "arguments": {}})
        assert answer["error"]["code"] == MISSING_CAPABILITY
        assert "io.modelcontextprotocol/tasks" in answer["error"]["data"]["requiredCapabilities"]["extensions"]


async def test_a_tools_own_error_completes_the_task_and_a_workers_failure_fails_it(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        missed = await begin(gateway, "must_be_task")
        completed = await until(gateway, missed["taskId"], "completed", "failed")
        assert completed["status"] == "completed"
        assert completed["result"]["isError"] is True
        broken = await begin(gateway, "fails")
        failed = await until(gateway, broken["taskId"], "completed", "failed")
        assert failed["status"] == "failed"
        assert "result" not in failed
        assert failed["error"]["message"] == "The worker failed on this call; its log has the reason."


async def test_cancelling_a_task_stops_its_worker(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, shelf):
        created = await begin(gateway, "long_work")
        for _ in range(2):
            answer = await ask(gateway, "tasks/cancel", {"taskId": created["taskId"]}, capabilities=TASKS)
            assert answer["result"]["resultType"] == "complete"
        assert (await until(gateway, created["taskId"], "cancelled"))["status"] == "cancelled"
        end = time.monotonic() + 2
        while not shelf.stopped:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)


async def test_a_task_that_has_ended_holds_nothing_of_its_call(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        assert gateway.app is not None
        endpoint, inbox = gateway.app.state.gateway.endpoint, gateway.app.state.gateway.inbox
        created = await begin(gateway, "long_work")
        await until(gateway, created["taskId"], "working")
        (pending,) = inbox._pending.values()
        heard = pending.heard
        async with asyncio.timeout(5):
            while pending.heard == heard:  # the worker shows that it is alive: some ticks of the inbox went by
                await asyncio.sleep(0.01)
        gone = weakref.ref(pending.done)
        del pending
        await ask(gateway, "tasks/cancel", {"taskId": created["taskId"]}, capabilities=TASKS)
        await until(gateway, created["taskId"], "cancelled")
        failed = await begin(gateway, "fails")
        await until(gateway, failed["taskId"], "failed")
        assert endpoint.tasks._tasks.keys() == {created["taskId"], failed["taskId"]}
        async with asyncio.timeout(5):
            while gone() is not None or endpoint._relay._calls._lines:  # each call under way holds its source's line
                gc.collect()
                await asyncio.sleep(0.01)


async def test_a_task_asks_and_goes_on_once_all_is_answered(nats: NatsServer) -> None:
    both: dict[str, Any] = {**TASKS, "elicitation": {}}
    async with task_gateway(nats) as (gateway, _):
        answer = await ask(gateway, "tools/call", {"name": "asks_twice", "arguments": {}}, capabilities=both)
        task = answer["result"]["taskId"]
        waiting = await until(gateway, task, "input_required")
        assert waiting["inputRequests"].keys() == {"one", "two"}
        for key, left in (("one", {"two"}), ("two", None)):
            said = {key: {"action": "accept", "content": {"sure": key == "one"}}}
            answer = await ask(gateway, "tasks/update", {"taskId": task, "inputResponses": said}, capabilities=both)
            assert answer["result"] == {"resultType": "complete"} | answer["result"]
            if left is not None:
                shown = (await look(gateway, task))["result"]
                assert (shown["status"], shown["inputRequests"].keys()) == ("input_required", left)
        done = await until(gateway, task, "completed")
        assert done["result"]["content"][0]["text"] == "True False kept"


async def test_a_task_is_its_callers_alone(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        created = await begin(gateway, "long_work")
        for token in (gateway.authority.token(sub="bob"), gateway.authority.token(client_id="another")):
            answer = await look(gateway, created["taskId"], token=token)
            assert answer["error"]["code"] == INVALID
            cancelled = await ask(
                gateway, "tasks/cancel", {"taskId": created["taskId"]}, capabilities=TASKS, token=token
            )
            assert cancelled["error"]["code"] == INVALID
        assert (await until(gateway, created["taskId"], "working"))["status"] == "working"


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_task_that_is_not_there_is_an_invalid_parameter(nats: NatsServer, method: str) -> None:
    async with task_gateway(nats) as (gateway, _):
        answer = await ask(gateway, method, {"taskId": "x.y"}, capabilities=TASKS)
        assert answer["error"]["code"] == INVALID
        ungated = await ask(gateway, method, {"taskId": "x.y"})
        assert ungated["error"]["code"] == MISSING_CAPABILITY


async def test_a_call_that_never_becomes_a_task_has_the_time_of_a_call(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, shelf):
        late = await begin(gateway, "silent_work")
        assert late["isError"] is True
        assert late["_meta"]["isthmus/error"] == "deadline_exceeded"
        async with asyncio.timeout(1):
            while not shelf.stopped:
                await asyncio.sleep(0.01)


async def test_tasks_that_have_ended_give_way_to_new_ones(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        first = await begin(gateway, "must_be_task")
        await until(gateway, first["taskId"], "completed")
        for _ in range(MOST_OF_ONE):
            last = await begin(gateway, "must_be_task")
            assert last["resultType"] == "task"
            await until(gateway, last["taskId"], "completed")
        assert (await look(gateway, first["taskId"]))["error"]["code"] == INVALID


async def test_calls_that_may_become_tasks_are_bounded_for_each_caller(nats: NatsServer) -> None:
    async with task_gateway(nats) as (gateway, _):
        held = [begin(gateway, "long_work") for _ in range(8)]  # as many as the source takes at a time
        begun = await asyncio.gather(*held)
        assert {task["resultType"] for task in begun} == {"task"}
        more = await asyncio.gather(*(begin(gateway, "long_work") for _ in range(MOST_OF_ONE)))
        codes = [answer.get("_meta", {}).get("isthmus/error") for answer in more]
        assert codes.count("busy") >= 8
