"""Prompts and completions of workers, as clients see them."""

import json

import httpx2
import mcp_types as types
import msgspec
import pytest
from mcp import Client, MCPError

from gateways import running_gateway
from isthmus.errors import ConfigurationError
from isthmus.grants import Grant
from isthmus.policy import Role, User
from isthmus.worker import Call, Worker
from notes import ERAS, Notes, Plain, make_worker, noted, tool_names, until
from servers import TLS, NatsServer
from shelf import served
from wire import headers, with_meta

INVALID = -32602
PROMPT = types.PromptReference(name="summarize")
TEXT = types.ResourceTemplateReference(uri="notes://{database}/{+note}")


async def prompt_text(client: Client, **arguments: str) -> str:
    (message,) = (await client.get_prompt("summarize", arguments)).messages
    assert isinstance(message.content, types.TextContent)
    return message.content.text


async def prompts(client: Client) -> list[str]:
    return [prompt.name for prompt in (await client.list_prompts()).prompts]


async def completed(
    client: Client,
    ref: types.PromptReference | types.ResourceTemplateReference,
    argument: str,
    value: str,
    **known: str,
) -> list[str]:
    return (await client.complete(ref, {"name": argument, "value": value}, known)).completion.values


@pytest.mark.parametrize("era", ERAS)
async def test_a_prompt_is_listed_with_its_arguments_and_made_from_them(nats: NatsServer, era: str) -> None:
    async with noted(nats) as gateway, gateway.client(era) as client:
        (prompt,) = (await client.list_prompts()).prompts
        assert prompt.description == "Sums up a note."
        shown = [(a.name, a.description, a.required) for a in prompt.arguments or ()]
        assert shown == [("database", None, True), ("note", "Its name.", True), ("words", None, False)]
        text = await prompt_text(client, database="work", note="public/tea", words="9")
        assert text == "Sum up in 9 words, for work: green"
        assert "50 words, for home" in await prompt_text(client, database="home", note="public/tea")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("sumarize", {}, "There is no prompt 'sumarize'. Did you mean summarize?"),
        ("summarize", {"note": "public/tea"}, "Say which one with `database`. There are home, work."),
        ("summarize", {"database": "hom", "note": "x"}, "There is no database 'hom' for summarize. Did you mean home?"),
        ("summarize", {"database": "home"}, "Object missing required field `note`."),
        ("summarize", {"database": "home", "note": "x", "words": "many"}, "`words`: Expected `integer`, got `string`."),
        ("summarize", {"database": "home", "note": "x"}, "There is no “x”. There is nothing like it."),
        ("summarize", {"database": "home", "note": "ü\r\n\r\n"}, "There is no “ü    ”. There is nothing like it."),
    ],
)
async def test_a_prompt_that_cannot_be_made_says_why(
    nats: NatsServer, era: str, name: str, arguments: dict[str, str], sentence: str
) -> None:
    async with noted(nats) as gateway, gateway.client(era) as client:
        with pytest.raises(MCPError) as refused:
            await client.get_prompt(name, arguments)
    assert refused.value.error.code == INVALID
    assert refused.value.error.message == sentence


async def test_what_is_not_granted_does_not_exist(nats: NatsServer) -> None:
    async with noted(nats) as gateway:
        role = Role("home", "Home", (Grant(("db.home",), ("read",)),))
        await gateway.authority.publish({"role.home": role, "user.sam": User("sam", ("home",))})
        async with gateway.client(token=gateway.authority.token(sub="sam")) as client:
            await until(lambda: tool_names(client), lambda found: "order" in found)
            assert "for home" in await prompt_text(client, note="public/tea")
            with pytest.raises(MCPError, match="There is no database 'work'"):
                await prompt_text(client, database="work", note="public/tea")
            assert await completed(client, PROMPT, "database", "") == ["home"]
            assert await completed(client, PROMPT, "note", "", database="work") == []
        token = gateway.authority.token
        # Who lacks the grant hears that there is nothing, who lacks the scope is asked for it (403).
        for powerless, answer in (
            (token(sub="eve"), "There is no prompt"),
            (token(scope="data:write"), "error response"),
        ):
            async with gateway.client(token=powerless) as client:
                assert await prompts(client) == []
                with pytest.raises(MCPError, match=answer):
                    await prompt_text(client, note="public/tea")
                for ref in (PROMPT, TEXT):
                    with pytest.raises(MCPError, match="There is no prompt or resource template of that name"):
                        await completed(client, ref, "note", "", database="home")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("ref", [PROMPT, TEXT])
async def test_sources_and_the_workers_own_arguments_are_completed(
    nats: NatsServer, era: str, ref: types.PromptReference | types.ResourceTemplateReference
) -> None:
    async with noted(nats) as gateway, gateway.client(era) as client:
        assert await completed(client, ref, "database", "") == ["home", "work"]
        assert await completed(client, ref, "database", "w") == ["work"]
        assert await completed(client, ref, "note", "", database="home") == ["public/tea", "secret/plan"]
        assert await completed(client, ref, "note", "s", database="home") == ["secret/plan"]
        assert await completed(client, ref, "note", "") == []
        assert await completed(client, ref, "note", "", database="nowhere") == []
        assert await completed(client, ref, "words", "", database="home") == []
        assert await completed(client, ref, "no*such.thing", "", database="home") == []


