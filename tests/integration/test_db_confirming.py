"""A database whose changes the user confirms: through a real gateway and worker, in both eras."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import pytest

from databases import Shop
from gateways import Gateway, running_gateway
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker
from notes import ERAS, tool_names, until
from servers import NatsServer
from shelf import served

pytest_plugins = ["database_fixtures"]
pytestmark = pytest.mark.parametrize("era", ERAS)

CHANGE: dict[str, Any] = {"table": "orders", "values": {"status": "sent"}, "filter": "customer_id = 1"}


@asynccontextmanager
async def confirming(nats: NatsServer, shop: Shop) -> AsyncGenerator[Gateway]:
    """A gateway before a worker that serves the shop."""
    worker = create_worker({"shop": DatabaseSettings(url=shop.url, access="read-write", writes="confirm")})
    async with running_gateway(nats, call_timeout=10) as gateway, served(worker, nats):
        async with gateway.client() as client:
            await until(lambda: tool_names(client), lambda found: "update_records" in found)
        yield gateway


def text_of(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def statuses(shop: Shop) -> list[Any]:
    return [row[0] for row in shop.execute("select status from orders order by id")]


@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_the_user_sees_what_would_change_and_decides(
    nats: NatsServer, sqlite_shop: Shop, era: str, action: Any
) -> None:
    asked: list[str] = []

    async def user(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        assert statuses(sqlite_shop) == ["open", "paid", "open", "lost"]
        return types.ElicitResult(action=action, content={} if action == "accept" else None)

    async with confirming(nats, sqlite_shop) as gateway, gateway.client(era, elicitation_callback=user) as client:
        result = await client.call_tool("update_records", CHANGE)
    (message,) = asked
    assert message.splitlines()[0] == "Allow this change in shop?"
    assert message.splitlines()[1:] == ["update 2 records of orders", "id\tstatus", "1\topen → sent", "2\tpaid → sent"]
    if action == "accept":
        assert result.structured_content == {"updated": 2}
        assert statuses(sqlite_shop) == ["sent", "sent", "open", "lost"]
    else:
        assert (result.meta or {})["isthmus/error"] == "not_allowed"
        assert text_of(result) == "The user did not agree to this change; nothing was changed."
        assert statuses(sqlite_shop) == ["open", "paid", "open", "lost"]


async def test_what_changed_while_the_user_thought_is_not_done(nats: NatsServer, sqlite_shop: Shop, era: str) -> None:
    async def user(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        sqlite_shop.execute("update orders set note = 'new' where id = 2")
        return types.ElicitResult(action="accept", content={})

    async with confirming(nats, sqlite_shop) as gateway, gateway.client(era, elicitation_callback=user) as client:
        result = await client.call_tool("update_records", CHANGE)
    assert (result.meta or {})["isthmus/error"] == "conflict"
    assert text_of(result).startswith("Meanwhile record 2 of orders was changed; nothing was changed.")
    assert statuses(sqlite_shop) == ["open", "paid", "open", "lost"]


async def test_a_plan_does_not_take_the_place_of_the_user(nats: NatsServer, sqlite_shop: Shop, era: str) -> None:
    asked = 0

    async def user(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        nonlocal asked
        asked += 1
        return types.ElicitResult(action="accept", content={})

    async with confirming(nats, sqlite_shop) as gateway, gateway.client(era, elicitation_callback=user) as client:
        previewed = await client.call_tool("update_records", {**CHANGE, "preview": True})
        assert asked == 0
        assert previewed.structured_content is not None
        plan = previewed.structured_content["preview"]["plan"]
        result = await client.call_tool("update_records", {**CHANGE, "plan": plan})
    assert (result.structured_content, asked) == ({"updated": 2}, 1)


async def test_a_client_that_cannot_ask_gets_a_preview(nats: NatsServer, sqlite_shop: Shop, era: str) -> None:
    async with confirming(nats, sqlite_shop) as gateway, gateway.client(era) as client:
        result = await client.call_tool("update_records", CHANGE)
        assert text_of(result).startswith("Nothing is changed yet. This call would:\nupdate 2 records of orders")
        assert statuses(sqlite_shop)[0] == "open"
        assert result.structured_content is not None
        plan = result.structured_content["preview"]["plan"]
        done = await client.call_tool("update_records", {**CHANGE, "plan": plan})
    assert done.structured_content == {"updated": 2}
