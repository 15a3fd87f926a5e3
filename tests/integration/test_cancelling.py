"""Nothing runs for nobody: a call that its client no longer wants is stopped in the database within a second."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from nats.aio.client import Client as Bus

from databases import Shop
from fleet import KEY, Process, process, until_listed
from gateways import Gateway, running_gateway
from isthmus import bus
from servers import TLS, NatsServer

pytest_plugins = ["database_fixtures"]
pytestmark = [pytest.mark.timeout(60), pytest.mark.alone]

WITHIN = 1.0
ENGINES = ("sqlite", "postgresql", "mariadb")
NUMBERS = "insert into numbers values " + ", ".join(f"({number})" for number in range(1000))  # noqa: S608
SLOW = "create view slow as select count(*) as i from numbers a, numbers b, numbers c, numbers d, numbers e"
"""As good as endless, and busy all the time."""

ACTIVE = {
    "postgresql": "select count(*) from pg_stat_activity where application_name = 'isthmus' and state = 'active' "
    "and datname = current_database() and query like '%slow%'",
    "mariadb": "select count(*) from information_schema.processlist where command = 'Query' and db = database() "
    "and id <> connection_id() and info like '%slow%'",
}
MODERN = "2026-07-28"
HANDSHAKE = "2025-11-25"


@dataclass
class Site:
    """A worker that takes one call at a time on each of three databases, and a gateway before it."""

    gateway: Gateway
    worker: Process
    shops: dict[str, Shop]
    ops: Bus

    async def in_flight(self) -> dict[str, int]:
        """The calls that the worker has under way."""
        answer = json.loads((await self.ops.request("$SRV.STATS.db-worker", timeout=5)).data)
        return {endpoint["name"]: endpoint["data"]["in_flight"] for endpoint in answer["endpoints"]}

    def active(self, engine: str) -> int:
        """The slow statements that the server itself says it runs."""
        ((count,),) = self.shops[engine].execute(ACTIVE[engine])
        return int(count)

    async def until_all_run(self) -> None:
        async with asyncio.timeout(10):
            while not all((await self.in_flight()).values()):
                await asyncio.sleep(0.01)
            while not all(self.active(engine) for engine in ACTIVE):
                await asyncio.sleep(0.01)

    async def until_none_runs(self) -> dict[str, float]:
        """Engine → the seconds until its query was gone, and the call in the worker."""
        began, gone = time.monotonic(), dict[str, float]()
        async with asyncio.timeout(10):
            while len(gone) < len(ENGINES):
                calls = await self.in_flight()
                for engine in ENGINES:
                    if not calls[engine] and not (engine in ACTIVE and self.active(engine)):
                        gone.setdefault(engine, time.monotonic() - began)
                await asyncio.sleep(0.01)
        return gone

    async def check_stopped(self, way: str) -> None:
        """All are stopped in time, and their places are free."""
        gone = await self.until_none_runs()
        print(f"{way}: {', '.join(f'{engine} {seconds:.2f} s' for engine, seconds in gone.items())}")
        assert max(gone.values()) < WITHIN, gone
        async with self.gateway.client() as client:
            for engine in ENGINES:
                answer = await client.call_tool("query_table", {"database": engine, "table": "numbers", "limit": 1})
                assert not answer.is_error, answer.content


@asynccontextmanager
async def site(nats: NatsServer, folder: Path, shops: dict[str, Shop], call_timeout: float) -> AsyncGenerator[Site]:
    for shop in shops.values():
        shop.execute("create table numbers (id integer primary key)")
        shop.execute(NUMBERS)
        shop.execute(SLOW)
    databases = {engine: {"url": shop.url, "limit": 1} for engine, shop in shops.items()}
    settings = {"ISTHMUS_DATABASES": json.dumps(databases), "ISTHMUS_FINGERPRINT_KEY": KEY}
    with process(folder, "isthmus_db_worker", **nats.environment("db_worker"), **settings) as worker:
        async with running_gateway(nats, call_timeout=call_timeout) as gateway:
            async with gateway.client() as client:
                await until_listed(client, "mariadb")
                for engine in shops:  # so that connections are there and the schema is known
                    assert not (await client.call_tool("query_table", arguments(engine, "numbers"))).is_error
                    assert not (await client.call_tool("describe_table", arguments(engine, "slow"))).is_error
            ops = await bus.connect(nats.settings("ops"), "ops")
            yield Site(gateway, worker, shops, ops)
            await ops.close()


@pytest.fixture
def shops(sqlite_shop: Shop, postgresql_shop: Shop, mariadb_shop: Shop) -> dict[str, Shop]:
    return {shop.engine: shop for shop in (sqlite_shop, postgresql_shop, mariadb_shop)}


@pytest.fixture
async def place(nats: NatsServer, tmp_path: Path, shops: dict[str, Shop]) -> AsyncGenerator[Site]:
    async with site(nats, tmp_path, shops, call_timeout=20) as running:
        yield running


def arguments(engine: str, table: str) -> dict[str, Any]:
    return {"database": engine, "table": table}


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_call_that_its_client_cancels_stops_in_the_database(place: Site, era: str) -> None:
    """2026: the client closes the response. 2025: it sends `notifications/cancelled`."""
    async with place.gateway.client(era) as client:
        calls = [asyncio.create_task(client.call_tool("query_table", arguments(engine, "slow"))) for engine in ENGINES]
        await place.until_all_run()
        for call in calls:
            call.cancel()
        await place.check_stopped(f"cancelled by the SDK's client ({era})")
        await asyncio.gather(*calls, return_exceptions=True)


def close(writer: asyncio.StreamWriter) -> None:
    """What the kernel does for a process that is killed."""
    writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """What a middlebox does, or a machine that was restarted meanwhile."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("cut", [close, reset])
