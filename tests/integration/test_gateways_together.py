"""Two gateways behind a load balancer without stickiness: sessions of 2025 clients are reached from either."""

import asyncio
import socket
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import msgspec
import pytest
from mcp.server.context import CallNext, HandlerResult
from nats.aio.msg import Msg

from balancer import sessions_elsewhere
from gateways import Gateway
from isthmus import bus
from isthmus.worker import Call, Source, Worker
from isthmus_mcp_gateway import forwarding, hosting
from isthmus_mcp_gateway.endpoint import Context
from isthmus_mcp_gateway.hosting import Hosting
from isthmus_mcp_gateway.peers import Forwarded
from servers import NatsServer
from shelf import Say, Shelf, make_worker, served
from together import LIST, Session, event, say, session, together, tools, until_free, until_said
from wire import TASKS, ask

ERAS = ["auto", "legacy"]


@pytest.mark.parametrize("era", ERAS)
async def test_clients_of_both_eras_work_while_every_request_goes_to_the_next_gateway(
    nats: NatsServer, era: str
) -> None:
    async with together(nats) as both, served(make_worker(Shelf()), nats), both.behind.client(era) as client:
        await until_said(client)
        assert "say" in [tool.name for tool in (await client.list_tools()).tools]
        for number in range(20):
            result = await client.call_tool("say", {"words": str(number), "database": "shelf"})
            assert result.structured_content == {"words": str(number)}
        calls = [client.call_tool("say", {"words": str(n), "database": "shelf"}) for n in range(20)]
        results = await asyncio.gather(*calls)
        assert [result.structured_content for result in results] == [{"words": str(n)} for n in range(20)]
        assert min(both.front.asked[gateway.url] for gateway in both.gateways) > 15


async def test_progress_comes_through_a_forwarded_call(nats: NatsServer) -> None:
    shelf, heard = Shelf(), asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert (progress, total, message) == (1, 2, "half way")
        heard.set()

    async with (
        together(nats, sessions_elsewhere) as both,
        served(make_worker(shelf), nats),
        both.behind.client("legacy") as client,
    ):
        await until_said(client)
        spy = await bus.connect(nats.settings("gateway"), "gateway")
        frames = await spy.subscribe("_INBOX_gateway.peer.>")
        await spy.flush()
        arguments = {"words": "x", "database": "shelf"}
        call = asyncio.create_task(client.call_tool("hold", arguments, progress_callback=on_progress))
        await asyncio.wait_for(heard.wait(), 5)
        assert not call.done()
        working: Counter[str] = Counter()
        while max(working.values(), default=0) < 5:  # seconds: nobody waits so long for an owner or a receiver
            frame = await frames.next_msg(5)
            working[frame.subject] += (frame.headers or {}).get("Isthmus-Frame") == "working"
        shelf.open.set()
        assert not (await call).is_error
        await spy.close()


async def test_a_change_of_tools_is_told_through_a_forwarded_stream(nats: NatsServer) -> None:
    heard = asyncio.Event()

    async def on_message(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            heard.set()

    async with (
        together(nats, sessions_elsewhere) as both,
        both.behind.client("legacy", message_handler=on_message),
    ):
        async with asyncio.timeout(5):
            while both.front.asked[both.gateways[1].url] < 2:  # "initialized", and the stream
                await asyncio.sleep(0.01)
        async with served(make_worker(Shelf()), nats):
            await asyncio.wait_for(heard.wait(), 5)


async def test_a_question_of_the_server_is_answered_through_another_gateway(nats: NatsServer) -> None:
    sessions: list[Any] = []

    async def remember(context: Context, call_next: CallNext) -> HandlerResult:
        sessions.append(context.session)
        return await call_next(context)

    async with together(nats, sessions_elsewhere) as both:
        app = both.gateways[0].app
        assert app is not None
        app.state.gateway.manager.app.middleware.append(remember)
        async with both.behind.client("legacy") as client:
            await client.list_tools()
            async with asyncio.timeout(5):
                while both.front.asked[both.gateways[1].url] < 3:  # "initialized", the stream, the list
                    await asyncio.sleep(0.01)
                await sessions[-1].send_ping()  # over the stream; the client posts its answer


async def test_a_session_ends_for_all_gateways_wherever_it_is_ended(nats: NatsServer) -> None:
    async with together(nats) as both:
        first, second = both.gateways
        async with session(both, first) as opened:
            assert (await opened.post(second, LIST)).status_code == 200
            assert (await opened.delete(second)).status_code == 200
            for gateway in both.gateways:
                assert (await opened.post(gateway, LIST)).status_code == 404


async def test_a_session_is_known_to_nobody_else_wherever_they_ask(nats: NatsServer) -> None:
    async with together(nats) as both, session(both, both.gateways[0]) as anns:
        bobs = Session(anns.http, anns.host, both.authority.token(sub="bob"), anns.id)
        others = Session(anns.http, anns.host, both.authority.token(client_id="other"), anns.id)
        for gateway in both.gateways:
            for thief in (bobs, others):
                answer = await thief.post(gateway, LIST)
                assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Session not found")
                assert (await thief.delete(gateway)).status_code == 404
                async with thief.listen(gateway) as stream:
                    assert stream.status_code == 404
            assert (await anns.post(gateway, LIST)).status_code == 200


async def test_the_caller_of_each_request_counts_and_not_who_began_the_session(nats: NatsServer) -> None:
    async with together(nats) as both, served(make_worker(Shelf()), nats):
        async with both.behind.client() as client:
            await until_said(client)
        first, second = both.gateways
        async with session(both, first) as opened:
            assert "write" in tools(await opened.post(second, LIST))
            opened.token = both.authority.token(scope="data:read")
            assert "write" not in tools(await opened.post(second, LIST))


async def test_a_session_of_a_gateway_that_is_not_there_is_unknown_as_the_sdk_says_it(nats: NatsServer) -> None:
    async with together(nats) as both, session(both, both.gateways[0]) as opened:
        known = opened.id
        for unknown in ("0123456789ab.f00", known + "0", known.partition(".")[0] + ".", "f00"):
            opened.id = unknown
            answer = await opened.post(both.gateways[1], LIST)
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "Session not found")
        opened.id = known
        assert (await opened.post(both.gateways[1], LIST)).status_code == 200


