"""`tools/list` as it goes over the wire: real workers, a real gateway, a caller who may do everything."""

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from fleet import KEY, process, until_listed
from gateways import Gateway, running_gateway
from isthmus.scopes import SCOPES
from servers import TLS, NatsServer
from tool_table import URL, listed, size

KB = 1024
LIST: dict[str, object] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}


async def ask(gateway: Gateway) -> bytes:
    headers = {
        "Authorization": f"Bearer {gateway.authority.token(scope=' '.join(SCOPES))}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/list",
    }
    async with httpx2.AsyncClient(verify=TLS) as http:
        return (await http.post(gateway.mcp, json=LIST, headers=headers)).content


@pytest.mark.parametrize(("databases", "most"), [(2, 21 * KB), (100, 24 * KB)])
async def test_the_list_of_tools_is_short_and_the_same_each_time(
    nats: NatsServer, tmp_path: Path, databases: int, most: int
) -> None:
    names = [f"database_{number:03}" for number in range(databases)]
    served = {name: {"url": URL, "access": "read-write"} for name in names}
    stores = {"documents": {"path": str(tmp_path), "access": "read-write"}}
    with ExitStack() as stack:
        for kind, setting in (("db", {"ISTHMUS_DATABASES": served}), ("file", {"ISTHMUS_FILES": stores})):
            settings = {name: json.dumps(value) for name, value in setting.items()}
            environment = {**nats.environment(f"{kind}_worker"), **settings, "ISTHMUS_FINGERPRINT_KEY": KEY}
            stack.enter_context(process(tmp_path, f"isthmus_{kind}_worker", **environment))
        async with running_gateway(nats) as gateway:
            token = gateway.authority.token(scope=" ".join(SCOPES))
            async with gateway.client(token=token) as client:
                for name in (names[-1], "documents"):
                    await until_listed(client, name)
            async with asyncio.timeout(10):
                while len(json.loads(await ask(gateway))["result"]["tools"]) < len(listed(databases, "read-write")):
                    await asyncio.sleep(0.02)
            body = await ask(gateway)
            assert await ask(gateway) == body
    print(f"{databases} databases and 1 file store: {len(body):,} bytes")
    assert len(body) < most
    assert len(body) - size(listed(databases, "read-write")) < KB
