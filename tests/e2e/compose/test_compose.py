"""All services in containers: a client signs in through the published ports, and services scale and fail."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from mcp import Client

from browser import Form
from composed import Composed
from stack import Person

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1200)]

CUSTOMERS = {"table": "customers", "columns": ["id", "name"], "filter": "country = 'AT'", "limit": 3}


async def rows(client: Client, arguments: dict[str, Any] = CUSTOMERS) -> list[list[Any]]:
    """What query_table finds."""
    found = await client.call_tool("query_table", arguments)
    assert not found.is_error, found.content
    assert found.structured_content is not None
    return found.structured_content["rows"]


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_signs_in_and_works_with_rows_and_files(stack: Composed, era: str) -> None:
    person = Person(stack.connection())
    async with person.client(era) as client:
        assert len(await rows(client)) == 3
        table = {"table": "categories"}
        record = {"name": f"Kettles {era}", "description": "To boil water"}
        created = await client.call_tool("create_records", {**table, "records": [record]})
        assert not created.is_error, created.content
        assert len(await rows(client, {**table, "filter": f"name = 'Kettles {era}'"})) == 1

        handbook = await client.call_tool("read_file", {"path": "handbook.txt"})
        assert "QUILLMARSH" in handbook.content[0].text  # pyright: ignore
        path = f"notes/{era}.txt"
        written = await client.call_tool("write_file", {"path": path, "content": "Grüße"})
        assert not written.is_error, written.content
        read = await client.call_tool("read_file", {"path": path})
        assert "Grüße" in read.content[0].text  # pyright: ignore
    assert person.sign_ins == 1


async def test_reads_go_on_when_a_worker_and_then_a_gateway_is_killed(stack: Composed) -> None:
    stack.up("--scale", "db-worker=3", "--scale", "mcp-gateway=2")
    workers, gateways = stack.containers("db-worker"), stack.containers("mcp-gateway")
    assert (len(workers), len(gateways)) == (3, 2)
    async with Person(stack.connection()).client() as client:

        async def read(times: int) -> None:
            for _ in range(times):
                assert len(await rows(client)) == 3

        killing = asyncio.create_task(asyncio.to_thread(stack.kill, workers[0]))
        while not killing.done():
            await read(1)
        await killing
        await read(50)
        assert len(stack.containers("db-worker")) == 2
        await asyncio.to_thread(stack.kill, gateways[0])  # between two calls: a cut connection is the client's matter
        await read(20)
        assert len(stack.containers("mcp-gateway")) == 1
    stack.up()


async def test_what_was_written_is_there_after_down_and_up(stack: Composed) -> None:
    before = stack.connection()
    async with Person(before).client() as client:
        written = await client.call_tool("write_file", {"path": "kept.txt", "content": "kept"})
        assert not written.is_error, written.content
    stack.compose("down", within=120)
    stack.up()
    assert stack.connection() == before
    async with Person(before).client() as client:
        kept = await client.call_tool("read_file", {"path": "kept.txt"})
        assert "kept" in kept.content[0].text  # pyright: ignore


def test_a_service_can_read_its_own_secrets_alone(stack: Composed) -> None:
    own = stack.compose("exec", "-T", "db-worker", "sh", "-c", "cat /secrets/db-worker/nats_password")
    assert own.startswith("p")
    tried = "cat /secrets/secrets.json /secrets/auth/* /secrets/operator/* /secrets/file-worker/* || true"
    assert stack.compose("exec", "-T", "db-worker", "sh", "-c", tried) == ""


def test_only_the_proxy_is_published(stack: Composed) -> None:
    connection = stack.connection()
    assert httpx2.get(connection.mcp_endpoint).status_code == 401
    assert httpx2.get(f"{connection.issuer}/readyz").status_code == 200
    described = "/.well-known/oauth-authorization-server"
    through_the_proxy = httpx2.get(connection.mcp_endpoint.removesuffix("/mcp") + described)
    assert through_the_proxy.json() == httpx2.get(connection.issuer + described).json()
    published = [
        line for line in stack.compose("ps", "--format", "{{.Service}} {{.Ports}}").splitlines() if "->" in line
    ]
    assert sorted(line.partition(" ")[0] for line in published) == ["proxy"]
    assert all(" 127.0.0.1:" in line for line in published)


def test_a_forged_address_evades_no_limit(stack: Composed) -> None:
    issuer = stack.connection().issuer
    with httpx2.Client(base_url=issuer) as client:
        form = Form(client.get("/sign-in").text)

        def attempt(forwarded: str) -> int:
            body = urlencode({**form.fields, "email": "nobody@example.com", "password": "wrong"})
            headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": forwarded}
            return client.post("/sign-in", content=body, headers=headers).status_code

        assert [attempt(f"198.51.100.{number}") for number in range(11)] == [403] * 10 + [429]