@pytest.mark.parametrize("era", [MODERN, HANDSHAKE])
async def test_a_call_whose_client_vanishes_stops_in_the_database(
    place: Site, era: str, cut: Callable[[asyncio.StreamWriter], None]
) -> None:
    headers = await session(place.gateway) if era == HANDSHAKE else {"Mcp-Method": "tools/call"}
    headers |= {"Mcp-Name": "query_table"} if era == MODERN else {}
    writers = [
        await send(place.gateway, request(number, engine, era), {"MCP-Protocol-Version": era, **headers})
        for number, engine in enumerate(ENGINES)
    ]
    await place.until_all_run()
    for writer in writers:
        cut(writer)
    await place.check_stopped(f"vanished ({era}, {cut.__name__})")
    if era == HANDSHAKE:
        async with httpx2.AsyncClient(headers={**usual(place.gateway), **headers}, verify=TLS) as http:
            ping = await http.post(place.gateway.mcp, json={"jsonrpc": "2.0", "id": "still there", "method": "ping"})
        assert '"result":{}' in ping.text  # the session lives on


async def test_a_call_whose_client_vanishes_at_another_gateway_than_its_sessions_stops_in_the_database(
    nats: NatsServer, place: Site
) -> None:
    first = place.gateway
    headers = {"MCP-Protocol-Version": HANDSHAKE, **await session(first)}
    async with running_gateway(nats, first.authority, call_timeout=20, behind=first.url) as second:
        writers = [
            await send(first, request(number, engine, HANDSHAKE), headers, at=second)
            for number, engine in enumerate(ENGINES)
        ]
        await place.until_all_run()
        for writer in writers:
            close(writer)
        await place.check_stopped("vanished at another gateway")


def request(number: int, engine: str, era: str) -> dict[str, Any]:
    params: dict[str, Any] = {"name": "query_table", "arguments": arguments(engine, "slow")}
    if era == MODERN:
        about = "io.modelcontextprotocol"
        params["_meta"] = {f"{about}/protocolVersion": era, f"{about}/clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def session(gateway: Gateway) -> dict[str, str]:
    """The header of a session of the handshake era."""
    asked = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    async with httpx2.AsyncClient(headers=usual(gateway), verify=TLS) as http:
        hello = {"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": asked}
        answer = await http.post(gateway.mcp, json=hello)
        header = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await http.post(gateway.mcp, json=ready, headers=header)).status_code == 202
    return header


def usual(gateway: Gateway) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {gateway.authority.token()}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
    }


async def send(
    gateway: Gateway, body: dict[str, Any], headers: dict[str, str], at: Gateway | None = None
) -> asyncio.StreamWriter:
    """One POST on a connection of its own, whose answer nobody reads. `at`: the gateway that it comes to."""
    parts, place = urlsplit(gateway.mcp), urlsplit((at or gateway).url)
    _, writer = await asyncio.open_connection(place.hostname, place.port)
    text = json.dumps(body).encode()
    lines = {**usual(gateway), **headers, "Host": parts.netloc, "Content-Length": str(len(text))}
    head = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    writer.write("\r\n".join([*head, "", ""]).encode() + text)
    await writer.drain()
    return writer


async def test_the_servers_end_the_queries_of_a_worker_that_stands_still_at_their_deadline(
    nats: NatsServer, tmp_path: Path, shops: dict[str, Shop]
) -> None:
    """Nobody is left who could cancel them: the worker is stopped while they run."""
    seconds = 4.0
    async with site(nats, tmp_path, shops, call_timeout=seconds) as place, place.gateway.client() as client:
        began = time.monotonic()
        calls = [asyncio.create_task(client.call_tool("query_table", arguments(engine, "slow"))) for engine in ACTIVE]
        async with asyncio.timeout(3):
            while not all(place.active(engine) for engine in ACTIVE):
                await asyncio.sleep(0.01)
        place.worker.pause()
        ended = dict[str, float]()
        async with asyncio.timeout(seconds + 3):
            while len(ended) < len(ACTIVE):
                for engine in ACTIVE.keys() - ended.keys():
                    if not place.active(engine):
                        ended[engine] = time.monotonic() - began
                await asyncio.sleep(0.02)
        place.worker.resume()
        await asyncio.gather(*calls)
    print("ended by the server itself after " + ", ".join(f"{e} {s:.2f} s" for e, s in ended.items()))
    assert seconds - 0.2 < min(ended.values())
    assert max(ended.values()) < seconds + 1.2


async def test_postgresql_ends_the_query_of_a_worker_that_was_killed(
    nats: NatsServer, tmp_path: Path, shops: dict[str, Shop]
) -> None:
    """Long before its deadline: the server looks whether the worker is still there."""
    async with site(nats, tmp_path, shops, call_timeout=20) as place, place.gateway.client() as client:
        call = asyncio.create_task(client.call_tool("query_table", arguments("postgresql", "slow")))
        async with asyncio.timeout(5):
            while not place.active("postgresql"):
                await asyncio.sleep(0.01)
        place.worker.kill()
        began = time.monotonic()
        async with asyncio.timeout(5):
            while place.active("postgresql"):
                await asyncio.sleep(0.01)
        print(f"ended by the server {time.monotonic() - began:.2f} s after the worker was killed")
        assert (await call).is_error
