"""Step-up: a call that needs more than was granted asks for it, and what was granted stays."""

from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.shared.auth import OAuthToken

from servers import TLS
from stack import Person, Stack, Storage, claims

ERAS = ["auto", "legacy"]
READ, BOTH = ["data:read"], ["data:read", "data:write"]
ROWS = {"database": "shop", "table": "categories", "limit": 1}


def record() -> dict[str, object]:
    """A write that no other test makes."""
    return {
        "database": "shop",
        "table": "categories",
        "records": [{"name": f"Whisks {uuid4()}", "description": "For foam"}],
    }


async def tools(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


def scopes(tokens: OAuthToken | None) -> list[str]:
    """The scopes in the access token."""
    assert tokens is not None
    return sorted(str(claims(tokens.access_token)["scope"]).replace("offline_access", "").split())


def asked(person: Person) -> set[str]:
    """The scopes that the client asked for last."""
    return set(parse_qs(urlsplit(person.asked[-1]).query)["scope"][0].split()) - {"offline_access"}


async def reads(stack: Stack, tokens: OAuthToken) -> bool:
    """Whether these tokens are good for a read, without any client that could get others."""
    headers = {
        "Authorization": f"Bearer {tokens.access_token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "query_table",
    }
    about = "io.modelcontextprotocol"
    meta: dict[str, object] = {f"{about}/protocolVersion": "2026-07-28", f"{about}/clientCapabilities": {}}
    params = {"name": "query_table", "arguments": ROWS, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with httpx2.AsyncClient(verify=TLS) as http:
        answer = await http.post(stack.connection.mcp_endpoint, json=body, headers=headers)
    return answer.status_code == 200 and not answer.json()["result"]["isError"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_write_with_a_grant_to_read_asks_for_consent_once_and_is_made(stack: Stack, era: str) -> None:
    person = Person(stack.connection, scopes=READ)
    async with person.client(era) as client:
        assert "create_records" not in await tools(client)
        assert not (await client.call_tool("query_table", ROWS)).is_error
        first = person.storage.tokens
        assert first is not None
        assert scopes(first) == READ

        person.scopes = BOTH
        created = await client.call_tool("create_records", record())
        assert not created.is_error, created.content
        assert set(BOTH) <= asked(person)
        assert scopes(person.storage.tokens) == BOTH
        assert (len(person.asked), person.sign_ins) == (2, 1)

        assert "create_records" in await tools(client)
        assert not (await client.call_tool("query_table", ROWS)).is_error
        assert not (await client.call_tool("create_records", record())).is_error
        assert len(person.asked) == 2
    assert await reads(stack, first)  # the first grant ends by itself, and not because there is a second


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_was_restarted_asks_for_what_it_has_and_what_it_needs(stack: Stack, era: str) -> None:
    before = Person(stack.connection, Storage(), scopes=READ)
    async with before.client(era) as client:
        await client.list_tools()
    person = Person(stack.connection, before.storage)
    async with person.client(era) as client:
        assert not (await client.call_tool("query_table", ROWS)).is_error
        assert person.asked == []
        assert not (await client.call_tool("create_records", record())).is_error
        assert asked(person) == set(BOTH)
        assert not (await client.call_tool("query_table", ROWS)).is_error
    assert len(person.asked) == 1
    assert scopes(person.storage.tokens) == BOTH


async def test_what_was_added_is_kept_when_the_tokens_are_renewed(stack: Stack) -> None:
    person = Person(stack.connection, scopes=READ)
    async with person.client() as client:
        await client.list_tools()
        person.scopes = BOTH
        await client.call_tool("create_records", record())
    tokens, client_info = person.storage.tokens, person.storage.client
    assert tokens is not None
    assert client_info is not None
    async with httpx2.AsyncClient(verify=TLS) as http:
        renewed = await http.post(
            f"{stack.connection.issuer}/token",
            data={
                "grant_type": "refresh_token",
                "refresh_token": tokens.refresh_token or "",
                "client_id": client_info.client_id or "",
                "client_secret": client_info.client_secret or "",
            },
        )
    assert scopes(OAuthToken.model_validate(renewed.json())) == BOTH


async def test_who_refuses_more_keeps_what_was_granted(stack: Stack) -> None:
    person = Person(stack.connection, scopes=READ)
    async with person.client() as client:
        await client.list_tools()
        first = person.storage.tokens
        assert first is not None
        with pytest.raises(MCPError):
            await client.call_tool("create_records", record())
        assert not (await client.call_tool("query_table", ROWS)).is_error
    assert scopes(person.storage.tokens) == READ
    assert len(person.asked) == 2
    assert await reads(stack, first)
