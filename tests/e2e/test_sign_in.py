"""The main job: a client that knows nothing but the endpoint signs in and works with the data, in both eras."""

import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from isthmus.origins import METADATA_PATH
from servers import TLS
from stack import REDIRECT, Person, Stack, Storage, claims

ERAS = ["auto", "legacy"]


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_registers_signs_in_and_works_with_rows_and_files(stack: Stack, era: str) -> None:
    person = Person(stack.connection)
    async with person.client(era) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert {"list_sources", "query_table", "create_records", "list_files", "write_file"} <= set(tools)

        rows = await client.call_tool(
            "query_table",
            {
                "database": "shop",
                "table": "customers",
                "columns": ["id", "country"],
                "filter": "country = 'AT'",
                "limit": 2,
            },
        )
        assert rows.structured_content is not None
        assert rows.structured_content["columns"] == ["id", "country"]
        assert [country for _, country in rows.structured_content["rows"]] == ["AT", "AT"]
        assert rows.structured_content["truncated"] is True

        path = f"notes/{era}.txt"
        written = await client.call_tool("write_file", {"path": path, "content": "Grüße"})
        assert not written.is_error, written.content
        read = await client.call_tool("read_file", {"path": path})
        assert "Grüße" in read.content[0].text  # pyright: ignore
        assert not (await client.call_tool("delete_file", {"path": path})).is_error
    assert person.sign_ins == 1


async def test_records_are_created_changed_and_deleted(stack: Stack) -> None:
    async with Person(stack.connection).client() as client:
        table = {"database": "shop", "table": "categories"}
        created = await client.call_tool(
            "create_records", {**table, "records": [{"name": "Kettles", "description": "Hot"}]}
        )
        assert not created.is_error, created.content
        where = {"filter": "name = 'Kettles'"}
        changed = await client.call_tool("update_records", {**table, **where, "values": {"name": "Teapots"}})
        assert not changed.is_error, changed.content
        found = await client.call_tool("query_table", {**table, "filter": "name = 'Teapots'", "columns": ["name"]})
        assert found.structured_content is not None
        assert found.structured_content["rows"] == [["Teapots"]]
        deleted = await client.call_tool("delete_records", {**table, "filter": "name = 'Teapots'"})
        assert not deleted.is_error, deleted.content
        gone = await client.call_tool("query_table", {**table, "filter": "name = 'Teapots'"})
        assert gone.structured_content is not None
        assert gone.structured_content["rows"] == []


async def test_the_token_is_for_this_endpoint_and_refreshes_without_a_person(stack: Stack) -> None:
    storage = Storage()
    async with Person(stack.connection, storage).client() as client:
        await client.list_tools()
    assert storage.tokens is not None
    first = storage.tokens
    assert claims(first.access_token)["aud"] == stack.connection.mcp_endpoint
    assert claims(first.access_token)["iss"] == stack.connection.issuer

    storage.tokens = first.model_copy(update={"access_token": "expired"})
    again = Person(stack.connection, storage)
    provider = again.provider()
    provider.context.token_expiry_time = 1
    async with httpx2.AsyncClient(verify=TLS) as http:
        renewed = await http.post(
            f"{stack.connection.issuer}/token",
            data={
                "grant_type": "refresh_token",
                "refresh_token": first.refresh_token or "",
                "client_id": storage.client.client_id if storage.client else "",
                "client_secret": (storage.client.client_secret if storage.client else "") or "",
            },
        )
    assert renewed.status_code == 200, renewed.text
    assert renewed.json()["refresh_token"] != first.refresh_token
    storage.tokens = first.model_validate(renewed.json())
    async with again.client() as client:
        await client.list_tools()
    assert again.sign_ins == 0


async def test_the_services_own_client_id_and_secret_work_as_pasted_into_a_client(stack: Stack) -> None:
    own = OAuthClientInformationFull(
        client_id=stack.connection.client_id,
        client_secret=stack.connection.client_secret,
        redirect_uris=[AnyUrl(REDIRECT)],
        token_endpoint_auth_method="client_secret_post",
        grant_types=["authorization_code", "refresh_token"],
    )
    person = Person(stack.connection, Storage(client=own))
    async with person.client() as client:
        assert not (await client.call_tool("list_sources", {})).is_error
    assert person.sign_ins == 1


async def test_the_person_decides_about_the_scopes(stack: Stack) -> None:
    async with Person(stack.connection, scopes=["data:read"]).client() as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert "query_table" in tools
    assert not tools & {"create_records", "read_file", "write_file"}


async def test_the_endpoint_tells_a_stranger_how_to_sign_in(stack: Stack) -> None:
    connection = stack.connection
    async with httpx2.AsyncClient(verify=TLS) as http:
        refused = await http.post(connection.mcp_endpoint, json={})
        assert refused.status_code == 401
        metadata = refused.headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
        assert metadata == connection.mcp_endpoint.replace("/mcp", METADATA_PATH + "/mcp")
        described = (await http.get(metadata)).json()
        assert described["resource"] == connection.mcp_endpoint
        server = (
            await http.get(f"{described['authorization_servers'][0]}/.well-known/oauth-authorization-server")
        ).json()
        assert server["issuer"] == connection.issuer
        service = (await http.get(f"{connection.issuer}/mcp-services/default")).json()
    assert service["mcp_endpoint"] == connection.mcp_endpoint
    assert "secret" not in str(service)
