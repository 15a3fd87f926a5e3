"""The gateway as a client meets it: tools in both eras, discovery, filtering by scope and grant, errors."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import Client

from gateways import Gateway, running_gateway
from isthmus.grants import Grant
from isthmus.policy import Role, Service, User
from servers import TLS, NatsServer
from shelf import Shelf, make_worker, served

T = TypeVar("T")

ERAS = ["auto", "legacy"]


@asynccontextmanager
async def gateway_and_worker(nats: NatsServer, shelf: Shelf | None = None, limit: int = 4) -> AsyncGenerator[Gateway]:
    async with running_gateway(nats) as gateway, served(make_worker(shelf or Shelf(), limit), nats):
        async with gateway.client() as client:
            await until(lambda: names(client), lambda found: "say" in found)
        yield gateway


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = 5) -> float:
    """Asks until the answer holds; the seconds that it took."""
    began = time.monotonic()
    while not holds(found := await ask()):
        assert time.monotonic() - began < seconds, f"still {found} after {seconds} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


@pytest.mark.parametrize("era", ERAS)
async def test_a_tool_is_listed_called_and_answered_in_both_eras(nats: NatsServer, era: str) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client(era) as client:
        assert await names(client) == ["fall", "hold", "list_sources", "miss", "say", "write"]
        result = await client.call_tool("say", {"words": "hello", "database": "shelf"})
        assert result.structured_content == {"words": "hello"}
        assert not result.is_error


async def test_the_argument_that_names_a_source_lists_what_the_caller_may_use(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert tools["say"].input_schema["properties"]["database"] == {"type": "string", "enum": ["closed", "shelf"]}
    assert tools["say"].input_schema["required"] == ["database", "words"]
    assert tools["write"].input_schema["properties"]["database"] == {"type": "string", "enum": ["shelf"]}
    assert tools["write"].input_schema["required"] == ["words"]


async def test_the_source_may_be_left_out_where_there_is_just_one(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client() as client:
        assert not (await client.call_tool("write", {"words": "x"})).is_error
        assert (await client.call_tool("say", {"words": "x"})).is_error


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("sayy", {}, "There is no tool 'sayy'. Did you mean say?"),
        ("say", {"words": "x", "database": "shelv"}, "There is no database 'shelv' for say. Did you mean shelf?"),
        ("say", {"words": "x", "database": "*"}, "There is no database '*' for say. There are closed, shelf."),
        ("say", {"words": "x"}, "Say which one with `database`. There are closed, shelf."),
        ("say", {"words": 7, "database": "shelf"}, "`words`: Expected `string`, got `integer`."),
        ("miss", {"words": "book", "database": "shelf"}, "There is no book."),
        ("fall", {"words": "x", "database": "shelf"}, "The worker failed on this call; its log has the reason."),
        ("list_sources", {"limit": 0}, "`limit`: Expected `integer` >= 1."),
        ("list_sources", {"cursor": "??"}, "`cursor` is not one that list_sources gave; leave it out to begin anew."),
    ],
)
async def test_bad_input_is_a_tool_error_in_one_sentence(
    gateway: Gateway, era: str, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    async with gateway.client(era) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert [getattr(part, "text", None) for part in result.content] == [sentence]


async def test_sources_are_listed_page_by_page_and_searched(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client() as client:
        first = (await client.call_tool("list_sources", {"limit": 1})).structured_content
        assert first is not None
        assert [source["name"] for source in first["sources"]] == ["closed"]
        rest = (await client.call_tool("list_sources", {"cursor": first["next_cursor"]})).structured_content
        assert rest is not None
        assert [source["name"] for source in rest["sources"]] == ["shelf"]
        assert rest["sources"][0]["tools"] == ["fall", "hold", "miss", "say", "write"]
        found = (await client.call_tool("list_sources", {"query": "SHELF"})).structured_content
        assert found is not None
        assert found["total"] == 1


async def test_progress_reaches_the_client(nats: NatsServer) -> None:
    shelf = Shelf()
    async with gateway_and_worker(nats, shelf) as gateway:
        for era in ERAS:
            heard = asyncio.Event()

            async def on_progress(
                progress: float, total: float | None, message: str | None, event: asyncio.Event = heard
            ) -> None:
                assert (progress, total, message) == (1, 2, "half way")
                event.set()

            shelf.open.clear()
            async with gateway.client(era) as client:
                call = asyncio.create_task(
                    client.call_tool("hold", {"words": "x", "database": "shelf"}, progress_callback=on_progress)
                )
                await asyncio.wait_for(heard.wait(), 5)
                shelf.open.set()
                assert not (await call).is_error


async def test_a_call_past_its_deadline_is_stopped_in_the_worker(nats: NatsServer) -> None:
    shelf = Shelf()
    async with gateway_and_worker(nats, shelf) as gateway, gateway.client() as client:
        result = await client.call_tool("hold", {"words": "x", "database": "shelf"})
        assert result.is_error
        assert "took longer" in result.content[0].text  # pyright: ignore
        assert shelf.stopped == 1


async def test_calls_over_the_bound_wait_their_turn_and_all_are_answered(nats: NatsServer) -> None:
    async with gateway_and_worker(nats, limit=1) as gateway, gateway.client() as client:
        calls = [client.call_tool("say", {"words": str(n), "database": "shelf"}) for n in range(50)]
        results = await asyncio.gather(*calls)
    assert [result.structured_content for result in results] == [{"words": str(n)} for n in range(50)]


async def test_a_worker_that_joins_or_leaves_shows_within_a_second(nats: NatsServer) -> None:
    async with running_gateway(nats) as gateway, gateway.client() as client:
        assert await names(client) == ["list_sources"]
        async with served(make_worker(Shelf()), nats) as leave:
            assert await until(lambda: names(client), lambda found: "say" in found) < 1
            leave.set()
            assert await until(lambda: names(client), lambda found: "say" not in found) < 1


@pytest.mark.parametrize("era", ERAS)
async def test_listening_clients_hear_that_the_tools_changed(nats: NatsServer, era: str) -> None:
    heard = asyncio.Event()

    async def on_message(message: object) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            heard.set()

    async with running_gateway(nats) as gateway, gateway.client(era, message_handler=on_message) as client:
        if era == "auto":
            async with client.listen(tools_list_changed=True) as events, served(make_worker(Shelf()), nats):
                await asyncio.wait_for(anext(aiter(events)), 5)
        else:
            async with served(make_worker(Shelf()), nats):
                await asyncio.wait_for(heard.wait(), 5)


async def test_only_what_scope_and_grants_allow_is_listed_and_called(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway:
        reading = gateway.authority.token(scope="data:read")
        async with gateway.client(token=reading) as client:
            assert "write" not in await names(client)
        bob = gateway.authority.token(sub="bob")
        async with gateway.client(token=bob) as client:
            assert "write" not in await names(client)
            assert (await client.call_tool("write", {"words": "x"})).is_error
            assert not (await client.call_tool("say", {"words": "x", "database": "shelf"})).is_error
        async with gateway.client(token=gateway.authority.token(sub="eve")) as client:
            assert await names(client) == ["list_sources"]
            assert (await client.call_tool("list_sources", {})).structured_content == {
                "sources": [],
                "total": 0,
                "next_cursor": None,
            }


async def test_a_service_shows_only_its_own_sources(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway:
        token = gateway.authority.token(aud=f"{gateway.mcp}/other", service="other")
        async with gateway.client(path="/mcp/other", token=token) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools["say"].input_schema["properties"]["database"]["enum"] == ["closed"]


async def test_a_role_switches_tools_off_for_its_own_grants_alone(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client(token=gateway.authority.token(sub="bob")) as client:
        everything = Grant(("db.*",), ("*",))
        await gateway.authority.publish({"role.reader": Role("reader", "Reader", (everything,), ("w*", "hold"))})
        await until(lambda: names(client), lambda found: found == ["fall", "list_sources", "miss", "say"])
        refused = await client.call_tool("write", {"words": "x", "database": "shelf"})
        assert [getattr(part, "text", None) for part in refused.content] == [
            "There is no tool 'write'. There are fall, list_sources, miss, say."
        ]
        own = Role("writer", "Writer", (Grant(("db.shelf",), ("*",)),))
        await gateway.authority.publish({"role.writer": own, "user.bob": User("bob", ("reader", "writer"))})
        assert await until(lambda: names(client), lambda found: "write" in found) < 1
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert "database" not in tools["hold"].input_schema.get("required", [])  # one source is left for it


@pytest.mark.parametrize("era", ERAS)
async def test_a_role_limits_how_often_its_users_call(nats: NatsServer, era: str) -> None:
    async with gateway_and_worker(nats) as gateway:
        slow = Role("reader", "Reader", (Grant(("db.*",), ("read",)),), calls_per_minute=3)
        await gateway.authority.publish({"role.reader": slow, "user.cid": User("cid", ("reader",))})
        async with gateway.client(era, token=gateway.authority.token(sub="cid")) as client:
            await until(lambda: names(client), lambda found: "say" in found)
            answers = [await client.call_tool("say", {"words": "x", "database": "shelf"}) for _ in range(4)]
            assert [answer.is_error for answer in answers] == [False, False, False, True]
            assert [getattr(part, "text", None) for part in answers[3].content] == [
                "You may make 3 calls a minute; try again in 20 seconds."
            ]
            assert (await client.call_tool("list_sources", {})).is_error
            free = User("cid", ("reader", "everything"))
            await gateway.authority.publish({"user.cid": free})
            await until(lambda: names(client), lambda found: "write" in found)
            assert not (await client.call_tool("say", {"words": "x", "database": "shelf"})).is_error


async def test_a_service_offers_only_its_own_scopes_whatever_a_token_says(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway:
        narrow = Service("default", "Isthmus", default=True, scopes=("data:read",))
        await gateway.authority.publish({"service.default": narrow})
        async with gateway.client() as client:
            await until(lambda: names(client), lambda found: "write" not in found)
            result = await client.call_tool("write", {"words": "x", "database": "shelf"})
            assert result.is_error
            assert [getattr(part, "text", None) for part in result.content] == [
                "There is no tool 'write'. There are fall, hold, list_sources, miss, say."
            ]
            assert not (await client.call_tool("say", {"words": "x", "database": "shelf"})).is_error
        async with httpx2.AsyncClient(base_url=gateway.url, verify=TLS) as http:
            described = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
            refused = await http.post("/mcp")
        assert described["scopes_supported"] == ["data:read"]
        assert 'scope="data:read"' in refused.headers["www-authenticate"]


async def test_a_change_of_policy_counts_within_a_second(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client(token=gateway.authority.token(sub="bob")) as client:
        assert "write" not in await names(client)
        await gateway.authority.publish({"user.bob": User("bob", ("everything",))})
        assert await until(lambda: names(client), lambda found: "write" in found) < 1
        await gateway.authority.publish({"service.default": Service("default", "Isthmus", default=True, sources=())})
        assert await until(lambda: names(client), lambda found: found == ["list_sources"]) < 1


async def test_after_the_bus_was_away_the_catalog_is_whole_again(nats: NatsServer) -> None:
    async with gateway_and_worker(nats) as gateway, gateway.client() as client:
        nats.stop()
        assert (await client.call_tool("say", {"words": "x", "database": "shelf"})).is_error
        nats.start()

        async def say() -> bool:
            return not (await client.call_tool("say", {"words": "x", "database": "shelf"})).is_error

        assert await until(say, bool) < 5
        assert "say" in await names(client)


@pytest.fixture
async def gateway(nats: NatsServer) -> AsyncGenerator[Gateway]:
    async with gateway_and_worker(nats) as running:
        yield running


async def test_a_gateway_is_ready_only_while_the_bus_is_there(nats: NatsServer) -> None:
    async def turns(status: int) -> None:
        async with asyncio.timeout(15), httpx2.AsyncClient(verify=TLS) as http:
            while (await http.get(f"{gateway.url}/readyz")).status_code != status:
                await asyncio.sleep(0.05)
            assert (await http.get(f"{gateway.url}/healthz")).status_code == 200

    async with running_gateway(nats) as gateway:
        await turns(200)
        nats.stop()
        await turns(503)
        nats.start()
        await turns(200)
