"""Resources, prompts and completion of databases and stores, as clients of both eras meet them at the gateway."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.uri_template import UriTemplate

from databases import DIALECTS, SHOP, Shop
from gateways import Gateway, running_gateway
from isthmus.grants import Grant
from isthmus.policy import Role, User
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.worker import file_worker
from servers import TLS, NatsServer
from shelf import served
from stores import fill

ERAS = ["auto", "legacy"]
SCOPE = "data:read data:write files:read files:write"
FILES = {"public/a b.txt": "hello", "public/100%.md": "# all", "secret/c.txt": "hidden", "top.txt": "top"}
TABLE = types.ResourceTemplateReference(uri="database://{database}/{table}")
FILE = types.ResourceTemplateReference(uri="store://{store}/{+path}")


@asynccontextmanager
async def everything_served(nats: NatsServer, folder: Path) -> AsyncGenerator[Gateway]:
    """A gateway with a database, an empty one and a store; `bob` may read orders, and what is public."""
    (folder / "shop.db").touch()
    (folder / "spare.db").touch()
    shop = Shop("sqlite", f"sqlite:///{folder / 'shop.db'}")
    shop.execute(SHOP.format(**DIALECTS["sqlite"]))
    shop.close()
    fill(folder / "store", dict(FILES))
    databases = create_worker(
        {
            "shop": DatabaseSettings(url=shop.url, title="Our shop", description="Orders and customers"),
            "spare": DatabaseSettings(url=f"sqlite:///{folder / 'spare.db'}"),
        }
    )
    files = file_worker({"reports": StoreSettings(path=str(folder / "store"), access="read-write")})
    async with (
        running_gateway(nats, call_timeout=10) as gateway,
        served(databases, nats),
        served(files, nats, user="file_worker"),
    ):
        reads = Grant(("db.shop",), ("read",), ("orders",)), Grant(("file.reports",), ("read",), ("public/**",))
        await gateway.authority.publish({"role.some": Role("some", "Some", reads), "user.bob": User("bob", ("some",))})
        for user, count in (("ann", 3), ("bob", 2)):
            async with (
                gateway.client(token=gateway.authority.token(sub=user, scope=SCOPE)) as client,
                asyncio.timeout(5),
            ):
                while len((await client.list_resources()).resources) != count:
                    await asyncio.sleep(0.02)
        yield gateway


@pytest.fixture
async def gateway(nats: NatsServer, tmp_path: Path) -> AsyncGenerator[Gateway]:
    async with everything_served(nats, tmp_path) as running:
        yield running


@asynccontextmanager
async def client_of(gateway: Gateway, era: str = "auto", sub: str = "ann", **options: Any) -> AsyncGenerator[Client]:
    token = gateway.authority.token(sub=sub, scope=SCOPE, aud=gateway.mcp)
    async with gateway.client(era, token=token, **options) as client:
        yield client


async def read(client: Client, uri: str) -> str:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    return contents.text


async def follow(client: Client, uri: str) -> None:
    """As clients of the 2025 versions do."""
    with pytest.warns(MCPDeprecationWarning):
        await client.session.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]


async def completed(client: Client, ref: Any, argument: str, value: str, **known: str) -> list[str]:
    result = await client.complete(ref, {"name": argument, "value": value}, context_arguments=known or None)
    return list(result.completion.values)


@pytest.mark.parametrize("era", ERAS)
async def test_every_source_is_a_resource_and_all_else_comes_by_templates(gateway: Gateway, era: str) -> None:
    async with client_of(gateway, era) as client:
        listed = await client.list_resources()
        templates = await client.list_resource_templates()
        assert {r.uri: (r.name, r.title, r.mime_type) for r in listed.resources} == {
            "database://shop": ("tables_shop", "Tables: Our shop", "text/plain"),
            "database://spare": ("tables_spare", "Tables: Spare", "text/plain"),
            "store://reports": ("files_reports", "Files: Reports", "text/plain"),
        }
        assert listed.resources[0].description == (
            "All tables of a database with their columns. Our shop: Orders and customers"
        )
        assert [t.uri_template for t in templates.resource_templates] == [
            "database://{database}", "database://{database}/{table}", "store://{store}", "store://{store}/{+path}",
        ]  # fmt: skip
        assert (await read(client, "database://shop")).startswith(
            "Database shop (Orders and customers): 5 tables and views."
        )
        assert (await read(client, "database://shop/orders")).endswith("rows: 4")
        assert (await read(client, "store://reports")).splitlines()[:2] == ["public/", "secret/"]
        template = UriTemplate.parse(templates.resource_templates[3].uri_template)
        for path, content in (("public/a b.txt", "hello"), ("public/100%.md", "# all"), ("top.txt", "top")):
            assert await read(client, template.expand({"store": "reports", "path": path})) == content
    sizes = {kind: len(answer.model_dump_json(by_alias=True, exclude_none=True)) for kind, answer in (
        ("list", listed), ("templates", templates))}  # fmt: skip
    assert sizes["list"] < 900
    assert sizes["templates"] < 1000


@pytest.mark.parametrize("era", ERAS)
async def test_names_complete_from_what_there_is_now(gateway: Gateway, era: str, tmp_path: Path) -> None:
    async with client_of(gateway, era) as client:
        assert await completed(client, TABLE, "database", "s") == ["shop", "spare"]
        assert await completed(client, TABLE, "table", "or", database="shop") == ["orders", "open_orders"]
        assert await completed(client, TABLE, "table", "or", database="spare") == []
        explain = types.PromptReference(name="explain_table")
        assert await completed(client, explain, "table", "cus", database="shop") == ["customers"]
        assert await completed(client, FILE, "path", "", store="reports") == ["public/", "secret/", "top.txt"]
        assert await completed(client, FILE, "path", "public/", store="reports") == ["public/100%.md", "public/a b.txt"]
        fill(tmp_path / "store", {"public/new.txt": ""})
        assert await completed(client, FILE, "path", "public/n", store="reports") == ["public/new.txt"]


@pytest.mark.parametrize("era", ERAS)
async def test_what_is_not_granted_is_not_listed_completed_read_or_followed(gateway: Gateway, era: str) -> None:
    async with client_of(gateway, era, "bob") as client:
        assert {r.uri for r in (await client.list_resources()).resources} == {"database://shop", "store://reports"}
        assert [line[:6] for line in (await read(client, "database://shop")).splitlines()[1:]] == ["orders"]
        assert await read(client, "store://reports") == "public/"
        assert await completed(client, TABLE, "table", "", database="shop") == ["orders"]
        assert await completed(client, FILE, "path", "", store="reports") == ["public/"]
        assert await completed(client, TABLE, "database", "") == ["shop"]
        for uri in (
            "database://shop/customers", "database://spare", "database://spare/x", "database://shop/no_such",
            "store://reports/secret/c.txt", "store://reports/top.txt", "store://reports/secret", "store://other/x",
        ):  # fmt: skip
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            missing = -32602 if era == "auto" or "unknown_source" in str(caught.value.data) else -32002
            assert (caught.value.code, "There is no" in str(caught.value)) == (missing, True)
        closed = ["store://reports", "store://reports/secret/c.txt", "database://shop/customers", "database://shop"]
        opened = ["store://reports/public/a%20b.txt", "store://reports/public/", "database://shop/orders"]
        if era == "auto":
            async with client.listen(resource_subscriptions=[*closed, *opened]) as events:
                assert list(events.honored.resource_subscriptions or ()) == opened
        else:
            for uri in closed:
                with pytest.raises(MCPError, match="There is no resource of that URI"):
                    await follow(client, uri)
            for uri in opened:
                await follow(client, uri)
    async with gateway.client(era, token=gateway.authority.token(scope="files:read")) as client:
        assert [r.uri for r in (await client.list_resources()).resources] == ["store://reports"]
        assert [p.name for p in (await client.list_prompts()).prompts] == ["summarize_folder"]
    async with client_of(gateway, era, "eve") as client:
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        assert (await client.list_prompts()).prompts == []


@pytest.mark.parametrize(
    "path",
    ["../secret", "%2e%2e/shop.db", "public/../../shop.db", "%2Fetc/passwd", "/etc/passwd", "public%5C..%5Ca", "a%00b"],
)
async def test_no_uri_leads_out_of_a_store(gateway: Gateway, path: str, tmp_path: Path) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(MCPError) as caught:
            await client.read_resource(f"store://reports/{path}")
    assert caught.value.code == -32602
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_are_small_titled_and_bring_what_is_known(gateway: Gateway, era: str) -> None:
    async with client_of(gateway, era) as client:
        listed = await client.list_prompts()
        assert {p.name: (p.title, [a.name for a in p.arguments or ()]) for p in listed.prompts} == {
            "draft_report": ("Draft a report", ["database", "topic"]),
            "explain_table": ("Explain a table", ["database", "table"]),
            "explore_database": ("Explore a database", ["database"]),
            "find_value": ("Find where a value lives", ["database", "value"]),
            "summarize_folder": ("Summarize a folder", ["store", "path"]),
        }
        assert all(p.description and all(a.description for a in p.arguments or ()) for p in listed.prompts)
        assert len(listed.model_dump_json(by_alias=True, exclude_none=True)) < 2200
        prompt = await client.get_prompt("explain_table", {"database": "shop", "table": "orders"})
        plan, attached = (message.content for message in prompt.messages)
        assert isinstance(plan, types.TextContent)
        assert isinstance(attached, types.EmbeddedResource)
        assert attached.resource.uri == "database://shop/orders"
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert "query_table" in tools
        assert 'query_table {"database":"shop","table":"orders","limit":5}' in plan.text
        folder = await client.get_prompt("summarize_folder", {"path": "public"})
        assert len(folder.messages) == 2
        with pytest.raises(MCPError, match="There is no table nothing"):
            await client.get_prompt("explain_table", {"database": "shop", "table": "nothing"})
        with pytest.raises(MCPError, match="Say which one with `database`"):
            await client.get_prompt("explore_database", {})


@asynccontextmanager
async def following(gateway: Gateway, era: str, uris: list[str]) -> AsyncGenerator[asyncio.Queue[str]]:
    """What a client hears that follows these resources."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            await heard.put(message.params.uri)

    async with client_of(gateway, era, message_handler=on_message) as client:
        async with asyncio.timeout(5):
            while len((await client.list_resources()).resources) != 3:
                await asyncio.sleep(0.02)
        if era == "auto":
            async with client.listen(resource_subscriptions=uris):
                yield heard
        else:
            for uri in uris:
                await follow(client, uri)
            yield heard


