"""What clients do. Each step checks every answer; ToldError and MCPError are what the product itself said."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from gateways import Gateway
from isthmus.results import ERROR_META
from soak.visits import ToldError, Visit, check, host_of, text_of
from soak.worker import KNOWN, note_uri
from wire import TASKS, VERSION, ask

HEARS_WITHIN = 1.0
"""Seconds until a change is made once more."""
TRIES = 5


async def lists(visit: Visit) -> None:
    names = {tool.name for tool in (await visit.client.list_tools()).tools}
    assert names >= {"list_sources", "echo", "chatter", "hold", "miss", "write", "confirm", "take_long"}, names
    check([prompt.name for prompt in (await visit.client.list_prompts()).prompts], ["greet"])
    templates = (await visit.client.list_resource_templates()).resource_templates
    check([template.uri_template for template in templates], ["note://{database}/{name}"])


async def echoes(visit: Visit) -> None:
    results = await asyncio.gather(*(visit.call("echo", f"{visit.words} {n}") for n in range(5)))
    for number, result in enumerate(results):
        text_of(result)
        check(result.structured_content, {"words": f"{visit.words} {number}"})


async def chats(visit: Visit) -> None:
    await visit.says("chatter")


async def writes(visit: Visit) -> None:
    await visit.says("write")


async def errs(visit: Visit) -> None:
    """Every mistake is told as what it is."""
    for code, tool, words, source in (
        ("invalid_arguments", "echo", 7, "shelf"),
        ("unknown_tool", "ecko", "x", "shelf"),
        ("unknown_source", "echo", "x", "shelv"),
        ("not_found", "miss", "x", "shelf"),
    ):
        try:
            text_of(await visit.call(tool, words, source))
        except ToldError as told:
            if told.code != code:
                raise
        else:
            raise AssertionError(f"{tool} of {source} did not fail")


async def reads(visit: Visit) -> None:
    """A resource, a prompt, a completion."""
    (contents,) = (await visit.client.read_resource(note_uri("shelf", visit.words))).contents
    assert isinstance(contents, types.TextResourceContents)
    check(contents.text, f"About {visit.words}")
    prompt = await visit.client.get_prompt("greet", {"name": visit.words, "database": "shelf"})
    assert isinstance(prompt.messages[0].content, types.TextContent)
    check(prompt.messages[0].content.text, f"Hello {visit.words}")
    ref = types.PromptReference(type="ref/prompt", name="greet")
    found = await visit.client.complete(ref, {"name": "name", "value": "an"}, {"database": "shelf"})
    check(found.completion.values, [name for name in KNOWN if name.startswith("an")])


async def follows(visit: Visit) -> None:
    """A resource is followed, changed until the news of it comes (it is sent at most once), and followed no longer."""
    uri = note_uri("shelf", visit.words)
    if visit.era == "2025":
        await visit.client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        await _change_until(visit, visit.heard.get())
        await visit.client.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated]
    else:
        async with visit.client.listen(tools_list_changed=True, resource_subscriptions=[uri]) as events:

            async def news() -> str:
                async for event in events:
                    if (found := getattr(event, "uri", None)) is not None:
                        return str(found)
                raise ToldError("stream_cut")

            await _change_until(visit, news())


async def _change_until(visit: Visit, news: Awaitable[str]) -> None:
    hearing = asyncio.ensure_future(news)
    try:
        for _ in range(TRIES):
            await visit.says("write")
            await asyncio.wait([hearing], timeout=HEARS_WITHIN)
            if hearing.done():
                check(hearing.result(), note_uri("shelf", visit.words))
                return
        raise ToldError("not_heard")
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


async def answers(visit: Visit) -> None:
    """A question in the middle of a call: the answer is the question."""
    await visit.says("confirm")


async def waits_for_task(visit: Visit) -> None:
    await _task(visit, "completed", seconds=0.5)


async def cancels_task(visit: Visit) -> None:
    await _task(visit, "cancelled", seconds=5)


async def _task(visit: Visit, end: str, seconds: float) -> None:
    gateway, token = visit.stage.both.behind, visit.token
    arguments = {"words": visit.words, "database": "shelf", "seconds": seconds}
    params = {"name": "take_long", "arguments": arguments}
    visit.tally.tasks += 1
    begun = await _ask(gateway, "tools/call", params, token)
    if "taskId" not in begun:
        raise ToldError(begun.get("_meta", {}).get(ERROR_META, "no task"))
    named = {"taskId": begun["taskId"]}
    if end == "cancelled":
        await _ask(gateway, "tasks/cancel", named, token)
    while (shown := await _ask(gateway, "tasks/get", named, token))["status"] == "working":
        await asyncio.sleep(0.1)
    if shown["status"] == "failed":
        raise ToldError(shown["error"]["data"]["code"])
    check(shown["status"], end)
    if end == "completed":
        text_of(types.CallToolResult.model_validate(shown["result"]))
        check(shown["result"]["content"][0]["text"], visit.words)


async def _ask(gateway: Gateway, method: str, params: dict[str, Any], token: str) -> dict[str, Any]:
    try:
        answer = await ask(gateway, method, params, capabilities=TASKS, token=token)
    except (json.JSONDecodeError, StopIteration, RuntimeError):  # 503, or a stream that ended early
        raise ToldError("unavailable") from None
    if "error" in answer:
        raise MCPError(answer["error"]["code"], answer["error"]["message"], answer["error"].get("data"))
    if "result" not in answer:
        raise ToldError("unavailable")
    return answer["result"]


async def cancels(visit: Visit) -> None:
    """A call that would go on is cancelled: the response closed (2026), or `notifications/cancelled` (2025)."""
    began = asyncio.Event()

    async def on_progress(_done: float, _total: float | None, _message: str | None) -> None:
        began.set()

    call = asyncio.create_task(visit.call("hold", visit.words, progress_callback=on_progress))
    beginning = asyncio.create_task(began.wait())
    await asyncio.wait([call, beginning], return_when=asyncio.FIRST_COMPLETED)
    beginning.cancel()
    if call.done():
        text_of(call.result())
        raise AssertionError("hold came to an end")
    call.cancel()
    await asyncio.wait([call])


async def vanishes(visit: Visit) -> None:
    """A call that would go on loses its client without a word: the connection is reset."""
    gateway = random.choice(visit.stage.both.gateways)  # noqa: S311
    meta: dict[str, object] = {
        types.PROTOCOL_VERSION_META_KEY: VERSION,
        types.CLIENT_CAPABILITIES_META_KEY: {},
        "progressToken": 1,
    }
    params = {"name": "hold", "arguments": {"words": visit.words, "database": "shelf"}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    head = [
        "POST /mcp HTTP/1.1",
        f"Host: {host_of(visit.stage)}",
        f"Authorization: Bearer {visit.token}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"MCP-Protocol-Version: {VERSION}",
        "Mcp-Method: tools/call",
        "Mcp-Name: hold",
        f"Content-Length: {len(body)}",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    try:
        writer.write("\r\n".join([*head, "", body]).encode())
        said = await reader.readuntil(b"\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200"), said
    finally:
        writer.transport.abort()


async def visits_visitor(visit: Visit) -> None:
    """The worker that comes and goes is called as long as it is in the list."""
    tools = {tool.name: tool for tool in (await visit.client.list_tools()).tools}
    schema: dict[str, Any] = tools["echo"].input_schema["properties"]["database"]
    for source in schema["enum"]:
        if source != "shelf":
            result = await visit.call("echo", visit.words, source)
            text_of(result)
            check(result.structured_content, {"words": visit.words})


Step = Callable[[Visit], Awaitable[None]]

BOTH: tuple[Step, ...] = (
    lists, echoes, chats, writes, errs, reads, follows, answers, cancels, visits_visitor,
)  # fmt: skip
MODERN: tuple[Step, ...] = (*BOTH, vanishes)
TASKED: tuple[Step, ...] = (waits_for_task, cancels_task)
