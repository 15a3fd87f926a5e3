"""Clients that listen hear of changes: in both eras, from every gateway, and only of what they may read."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import mcp_types as types
import pytest
from mcp import Client, MCPError

from gateways import Gateway, running_gateway
from isthmus.grants import Grant
from isthmus.policy import Role, User
from notes import ERAS, noted, tool_names, until
from servers import TLS, NatsServer

TEA = "notes://home/public/tea"
PLAN = "notes://home/secret/plan"
# The client library warns of methods that 2026-07-28 removed; the gateway serves both eras.
# pyright: reportDeprecated=false
pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

LISTS = ["PromptListChangedNotification", "ResourceListChangedNotification", "ToolListChangedNotification"]


@dataclass
class Heard:
    """What reached one client."""

    messages: list[object] = field(default_factory=list[object])

    async def on_message(self, message: object) -> None:
        self.messages.append(message)

    def kinds(self) -> list[str]:
        return sorted({type(message).__name__ for message in self.messages})

    def updates(self) -> list[str]:
        return [str(m.params.uri) for m in self.messages if isinstance(m, types.ResourceUpdatedNotification)]

    async def wait_for_update(self, uri: str) -> None:
        async def heard() -> list[str]:
            return self.updates()

        await until(heard, lambda updates: uri in updates)


@asynccontextmanager
async def listening(
    gateway: Gateway, era: str, uris: list[str], token: str = ""
) -> AsyncGenerator[tuple[Client, Heard]]:
    """A client that follows these resources, and the lists."""
    heard = Heard()
    async with gateway.client(era, message_handler=heard.on_message, token=token or None) as client:
        if era == "legacy":
            for uri in uris:
                await client.subscribe_resource(uri)
            yield client, heard
            return
        async with client.listen(
            tools_list_changed=True,
            prompts_list_changed=True,
            resources_list_changed=True,
            resource_subscriptions=uris,
        ):
            yield client, heard


@pytest.mark.parametrize("era", ERAS)
async def test_changed_lists_and_resources_are_heard_at_every_gateway(nats: NatsServer, era: str) -> None:
    async with noted(nats) as first, running_gateway(nats, first.authority) as second:
        token = first.authority.token(aud=[first.mcp, second.mcp])
        async with (
            first.client() as actor,
            listening(first, era, [TEA], token) as (_, near),
            listening(second, era, [TEA], token) as (_, far),
        ):
            await actor.call_tool("touch", {"uri": TEA})
            await near.wait_for_update(TEA)
            await far.wait_for_update(TEA)
            await actor.call_tool("change_title", {})
            for heard in (near, far):

                async def kinds(heard: Heard = heard) -> list[str]:
                    return heard.kinds()

                await until(kinds, lambda found: set(LISTS) <= set(found))


async def test_the_list_that_changed_is_another_one(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client() as client:

        async def title() -> str | None:
            return next(tool.title for tool in (await client.list_tools()).tools if tool.name == "titled")

        assert await title() == "Title 0"
        await client.call_tool("change_title", {})
        await until(title, lambda found: found == "Title 1")


@pytest.mark.parametrize("era", ERAS)
async def test_only_resources_that_are_followed_are_heard_of(nats: NatsServer, era: str) -> None:
    async with noted(nats) as gateway, gateway.client() as actor, listening(gateway, era, [TEA]) as (_, heard):
        await actor.call_tool("touch", {"uri": PLAN})
        await actor.call_tool("touch", {"uri": TEA})
        await heard.wait_for_update(TEA)
        assert heard.updates() == [TEA]


async def test_a_2025_client_hears_nothing_any_more_once_it_follows_no_longer(nats: NatsServer) -> None:
    async with (
        noted(nats) as gateway,
        gateway.client() as actor,
        listening(gateway, "legacy", [TEA, PLAN]) as (client, heard),
    ):
        await client.unsubscribe_resource(TEA)
        await actor.call_tool("touch", {"uri": TEA})
        await actor.call_tool("touch", {"uri": PLAN})
        await heard.wait_for_update(PLAN)
        assert heard.updates() == [PLAN]


async def test_a_worker_speaks_only_of_resources_of_its_own_source(nats: NatsServer) -> None:
    work = "notes://work/public/tea"
    async with (
        noted(nats) as gateway,
        gateway.client() as actor,
        listening(gateway, "auto", [work, TEA]) as (_, heard),
    ):
        for uri in (work, "other://home/x", "notes://home/\ud7ff", "", TEA):
            await actor.call_tool("touch", {"uri": uri})
        await heard.wait_for_update(TEA)
        assert heard.updates() == [TEA]


async def public_reader(gateway: Gateway) -> str:
    """The token of a user who may read only what is below `public`, of one source."""
    grant = Grant(("db.home",), ("read",), objects=("public/**",))
    await gateway.authority.publish(
        {"role.public": Role("public", "P", (grant,)), "user.pat": User("pat", ("public",))}
    )
    token = gateway.authority.token(sub="pat")
    async with gateway.client(token=token) as client:
        await until(lambda: tool_names(client), lambda found: "order" in found)
    return token


async def test_a_2025_client_may_not_follow_what_it_may_not_read(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client("legacy", token=await public_reader(gateway)) as client:
        await client.subscribe_resource(TEA)
        for uri in (PLAN, "notes://work/public/tea", "notes://nowhere/public/tea", "other://x"):
            with pytest.raises(MCPError, match="There is no resource of that URI"):
                await client.subscribe_resource(uri)


async def test_a_2026_client_does_not_hear_of_what_it_may_not_read(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client() as actor:
        token = await public_reader(gateway)
        async with listening(gateway, "auto", [PLAN, TEA], token) as (_, heard):
            await actor.call_tool("touch", {"uri": PLAN})
            await actor.call_tool("touch", {"uri": TEA})
            await heard.wait_for_update(TEA)
            assert heard.updates() == [TEA]


async def test_a_2025_client_that_does_not_read_its_stream_holds_up_nobody(nats: NatsServer) -> None:
    long = "notes://home/public/" + "x" * 4000
    async with noted(nats) as gateway, httpx2.AsyncClient(timeout=20, verify=TLS) as http, gateway.client() as actor:
        session = await open_session(http, gateway)
        uris = [f"{long}{number}" for number in range(20)]
        for number, uri in enumerate(uris):
            await post(http, gateway, session, "resources/subscribe", {"uri": uri}, number + 10)
        async with http.stream("GET", gateway.mcp, headers=session) as unread:
            assert unread.status_code == 200
            async with listening(gateway, "legacy", [TEA]) as (_, heard):
                for _ in range(100):  # 8 MB for the one that does not read
                    for uri in uris:
                        await actor.call_tool("touch", {"uri": uri})
                await actor.call_tool("touch", {"uri": TEA})
                await heard.wait_for_update(TEA)


async def open_session(http: httpx2.AsyncClient, gateway: Gateway) -> dict[str, str]:
    """The headers of a 2025 session, which is open."""
    sent = {
        "Authorization": f"Bearer {gateway.authority.token()}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-11-25",
    }
    about = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about}
    answer = await http.post(gateway.mcp, json=body, headers=sent)
    session = {**sent, "Mcp-Session-Id": answer.headers["mcp-session-id"]}
    await http.post(gateway.mcp, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    return session


async def post(
    http: httpx2.AsyncClient,
    gateway: Gateway,
    session: dict[str, str],
    method: str,
    params: dict[str, str],
    number: int,
) -> None:
    body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    assert '"error"' not in (await http.post(gateway.mcp, json=body, headers=session)).text