@pytest.mark.parametrize("era", ERAS)
async def test_a_write_through_one_gateway_is_heard_at_another(nats: NatsServer, gateway: Gateway, era: str) -> None:
    path, file, folder = "public/new #1.txt", "store://reports/public/new%20%231.txt", "store://reports/public/"
    top = "store://reports"
    followed = [file, folder, top, "store://reports/top.txt"]
    changes: list[tuple[str, dict[str, str], set[str]]] = [
        ("write_file", {"content": "1"}, {file, folder, top}),
        ("write_file", {"content": "2", "mode": "overwrite"}, {file, folder}),
        ("delete_file", {}, {file, folder, top}),
    ]
    async with (
        running_gateway(nats, gateway.authority, call_timeout=10) as second,
        client_of(gateway) as writer,
        following(second, era, followed) as heard,
    ):
        for tool, arguments, expected in changes:
            assert not (await writer.call_tool(tool, {"path": path, **arguments})).is_error
            news: set[str] = set()
            async with asyncio.timeout(5):
                while not news >= expected:  # who watches the folder tells the same again
                    news.add(await heard.get())
                    assert news <= {file, folder, top}
            if tool == "write_file":
                (contents,) = (await writer.read_resource(file)).contents
                assert (contents.uri, getattr(contents, "text", "")) == (file, arguments["content"])


@pytest.mark.parametrize(
    ("method", "params", "needed"),
    [
        ("resources/read", {"uri": "database://shop/orders"}, "data:read"),
        ("resources/read", {"uri": "store://reports/top.txt"}, "files:read"),
        ("prompts/get", {"name": "explore_database", "arguments": {"database": "shop"}}, "data:read"),
    ],
    ids=str,
)
async def test_reading_with_too_small_a_scope_is_answered_with_all_scopes_that_it_takes(
    gateway: Gateway, method: str, params: dict[str, Any], needed: str
) -> None:
    has = "files:write"
    token = gateway.authority.token(scope=has, aud=gateway.mcp)
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx2.AsyncClient(verify=TLS) as http:
        answer = await http.post(gateway.mcp, json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert f'scope="{" ".join(sorted((has, needed)))}"' in answer.headers["www-authenticate"]