async def test_a_completion_obeys_grants_down_to_objects(nats: NatsServer) -> None:
    async with noted(nats) as gateway:
        role = Role("some", "Some", (Grant(("db.home",), ("read",), objects=("public/**",)),))
        await gateway.authority.publish({"role.some": role, "user.sam": User("sam", ("some",))})
        async with gateway.client(token=gateway.authority.token(sub="sam")) as client:
            await until(lambda: tool_names(client), lambda found: "order" in found)
            assert await completed(client, PROMPT, "note", "") == ["public/tea"]


async def test_a_completion_has_a_hundred_values_at_most_and_says_that_there_are_more(nats: NatsServer) -> None:
    notes = Notes({f"note{number:03}": "" for number in range(250)})
    async with noted(nats, notes) as gateway, gateway.client() as client:
        answer = await client.complete(PROMPT, {"name": "note", "value": "note"}, {"database": "home"})
    assert answer.completion.values == [f"note{number:03}" for number in range(100)]
    assert answer.completion.has_more is True


class Mood(msgspec.Struct):
    """An argument that names no source."""

    mood: str


async def test_a_prompt_that_names_no_source_is_made_by_any(nats: NatsServer) -> None:
    worker = make_worker(Notes())

    @worker.prompt(scope="data:read", action="read")
    async def greet(call: Call[Notes], arguments: Mood) -> str:
        """Greets."""
        return f"Be {arguments.mood}."

    async with running_gateway(nats) as gateway, served(worker, nats), gateway.client() as client:
        await until(lambda: prompts(client), lambda found: "greet" in found)
        (message,) = (await client.get_prompt("greet", {"mood": "kind"})).messages
        assert isinstance(message.content, types.TextContent)
        assert message.content.text == "Be kind."


def test_a_tool_must_take_the_argument_that_names_its_source() -> None:
    worker = Worker[None]("db", argument="database")
    with pytest.raises(ConfigurationError, match="Mood has no field `database`"):

        @worker.tool(scope="data:read", action="read")
        async def feel(call: Call[None], arguments: Mood) -> str:
            """Feels."""
            return arguments.mood


async def test_a_read_only_source_has_prompts_and_resources_but_no_tools_that_write(nats: NatsServer) -> None:
    worker = make_worker(Notes())
    async with running_gateway(nats) as gateway, served(worker, nats), gateway.client() as client:
        await until(lambda: tool_names(client), lambda found: "touch" in found)
        result = await client.call_tool("touch", {"database": "work", "uri": "notes://work"})
        assert result.is_error
        assert "for work" in await prompt_text(client, database="work", note="public/tea")


@pytest.mark.parametrize("part", ["input_schema", "output_schema"])
@pytest.mark.parametrize("schema", [{"type": "array"}, {"type": "string"}, {}, {"$ref": "#/$defs/x"}])
async def test_a_tool_with_a_schema_that_mcp_does_not_allow_hides_nothing_but_itself(
    nats: NatsServer, part: str, schema: dict[str, str]
) -> None:
    worker = make_worker(Notes())

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def odd(call: Call[Notes], arguments: Plain) -> str:
        """Has a schema of its own."""
        return ""

    odd_one = worker._toolbox.tools["odd"]  # pyright: ignore[reportPrivateUsage]
    changed = msgspec.structs.replace(odd_one.definition, **{part: schema})
    worker._toolbox.tools["odd"] = type(odd_one)(changed, odd_one.arguments, odd_one.run)  # pyright: ignore[reportPrivateUsage]
    async with running_gateway(nats) as gateway, served(worker, nats):
        for era in ERAS:
            async with gateway.client(era) as client:
                await until(lambda client=client: tool_names(client), lambda found: "order" in found)
                assert "odd" not in await tool_names(client)


async def test_text_that_is_no_unicode_is_refused_in_a_sentence(nats: NatsServer) -> None:
    broken = {"database": "home", "topic": "\ud800"}
    async with noted(nats) as gateway, httpx2.AsyncClient(timeout=10, verify=TLS) as http:
        for method, params in (
            ("tools/call", {"name": "order", "arguments": broken}),
            ("prompts/get", {"name": "summarize", "arguments": broken}),
        ):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": with_meta(params, {"elicitation": {}})}
            sent = headers(method, gateway.authority.token(), str(params["name"]))
            answer = (await http.post(gateway.mcp, content=json.dumps(body), headers=sent)).json()
            if "error" in answer:
                assert answer["error"]["code"] == INVALID, answer
            else:
                assert answer["result"]["isError"], answer
