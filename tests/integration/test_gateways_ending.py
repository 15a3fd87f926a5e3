"""Gateways that are killed or told to end, while their clients, of both eras, go on through a load balancer."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError

from gateways import Gateway
from servers import TLS, NatsServer
from shelf import Shelf, make_worker, served
from together import LIST, event, processes, say, session, until_free, until_said

pytestmark = pytest.mark.alone

HOLD = {"name": "hold", "arguments": {"words": "held", "database": "shelf"}}


async def test_a_stream_is_freed_after_the_gateway_that_forwarded_it_was_killed(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with processes(nats, tmp_path) as both:
        owner, receiver = both.gateways
        async with session(both, owner) as opened:
            async with opened.listen(receiver) as stream:
                assert stream.status_code == 200
                both.processes[1].kill()
                with pytest.raises(httpx2.HTTPError):
                    await stream.aread()
            await until_free(opened, owner, 6)
            assert (await opened.post(owner, LIST)).status_code == 200


async def test_a_call_whose_owner_was_killed_ends_and_its_session_is_unknown(nats: NatsServer, tmp_path: Path) -> None:
    shelf = Shelf()
    async with processes(nats, tmp_path) as both, served(make_worker(shelf), nats):
        async with both.behind.client() as client:
            await until_said(client)
        owner, other = both.gateways
        async with session(both, owner) as opened:
            call = asyncio.create_task(opened.post(other, {**LIST, "method": "tools/call", "params": HOLD}))
            async with opened.listen(other) as stream:
                await shelf.until_held()
                both.processes[0].kill()
                began = time.monotonic()
                assert await stream.aread() == b""
                assert "result" not in (await call).text
                assert time.monotonic() - began < 4
            assert (await opened.post(other, LIST)).status_code == 404
        shelf.open.set()
        async with session(both, other) as opened:
            assert (await opened.post(other, say("x"))).status_code == 200


@dataclass
class Clients:
    """Clients of one era that call all the time; one whose session is gone begins a new one."""

    behind: Gateway
    era: str
    answered: int = 0
    begun_anew: int = 0
    lost: list[str] = field(default_factory=list[str])
    over: bool = False

    async def work(self) -> None:
        while not self.over:
            async with self.behind.client(self.era) as client:
                await self._call(client)
                self.begun_anew += not self.over

    async def _call(self, client: Client) -> None:
        while not self.over:
            words = str(self.answered)
            try:
                result = await client.call_tool("say", {"words": words, "database": "shelf"})
            except MCPError as error:
                if self.era == "legacy" and error.message == "Session not found":
                    return
                self.lost.append(str(error))
                continue
            if result.structured_content != {"words": words}:
                self.lost.append(str(result))
            self.answered += 1


async def test_at_sigterm_no_call_of_either_era_is_lost_and_streams_end_in_order(
    nats: NatsServer, tmp_path: Path
) -> None:
    shelf = Shelf()
    async with processes(nats, tmp_path) as both, served(make_worker(shelf, limit=50), nats):
        async with both.behind.client() as client:
            await until_said(client)
        loads = [Clients(both.behind, era) for era in ("auto", "legacy")]
        tasks = [asyncio.create_task(load.work()) for load in loads for _ in range(4)]
        leaving, staying = both.gateways
        async with (
            both.alone(leaving).client() as modern,
            modern.listen(tools_list_changed=True) as events,
            session(both, leaving) as own,
            session(both, leaving) as reached,
            session(both, staying) as passing,
            own.listen(leaving) as own_stream,
            reached.listen(staying) as reached_stream,
            passing.listen(leaving) as passing_stream,
        ):
            hold: dict[str, object] = {**LIST, "method": "tools/call", "params": HOLD}
            held = [
                asyncio.create_task(own.post(leaving, hold)),
                asyncio.create_task(reached.post(staying, hold)),
                asyncio.create_task(passing.post(leaving, hold)),
            ]
            await modern.list_tools()  # the client looks into the list after a call, too
            modern_held = asyncio.create_task(modern.call_tool("hold", {"words": "held", "database": "shelf"}))
            await shelf.until_held(4)
            ending = asyncio.create_task(asyncio.to_thread(both.processes[0].terminate))
            await until_not_ready(leaving)
            assert (await own.post(leaving, say("still"))).status_code == 200  # a new connection, too
            async with httpx2.AsyncClient(verify=TLS) as http:
                assert (await http.get(f"{leaving.url}/healthz")).status_code == 200

            assert [event async for event in events] == []  # the end, and not the loss, of the subscription
            assert await own_stream.aread() == await reached_stream.aread() == await passing_stream.aread() == b""
            assert (await reached.post(staying, LIST)).status_code == 404
            assert not any(call.done() for call in (*held, modern_held, ending))
            shelf.open.set()
            for call in held:
                assert event(await call)["result"]["content"][0]["text"] == "held"
            assert not (await modern_held).is_error
            took = await ending
        for load in loads:
            load.over = True
        await asyncio.gather(*tasks)
    print(f"ended {took:.2f} s after SIGTERM; answered: {[load.answered for load in loads]}")
    assert [load.lost for load in loads] == [[], []]
    assert loads[1].begun_anew >= 1
    assert min(load.answered for load in loads) > 20
    assert both.processes[0].popen.returncode in (0, -15)
    assert "Traceback" not in both.processes[0].log.read_text()


async def until_not_ready(gateway: Gateway) -> None:
    async with asyncio.timeout(1), httpx2.AsyncClient(verify=TLS) as http:
        while (await http.get(f"{gateway.url}/readyz")).status_code != 503:
            await asyncio.sleep(0.01)


async def test_a_gateway_without_clients_of_its_own_finishes_the_calls_that_others_forwarded(
    nats: NatsServer, tmp_path: Path
) -> None:
    shelf = Shelf()
    async with processes(nats, tmp_path, ISTHMUS_LEAVE_AFTER="0") as both, served(make_worker(shelf), nats):
        async with both.behind.client() as client:
            await until_said(client)
        owner, other = both.gateways
        async with session(both, owner) as opened:
            call = asyncio.create_task(opened.post(other, {**LIST, "method": "tools/call", "params": HOLD}))
            await shelf.until_held()
            ending = asyncio.create_task(asyncio.to_thread(both.processes[0].terminate))
            async with asyncio.timeout(5):
                while (await opened.post(other, LIST)).status_code != 404:
                    pass
            shelf.open.set()
            assert event(await call)["result"]["content"][0]["text"] == "held"
            await ending


async def test_a_call_that_takes_too_long_holds_up_the_end_for_a_bounded_time(nats: NatsServer, tmp_path: Path) -> None:
    shelf = Shelf()
    settings = {"ISTHMUS_LEAVE_AFTER": "0", "ISTHMUS_CALL_TIMEOUT": "25"}
    async with processes(nats, tmp_path, **settings) as both, served(make_worker(shelf), nats):
        async with both.behind.client() as client:
            await until_said(client)
        owner, other = both.gateways
        async with session(both, owner) as opened:
            hold: dict[str, object] = {**LIST, "method": "tools/call", "params": HOLD}
            calls = [asyncio.create_task(opened.post(gateway, hold)) for gateway in (owner, other)]
            await shelf.until_held(2)
            assert 9 < await asyncio.to_thread(both.processes[0].terminate) < 13
            for call in calls:
                with contextlib.suppress(httpx2.HTTPError):
                    assert "result" not in (await call).text
