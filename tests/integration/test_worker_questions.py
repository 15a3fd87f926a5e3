"""What a worker asks in the middle of a call, from the client's side: in both eras, from the same code."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx2
import mcp_types as types
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import MCPError
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState

from gateways import Gateway, running_gateway
from isthmus.asking import InputRequired
from isthmus.policy import StateKeys
from isthmus.results import InputMethod, InputRequest, InputRequiredResult
from isthmus.worker import Call
from notes import ERAS, Notes, Plain, make_worker, noted, tool_names, until
from servers import TLS, NatsServer
from shelf import served
from wire import ask, with_meta
from wire import headers as wire_headers

MISSING_CAPABILITY = -32021
INVALID = -32602
ALL: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}

Answering = Callable[[Any, types.ElicitRequestParams], Awaitable[types.ElicitResult]]


def answering(*answers: dict[str, Any] | str, messages: list[str] | None = None) -> Answering:
    """A user who fills in these answers, one after the other; a text is the action of one who does not."""
    left = list(answers)

    async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        if messages is not None:
            messages.append(params.message)
        given = left.pop(0)
        if isinstance(given, str):
            return types.ElicitResult(action=cast("Any", given))
        return types.ElicitResult(action="accept", content=given)

    return answer


async def model(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="Yes."), model="m")


def text_of(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


@pytest.mark.parametrize("era", ERAS)
async def test_an_answer_that_does_not_fit_is_asked_for_again(nats: NatsServer, era: str) -> None:
    messages: list[str] = []
    user = answering({"pieces": 99}, {"pieces": 2.5}, {}, {"pieces": 2}, messages=messages)
    async with noted(nats) as gateway, gateway.client(era, elicitation_callback=user) as client:
        result = await client.call_tool("order", {"database": "home", "topic": "cake"})
    assert text_of(result) == "2 pieces"
    assert messages == ["How many pieces of cake?"] * 4


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_the_tool_hears_that_the_user_would_not(nats: NatsServer, era: str, action: str) -> None:
    async with noted(nats) as gateway, gateway.client(era, elicitation_callback=answering(action)) as client:
        assert text_of(await client.call_tool("order", {"database": "home"})) == "nothing"


@pytest.mark.parametrize("era", ERAS)
async def test_answers_of_earlier_rounds_and_the_tools_own_state_are_remembered(nats: NatsServer, era: str) -> None:
    notes, messages = Notes(), list[str]()
    user = answering({"name": "Ada"}, {"name": "Bob"}, messages=messages)
    async with (
        noted(nats, notes) as gateway,
        gateway.client(era, elicitation_callback=user, sampling_callback=model) as client,
    ):
        result = await client.call_tool("introduce", {"database": "home"})
    assert text_of(result) == "Ada and Bob, kept"
    assert messages == ["Who are you?", "Who else?"]
    assert notes.runs == 4


async def test_a_2025_client_that_cannot_be_asked_is_told_so_in_a_sentence(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client("legacy", sampling_callback=model) as client:
        result = await client.call_tool("order", {"database": "home"})
        assert result.is_error
        assert text_of(result) == (
            "This needs an answer from the user in a form (MCP's elicitation), which your client does not offer."
        )
        assert "the client's roots" in text_of(await client.call_tool("folders", {"database": "home"}))


async def test_a_2026_client_that_cannot_be_asked_is_told_which_capability_it_lacks(nats: NatsServer) -> None:
    async with noted(nats) as gateway, gateway.client(sampling_callback=model) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("order", {"database": "home"})
    assert refused.value.error.code == MISSING_CAPABILITY
    assert refused.value.error.data == {"requiredCapabilities": {"elicitation": {}}}


async def test_a_worker_that_never_stops_asking_is_stopped_for_2025_clients(nats: NatsServer) -> None:
    messages: list[str] = []
    user = answering(*[{"pieces": 99}] * 20, messages=messages)
    async with noted(nats) as gateway, gateway.client("legacy", elicitation_callback=user) as client:
        assert "more than 10 times" in text_of(await client.call_tool("order", {"database": "home"}))
    assert len(messages) == 10


@pytest.mark.parametrize("era", ERAS)
async def test_a_worker_may_ask_only_what_mcp_knows_and_never_in_a_completion(nats: NatsServer, era: str) -> None:
    worker = make_worker(Notes())
    asked = InputRequiredResult(
        input_requests={"x": InputRequest(cast("InputMethod", "tools/call"), msgspec.Raw(b"{}"))}, request_state="s"
    )

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def strange(call: Call[Notes], arguments: Plain) -> str:
        """Asks the client to call a tool."""
        raise InputRequired(asked)

    @worker.completion(action="read")
    async def words(call: Call[Notes], typed: str, known: dict[str, str]) -> list[str]:
        raise InputRequired(InputRequiredResult(input_requests={}, request_state="s"))

    user = answering({"pieces": 1})
    async with (
        running_gateway(nats) as gateway,
        served(worker, nats),
        gateway.client(era, elicitation_callback=user) as client,
    ):
        await until(lambda: tool_names(client), lambda found: "strange" in found)
        assert "The worker failed" in text_of(await client.call_tool("strange", {"database": "home"}))
        with pytest.raises(MCPError, match="The worker failed"):
            await client.complete(
                types.PromptReference(name="summarize"), {"name": "words", "value": ""}, {"database": "home"}
            )


async def begin(gateway: Gateway, **arguments: str) -> str:
    """The sealed state of ann's call of `order`."""
    params = {"name": "order", "arguments": {"database": "home", **arguments}}
    result = (await ask(gateway, "tools/call", params, capabilities=ALL))["result"]
    assert result["resultType"] == "input_required"
    return result["requestState"]


