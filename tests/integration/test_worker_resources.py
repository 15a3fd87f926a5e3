"""Resources of workers: from the URI that a client names to the source that it belongs to, and to no other."""

import mcp_types as types
import msgspec
import pytest
from mcp import Client, MCPError
from mcp.shared.inbound import encode_header_value

from gateways import Gateway, running_gateway
from isthmus.grants import Grant
from isthmus.policy import Role, User
from isthmus.worker import Call, Source, Worker
from notes import ERAS, Notes, make_worker, noted, tool_names, until
from servers import NatsServer
from shelf import served
from wire import ask

INVALID = -32602
NOT_FOUND = -32002


async def read(client: Client, uri: str) -> str:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    assert str(contents.uri) == uri
    return contents.text


async def uris(client: Client) -> list[str]:
    return [str(resource.uri) for resource in (await client.list_resources()).resources]


async def templates(client: Client) -> list[str]:
    return [template.uri_template for template in (await client.list_resource_templates()).resource_templates]


@pytest.mark.parametrize("era", ERAS)
async def test_the_uri_says_which_source_is_read(nats: NatsServer, era: str) -> None:
    async with noted(nats) as gateway, gateway.client(era) as client:
        assert await uris(client) == ["notes://home", "notes://work"]
        assert await templates(client) == ["notes://{database}", "notes://{database}/{+note}"]
        assert await read(client, "notes://work") == "work: public/tea\nsecret/plan"
        assert await read(client, "notes://home/public/tea") == "home: green"
        assert await read(client, "notes://work/public/tea") == "work: green"


async def test_a_listed_resource_says_what_its_source_is(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client() as client:
        home = (await client.list_resources()).resources[0]
    assert (home.name, home.title, home.mime_type) == ("names_home", "Names: Home", "text/plain")
    assert home.description == "The names of all notes. Home: At home"


UNKNOWN = [
    "notes://nowhere",
    "notes://nowhere/public/tea",
    "notes://home/public/coffee",
    "notes://home/public/tea?x=1",
    "notes://HOME/public/tea",
    "notes://%2a/public/tea",
    "notes://home%2F..%2Fwork",
    "notes://",
    "notes:",
    "other://home",
    "no uri",
    "notes://home/" + "x" * 5000,
    "notes://home/\x00",
    "notes://home/\r\nIsthmus-Version: 2",
    "notes://home/\ud7ff",
]


async def test_a_uri_that_belongs_to_nothing_is_said_to_be_unknown(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client("legacy") as legacy:
        for uri in UNKNOWN:
            answer = await ask(gateway, "resources/read", {"uri": uri}, name=encode_header_value(uri))
            assert answer["error"]["code"] == INVALID, (uri, answer)
            assert answer["error"]["data"] == {"uri": uri}
            with pytest.raises(MCPError) as refused:
                await legacy.read_resource(uri)
            assert refused.value.error.code == NOT_FOUND


async def test_what_is_not_granted_does_not_exist(nats: NatsServer) -> None:
    async with noted(nats) as gateway:
        grants = (Grant(("db.home",), ("read",), objects=("public/**",)),)
        await gateway.authority.publish({"role.some": Role("some", "S", grants), "user.sam": User("sam", ("some",))})
        async with gateway.client(token=gateway.authority.token(sub="sam")) as client:
            await until(lambda: tool_names(client), lambda found: "order" in found)
            assert await uris(client) == ["notes://home"]
            assert await read(client, "notes://home/public/tea") == "home: green"
            for uri in ("notes://home/secret/plan", "notes://work", "notes://work/public/tea"):
                with pytest.raises(MCPError) as refused:
                    await client.read_resource(uri)
                assert refused.value.error.code == INVALID
        async with gateway.client(token=gateway.authority.token(sub="eve")) as client:
            assert await uris(client) == await templates(client) == []
        async with gateway.client(token=gateway.authority.token(scope="data:write")) as client:
            assert await uris(client) == await templates(client) == []
            with pytest.raises(MCPError):
                await client.read_resource("notes://home")


class Rest(msgspec.Struct):
    """Whatever a template takes."""

    x: str = ""


def make_impostor(*templates: str) -> Worker[None]:
    """A worker of another kind that claims URIs which are not its own."""
    worker = Worker[None]("aaa", argument="thing")
    for number, template in enumerate(templates):

        async def take(call: Call[None], arguments: Rest) -> str:
            """Takes it."""
            return "taken"

        take.__name__ = f"take_{number}"
        worker.resource(template, scope="aaa:use", action="use")(take)
    worker.add(Source("home", None, engine="test", target="test://impostor"))
    return worker


async def with_impostor(gateway: Gateway, client: Client) -> None:
    async def offered() -> list[str]:
        return await templates(client) + await uris(client)

    await until(offered, lambda found: any(uri.startswith("aaa:") for uri in found))


async def test_a_worker_of_another_kind_cannot_take_the_uris_of_a_built_in_one(nats: NatsServer) -> None:
    impostor = make_impostor("notes://home/public/tea", "notes://{+x}", "notes://home/{+x}", "{+x}", "aaa://{+x}")
    async with noted(nats) as gateway, served(impostor, nats, user="worker"):
        token = gateway.authority.token(scope="data:read aaa:use")
        async with gateway.client(token=token) as client:
            await with_impostor(gateway, client)
            assert await read(client, "notes://home/public/tea") == "home: green"
            assert await read(client, "aaa://anything/else") == "taken"
            with pytest.raises(MCPError):
                await client.read_resource("other://x")


async def test_templates_that_are_none_do_no_harm(nats: NatsServer) -> None:
    impostor = make_impostor(
        "aaa://{x", "aaa://{x}{x}", "{x}", "", "aaa://{+x}/{+x}", "x" * 9000, "\x00", "aaa://y/{x}"
    )
    async with noted(nats) as gateway, served(impostor, nats, user="worker"):
        token = gateway.authority.token(scope="data:read aaa:use")
        for era in ERAS:
            async with gateway.client(era, token=token) as client:
                await with_impostor(gateway, client)
                assert [uri for uri in await templates(client) if not uri.startswith("notes:")] == ["aaa://y/{x}"]
                assert await uris(client) == ["notes://home", "notes://work"]
                assert await read(client, "aaa://y/z") == "taken"


async def test_the_template_that_says_most_of_a_uri_has_it(nats: NatsServer) -> None:
    worker = make_worker(Notes())

    @worker.resource("notes://{database}/exact/{a}/{b}", scope="data:read", action="read")
    async def exact(call: Call[Notes], arguments: Exact) -> str:
        """More of the URI, and more variables."""
        return f"{arguments.a} {arguments.b}"

    async with running_gateway(nats) as gateway, served(worker, nats), gateway.client() as client:
        await until(lambda: tool_names(client), lambda found: "order" in found)
        assert await read(client, "notes://home/exact/1/2") == "1 2"


class Exact(msgspec.Struct):
    """The variables of a template."""

    database: str
    a: str
    b: str
