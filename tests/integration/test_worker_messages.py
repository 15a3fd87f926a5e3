"""What a worker says before its answer: log messages and progress, in order, and never in the way of others."""

import asyncio
import json
import time
from typing import Any

import httpx2
import mcp_types as types
import pytest

from notes import ERAS, Notes, noted
from servers import TLS, NatsServer
from wire import headers, with_meta

# The client library warns of methods that 2026-07-28 removed; the gateway serves both eras.
# pyright: reportDeprecated=false
pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


def logging_to(heard: list[types.LoggingMessageNotificationParams]) -> Any:
    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        heard.append(params)

    return on_log


def levels(heard: list[types.LoggingMessageNotificationParams]) -> list[str]:
    return [params.level for params in heard]


async def test_a_2025_client_sets_the_level_of_what_it_wants_to_hear(nats: NatsServer) -> None:
    heard: list[types.LoggingMessageNotificationParams] = []
    async with noted(nats) as gateway, gateway.client("legacy", logging_callback=logging_to(heard)) as client:
        await client.call_tool("talk", {"database": "home"})
        assert levels(heard) == ["info", "warning", "error"]
        assert heard[0].data == {"said": "info"}
        assert heard[0].logger == "talk"
        await client.set_logging_level("debug")
        await client.call_tool("talk", {"database": "home"})
        assert levels(heard[3:]) == ["debug", "info", "warning", "error"]
        await client.set_logging_level("emergency")
        await client.call_tool("talk", {"database": "home"})
        assert len(heard) == 7


@pytest.mark.parametrize(
    ("level", "expected"),
    [(None, []), ("warning", ["warning", "error"]), ("debug", ["debug", "info", "warning", "error"])],
)
async def test_a_2026_client_says_with_each_request_what_it_wants_to_hear(
    nats: NatsServer, level: types.LoggingLevel | None, expected: list[str]
) -> None:
    heard: list[types.LoggingMessageNotificationParams] = []
    options: dict[str, Any] = {"logging_callback": logging_to(heard), "log_level": level}
    async with noted(nats) as gateway, gateway.client(**options) as client:
        await client.call_tool("talk", {"database": "home"})
    assert levels(heard) == expected


async def test_a_level_that_does_not_exist_is_refused_and_changes_nothing(nats: NatsServer) -> None:
    async with noted(nats) as gateway, httpx2.AsyncClient(timeout=10, verify=TLS) as http:
        params = with_meta({"name": "talk", "arguments": {"database": "home"}})
        params["_meta"]["io.modelcontextprotocol/logLevel"] = "loud"
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await http.post(
            gateway.mcp, json=body, headers=headers("tools/call", gateway.authority.token(), "talk")
        )
    assert "notifications/message" not in answer.text


@pytest.mark.parametrize("era", ERAS)
async def test_progress_comes_in_order_and_before_the_answer(nats: NatsServer, era: str) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async with noted(nats) as gateway, gateway.client(era) as client:
        await client.call_tool("talk", {"database": "home", "times": 200}, progress_callback=on_progress)
        assert heard == [(done, 200, f"step {done}") for done in range(200)]


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_did_not_ask_for_progress_gets_none(nats: NatsServer, era: str) -> None:
    heard: list[str] = []

    async def on_message(message: object) -> None:
        heard.append(type(message).__name__)

    async with noted(nats) as gateway, gateway.client(era, message_handler=on_message) as client:
        await client.call_tool("talk", {"database": "home"})
    assert "ProgressNotification" not in heard


async def test_a_client_that_does_not_read_holds_up_nobody(nats: NatsServer) -> None:
    notes = Notes()
    async with (
        noted(nats, notes) as gateway,
        gateway.client() as other,
        httpx2.AsyncClient(timeout=20, verify=TLS) as http,
    ):
        arguments = {"database": "home", "times": 1000, "size": 50_000}
        params = with_meta({"name": "flood", "arguments": arguments}, progressToken="p")
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        sent = headers("tools/call", gateway.authority.token(), "flood")
        async with http.stream("POST", gateway.mcp, content=json.dumps(body), headers=sent) as unread:
            async with asyncio.timeout(15):
                await notes.flooded.wait()
            began = time.monotonic()
            await other.call_tool("talk", {"database": "home"})
            assert time.monotonic() - began < 2
            assert unread.status_code == 200