async def go_on(
    gateway: Gateway, state: str, *, tool: str = "order", token: str = "", **arguments: str
) -> dict[str, Any]:
    """The rest of it, with an answer."""
    params = {
        "name": tool,
        "arguments": {"database": "home", **arguments},
        "inputResponses": {"pieces": {"action": "accept", "content": {"pieces": 3}}},
        "requestState": state,
    }
    return await ask(gateway, "tools/call", params, capabilities=ALL, token=token)


async def test_a_sealed_state_opens_for_its_own_call_alone(nats: NatsServer) -> None:
    async with noted(nats) as gateway:
        state = await begin(gateway)
        codec = AESGCMRequestStateCodec(gateway.authority.state_keys.keys)
        old = {**json.loads(codec.unseal(state)), "iat": time.time() - 601, "exp": time.time() - 1}
        foreign = AESGCMRequestStateCodec(["f" * 64]).seal(codec.unseal(state))
        flipped = state[:-8] + ("A" if state[-8] != "A" else "B") + state[-7:]
        token = gateway.authority.token
        refused = {
            "another user": await go_on(gateway, state, token=token(sub="bob")),
            "another client": await go_on(gateway, state, token=token(client_id="d")),
            "other arguments": await go_on(gateway, state, topic="coffee"),
            "another tool": await go_on(gateway, state, tool="introduce"),
            "after its time": await go_on(gateway, codec.seal(json.dumps(old).encode())),
            "sealed with another key": await go_on(gateway, foreign),
            "tampered with": await go_on(gateway, flipped),
            "cut": await go_on(gateway, state[:40]),
            "made up": await go_on(gateway, '{"own": "x"}'),
        }
        assert {case: answer["error"]["code"] for case, answer in refused.items()} == dict.fromkeys(refused, INVALID)
        assert (await go_on(gateway, state))["result"]["content"] == [{"type": "text", "text": "3 pieces"}]


async def test_the_state_says_nothing_to_the_client(nats: NatsServer) -> None:
    async with noted(nats) as gateway:
        params = {
            "name": "introduce",
            "arguments": {"database": "home"},
            "inputResponses": {"first": {"action": "accept", "content": {"name": "Ada Lovelace"}}},
        }
        result = (await ask(gateway, "tools/call", params, capabilities=ALL))["result"]
    assert list(result["inputRequests"]) == ["second"]
    assert "Ada" not in json.dumps(result)


async def test_what_one_gateway_sealed_another_one_opens_also_after_the_key_changed(nats: NatsServer) -> None:
    async with noted(nats) as first, running_gateway(nats, first.authority) as second:
        token = first.authority.token(aud=[first.mcp, second.mcp])
        state = await begin(first)
        assert (await go_on(second, state, token=token))["result"]["content"][0]["text"] == "3 pieces"
        renewed = StateKeys(("n" * 64, *first.authority.state_keys.keys))
        await first.authority.publish({"state_key": renewed})

        async def sealed_anew() -> bool:
            """Whether the old keys alone do not open it any more."""
            try:
                AESGCMRequestStateCodec(first.authority.state_keys.keys).unseal(await begin(first))
            except InvalidRequestState:
                return True
            return False

        await until(sealed_anew, bool, 2)
        assert (await go_on(second, state, token=token))["result"]["content"][0]["text"] == "3 pieces"


POSSIBLE = {"nothing", *(f"{number} pieces" for number in range(1, 10))}
TEXT = st.text(st.characters(), max_size=20)  # with halves of characters, which JSON can hold
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
STATE = st.none() | TEXT | JSON
ANSWER = st.fixed_dictionaries(
    {"action": st.sampled_from(["accept", "decline", "cancel"]) | JSON},
    optional={"content": st.fixed_dictionaries({}, optional={"pieces": JSON}) | JSON},
)


async def test_no_answer_and_no_state_that_a_client_makes_up_breaks_anything(nats: NatsServer) -> None:
    async with noted(nats) as gateway:
        headers = wire_headers("tools/call", gateway.authority.token(), "order")

        def hold(http: httpx2.Client) -> None:
            @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
            @given(responses=st.dictionaries(st.just("pieces") | TEXT, ANSWER | JSON, max_size=3) | JSON, state=STATE)
            def holds(responses: object, state: object) -> None:
                params = {
                    "name": "order",
                    "arguments": {"database": "home"},
                    "inputResponses": responses,
                    "requestState": state,
                }
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": with_meta(params, ALL)}
                answer = http.post(gateway.mcp, content=json.dumps(body), headers=headers).json()
                if "error" in answer:
                    assert answer["error"]["code"] == INVALID, answer
                elif answer["result"]["resultType"] == "complete":
                    assert answer["result"]["content"][0]["text"] in POSSIBLE
                else:
                    assert list(answer["result"]["inputRequests"]) == ["pieces"]

            holds()

        with httpx2.Client(timeout=10, verify=TLS) as http:
            await asyncio.to_thread(hold, http)