async def test_what_crosses_the_bus_has_passed_the_gate_and_carries_no_token(nats: NatsServer) -> None:
    forwarded: list[Forwarded] = []

    async def on_message(message: Msg) -> None:
        if message.subject.endswith(".request"):
            assert token.encode() not in message.data
            assert b"a-cookie" not in message.data
            forwarded.append(msgspec.msgpack.decode(message.data, type=Forwarded))

    async with together(nats) as both, served(make_worker(Shelf()), nats), session(both, both.gateways[0]) as opened:
        async with both.behind.client() as client:
            await until_said(client)
        token = opened.token
        spy = await bus.connect(nats.settings("gateway"), "gateway")
        await spy.subscribe("isthmus.gateway.>", cb=on_message)
        await spy.flush()
        other = both.gateways[1]
        assert (await opened.post(other, LIST, Cookie="a-cookie")).status_code == 200
        opened.token = "x"
        assert (await opened.post(other, LIST)).status_code == 401
        opened.token = both.authority.token(scope="data:read")
        write: dict[str, object] = {"name": "write", "arguments": {"words": "x"}}
        assert (await opened.post(other, {**LIST, "method": "tools/call", "params": write})).status_code == 403
        opened.token = token
        assert (await opened.post(other, LIST, Host="evil.example")).status_code == 421
        assert (await opened.post(other, LIST, Origin="https://evil.example")).status_code == 403
        assert (await opened.http.post(other.mcp, content=b"x" * 5_000_000, headers=opened.headers)).status_code == 413
        assert (await opened.post(other, LIST)).status_code == 200
        await spy.flush()
        async with asyncio.timeout(5):
            while len(forwarded) < 2:
                await asyncio.sleep(0.01)
        await spy.close()
    assert [request.claims.sub for request in forwarded] == ["ann", "ann"]
    assert {name for request in forwarded for name, _ in request.headers} == {
        *(b"accept", b"content-type", b"host", b"mcp-session-id", b"mcp-protocol-version"),
    }


async def test_a_task_is_asked_for_and_cancelled_through_another_gateway(nats: NatsServer) -> None:
    shelf = Shelf()
    worker = Worker[Shelf]("db", argument="database")

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="required")
    async def long_work(call: Call[Shelf], arguments: Say) -> str:
        """Takes until it is cancelled."""
        await call.become_task()
        try:
            await call.source.handle.open.wait()
        except asyncio.CancelledError:
            call.source.handle.stopped += 1
            raise
        return arguments.words

    worker.add(Source("shelf", shelf, engine="test", target="test://shelf"))
    async with together(nats) as both, served(worker, nats):
        first, second = [both.alone(gateway) for gateway in both.gateways]

        async def request(at: Gateway, method: str, token: str = "", **params: Any) -> dict[str, Any]:
            return await ask(at, method, params, capabilities=TASKS, token=token, Host=at.host)

        async with asyncio.timeout(10):
            while True:
                begun = await request(first, "tools/call", name="long_work", arguments={"words": "x"})
                if task := begun["result"].get("taskId"):
                    break
        for gateway in (first, second):
            assert (await request(gateway, "tasks/get", taskId=task))["result"]["status"] == "working"
        bob = both.authority.token(sub="bob")
        assert "error" in await request(second, "tasks/cancel", bob, taskId=task)
        assert "error" in await request(second, "tasks/get", taskId=f"0123456789ab.{task.partition('.')[2]}")
        assert "error" not in await request(second, "tasks/cancel", taskId=task)
        async with asyncio.timeout(5):
            while (await request(second, "tasks/get", taskId=task))["result"]["status"] != "cancelled":
                await asyncio.sleep(0.01)
        assert shelf.stopped == 1


