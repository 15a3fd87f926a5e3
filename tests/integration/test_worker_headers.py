"""Arguments that clients of 2026-07-28 mirror into HTTP headers (`x-mcp-header`), the source among them."""

from typing import Annotated, Any

import msgspec
import pytest

from gateways import running_gateway
from isthmus.worker import Call
from notes import ERAS, Notes, make_worker, tool_names, until
from servers import NatsServer
from shelf import served
from wire import ask

HEADER_MISMATCH = -32020


def header(name: str) -> Any:
    return msgspec.Meta(extra_json_schema={"x-mcp-header": name})


class Mirrored(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Two arguments, both in headers."""

    database: Annotated[str, header("Database")] = ""
    region: Annotated[str, header("Region")]


@pytest.mark.parametrize("era", ERAS)
async def test_clients_mirror_arguments_as_they_are_listed(nats: NatsServer, era: str) -> None:
    worker = make_worker(Notes())

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def mirrored(call: Call[Notes], arguments: Mirrored) -> str:
        """Says what it got."""
        return f"{call.source.name}: {arguments.region}"

    async with running_gateway(nats) as gateway, served(worker, nats), gateway.client(era) as client:
        await until(lambda: tool_names(client), lambda found: "mirrored" in found)
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        properties = tools["mirrored"].input_schema["properties"]
        assert properties["database"] == {"type": "string", "enum": ["home", "work"], "x-mcp-header": "Database"}
        for region in ("Wien", "Zürich ", "=?base64?x?="):
            result = await client.call_tool("mirrored", {"database": "work", "region": region})
            assert result.content[0].model_dump()["text"] == f"work: {region}"


async def test_a_header_that_says_something_else_is_refused(nats: NatsServer) -> None:
    worker = make_worker(Notes())

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def mirrored(call: Call[Notes], arguments: Mirrored) -> str:
        """Says what it got."""
        return arguments.region

    async with running_gateway(nats) as gateway, served(worker, nats), gateway.client() as client:
        await until(lambda: tool_names(client), lambda found: "mirrored" in found)
        params = {"name": "mirrored", "arguments": {"database": "work", "region": "Wien"}}
        right: dict[str, Any] = {"Mcp-Param-Database": "work", "Mcp-Param-Region": "Wien"}
        assert "result" in await ask(gateway, "tools/call", params, **right)
        for name, wrong in (("Database", "home"), ("Region", "Linz"), ("Region", "=?base64?!?=")):
            changed: dict[str, Any] = {**right, f"Mcp-Param-{name}": wrong}
            answer = await ask(gateway, "tools/call", params, **changed)
            assert answer["error"]["code"] == HEADER_MISMATCH, wrong
        for missing in right:
            sent: dict[str, Any] = {name: value for name, value in right.items() if name != missing}
            answer = await ask(gateway, "tools/call", params, **sent)
            assert answer["error"]["code"] == HEADER_MISMATCH, missing
        answer = await ask(gateway, "tools/call", params)
        assert answer["error"]["code"] == HEADER_MISMATCH
