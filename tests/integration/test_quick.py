"""What the gateway answers without the SDK is what the SDK would have answered."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways import Gateway, running_gateway
from servers import TLS, NatsServer
from shelf import Shelf, make_worker, served
from wire import VERSION, ask

FORCES_THE_SDK: dict[str, Any] = {"progressToken": "p"}
META: dict[str, Any] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": VERSION}


@asynccontextmanager
async def open_gateway(nats: NatsServer) -> AsyncGenerator[Gateway]:
    async with served(make_worker(Shelf()), nats), running_gateway(nats) as gateway:
        yield gateway


async def post(gateway: Gateway, body: object, **headers: str) -> httpx2.Response:
    authorization = {"Authorization": f"Bearer {gateway.authority.token()}"}
    async with httpx2.AsyncClient(timeout=20, verify=TLS) as http:
        return await http.post(gateway.mcp, json=body, headers={**HEADERS, **authorization, **headers})


def answer(response: httpx2.Response) -> dict[str, Any]:
    if response.headers["content-type"].startswith("text/event-stream"):
        data = [json.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]
        return next(message for message in data if "id" in message)
    return response.json()


async def both(gateway: Gateway, method: str, params: dict[str, Any], **headers: str) -> tuple[Any, Any]:
    """The same request on the short way, and on the SDK's."""
    found: list[Any] = []
    for extra in ({}, FORCES_THE_SDK):
        body = {"jsonrpc": "2.0", "id": "x", "method": method, "params": {**params, "_meta": {**META, **extra}}}
        name = {"Mcp-Name": params["name"]} if "name" in params else {}
        found.append(answer(await post(gateway, body, **{"Mcp-Method": method, **name, **headers})))
    return found[0], found[1]


@pytest.mark.parametrize(
    "params",
    [
        {"name": "say", "arguments": {"database": "shelf", "words": "grüße \u2028 \U0001f600"}},
        {"name": "say", "arguments": {"words": 1, "database": "shelf"}},
        {"name": "say", "arguments": {"database": "shelf", "word": ""}},
        {"name": "say", "arguments": {"database": "nowhere", "words": ""}},
        {"name": "say", "arguments": {}},
        {"name": "say"},
        {"name": "say", "arguments": None},
        {"name": "miss", "arguments": {"database": "shelf", "words": "x"}},
        {"name": "fall", "arguments": {"database": "shelf", "words": "x"}},
        {"name": "list_sources", "arguments": {}},
        {"name": "list_sources", "arguments": {"limit": 0}},
        {"name": "list_sources", "arguments": {"cursor": "%"}},
        {"name": "nothing", "arguments": {}},
    ],
    ids=str,
)
async def test_a_call_answers_the_same_on_both_ways(nats: NatsServer, params: dict[str, Any]) -> None:
    async with open_gateway(nats) as gateway:
        short, long = await both(gateway, "tools/call", params)
        assert short == long
        assert "result" in short


async def test_the_list_of_tools_is_the_same_on_both_ways(nats: NatsServer) -> None:
    async with open_gateway(nats) as gateway:
        short, long = await both(gateway, "tools/list", {})
        assert short == long
        assert [tool["name"] for tool in short["result"]["tools"]] == [
            "fall",
            "hold",
            "list_sources",
            "miss",
            "say",
            "write",
        ]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Mcp-Name": "hold"}, 400),
        ({"Mcp-Method": "tools/list"}, 400),
        ({"MCP-Protocol-Version": "2026-07-29"}, 400),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({"Accept": "application/json"}, 406),
    ],
    ids=str,
)
async def test_a_request_that_is_wrong_around_its_body_is_refused(
    nats: NatsServer, changes: dict[str, str], status: int
) -> None:
    params = {"name": "say", "arguments": {"database": "shelf", "words": "x"}, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with open_gateway(nats) as gateway:
        right = {"Mcp-Method": "tools/call", "Mcp-Name": "say"}
        assert (await post(gateway, body, **right)).status_code == 200
        assert (await post(gateway, body, **{**right, **changes})).status_code == status


async def test_json_that_is_too_deep_is_no_request(nats: NatsServer) -> None:
    async with open_gateway(nats) as gateway:
        for version in (VERSION, "2025-11-25"):
            body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + "[" * 100_000 + "]" * 100_000 + "}"
            async with httpx2.AsyncClient(timeout=20, verify=TLS) as http:
                headers = {
                    **HEADERS,
                    "Authorization": f"Bearer {gateway.authority.token()}",
                    "Mcp-Method": "tools/call",
                }
                headers |= {"MCP-Protocol-Version": version, "Content-Type": "application/json"}
                response = await http.post(gateway.mcp, content=body, headers=headers)
            assert response.status_code == 400


async def test_a_stream_follows_a_bounded_number_of_resources(nats: NatsServer) -> None:
    async with open_gateway(nats) as gateway:
        many = [f"database://shelf/{number}" for number in range(1001)]
        answered = await ask(gateway, "subscriptions/listen", {"notifications": {"resourceSubscriptions": many}})
        assert answered["error"]["code"] == -32602


async def test_a_client_that_goes_away_stops_the_work(nats: NatsServer) -> None:
    shelf = Shelf()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(make_worker(shelf), nats))
        gateway = await stack.enter_async_context(running_gateway(nats, call_timeout=20))
        params = {"name": "hold", "arguments": {"database": "shelf", "words": "x"}}
        asking = asyncio.create_task(ask(gateway, "tools/call", params))
        done, _ = await asyncio.wait([asking], timeout=0.5)
        assert not done
        asking.cancel()
        async with asyncio.timeout(1):
            while not shelf.stopped:
                await asyncio.sleep(0.01)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_whatever_the_parameters_are_both_ways_agree(nats: NatsServer) -> None:
    async def run(cases: list[dict[str, Any]]) -> None:
        async with open_gateway(nats) as gateway:
            for params in cases:
                short, long = await both(gateway, "tools/call", params, **{"Mcp-Name": "say"})
                assert short.get("result") == long.get("result"), params
                assert short.get("error", {}).get("code") == long.get("error", {}).get("code"), params

    cases: list[dict[str, Any]] = []

    @settings(max_examples=60, deadline=None, database=None)
    @given(st.fixed_dictionaries({"name": st.just("say")}, optional={"arguments": JSON, "task": JSON, "cursor": JSON}))
    def collect(params: dict[str, Any]) -> None:
        cases.append(params)

    collect()
    asyncio.run(run(cases))