async def test_the_largest_call_goes_through_whole(nats: NatsServer) -> None:
    async with together(nats) as both, served(make_worker(Shelf()), nats):
        async with both.behind.client() as client:
            await until_said(client)
        async with session(both, both.gateways[0]) as opened:
            words = "words " * 600_000  # 3.6 MB there, twice that back: more than may be on its way at one time
            answer = await opened.post(both.gateways[1], say(words))
            assert event(answer)["result"]["structuredContent"] == {"words": words}


async def test_a_client_that_does_not_read_loses_nothing_and_holds_up_nobody(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (forwarding, hosting):  # the kernel's buffers alone take half of the largest answer
        monkeypatch.setattr(module, "WINDOW", 4)
    async with together(nats) as both, served(make_worker(Shelf()), nats):
        async with both.behind.client() as client:
            await until_said(client)
        first, second = both.gateways
        async with session(both, first) as slow, session(both, first) as quick, AsyncExitStack() as stack:
            words = "words " * 680_000
            few = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)]
            slow.http = await stack.enter_async_context(
                httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(socket_options=few), timeout=20)
            )
            request = slow.http.build_request("POST", second.mcp, json=say(words), headers=slow.headers)
            response = await slow.http.send(request, stream=True)
            for number in range(50):
                answer = await quick.post(second, say(str(number)))
                assert event(answer)["result"]["structuredContent"] == {"words": str(number)}
            await response.aread()
            assert event(response)["result"]["structuredContent"] == {"words": words}


async def test_a_client_that_closes_its_forwarded_stream_may_open_the_next(nats: NatsServer) -> None:
    async with together(nats) as both, session(both, both.gateways[0]) as opened:
        for _ in range(3):
            async with opened.listen(both.gateways[1]) as stream:
                assert stream.status_code == 200
                async with opened.listen(both.gateways[1]) as second:
                    assert second.status_code == 409
            await until_free(opened, both.gateways[1], 1)


async def test_more_requests_than_a_gateway_may_forward_are_refused(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "MOST", 1)
    async with together(nats) as both, session(both, both.gateways[0]) as opened:
        first, second = both.gateways
        async with opened.listen(second) as stream:
            assert stream.status_code == 200
            assert (await opened.post(second, LIST)).status_code == 503
            assert (await opened.post(first, LIST)).status_code == 200
        async with asyncio.timeout(5):
            while (await opened.post(second, LIST)).status_code != 200:
                await asyncio.sleep(0.01)


async def test_a_session_outlives_a_restart_of_the_bus(nats: NatsServer) -> None:
    async with together(nats) as both, session(both, both.gateways[0]) as opened:
        assert (await opened.post(both.gateways[1], LIST)).status_code == 200
        nats.stop()
        assert (await opened.post(both.gateways[1], LIST)).status_code in (503, 504)
        nats.start()
        async with asyncio.timeout(10):
            while (status := (await opened.post(both.gateways[1], LIST)).status_code) != 200:
                assert status in (503, 504)
                await asyncio.sleep(0.02)


@pytest.mark.alone  # it has a second to come back
async def test_an_owner_that_is_away_for_a_moment_is_waited_for(nats: NatsServer) -> None:
    async with together(nats) as both, session(both, both.gateways[0]) as opened:
        app = both.gateways[0].app
        assert app is not None
        owner: Hosting = app.state.gateway.hosting
        await owner.leave()
        request = asyncio.create_task(opened.post(both.gateways[1], LIST))
        done, _ = await asyncio.wait([request], timeout=0.1)
        assert not done
        await owner.open()
        assert (await request).status_code == 200


async def test_gateways_that_stood_still_themselves_take_nobody_for_lost(nats: NatsServer) -> None:
    shelf = Shelf()
    async with together(nats, call_timeout=10) as both, served(make_worker(shelf), nats):
        async with both.behind.client() as client:
            await until_said(client)
        async with session(both, both.gateways[0]) as opened, opened.listen(both.gateways[1]) as stream:
            arguments = {"words": "held", "database": "shelf"}
            hold: dict[str, object] = {
                **LIST,
                "method": "tools/call",
                "params": {"name": "hold", "arguments": arguments},
            }
            call = asyncio.create_task(opened.post(both.gateways[1], hold))
            await shelf.until_held()
            time.sleep(4)  # all that this process serves stands still
            shelf.open.set()
            assert event(await call)["result"]["content"][0]["text"] == "held"
            assert shelf.held == 1
            async with opened.listen(both.gateways[1]) as second:
                assert second.status_code == 409
            assert not stream.is_closed
