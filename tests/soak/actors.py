"""Clients of both eras that do all that clients do, and check every answer."""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError

from isthmus.results import ERROR_META
from soak.stage import Stage
from soak.worker import KNOWN, note_uri
from wire import TASKS, VERSION, ask

Era = Literal["2026", "2025"]

ACTORS = 8
STEPS = 8
"""What one client does before it leaves."""
PATIENCE = 25.0
"""Seconds for one step."""
HEARS_WITHIN = 1.0
TRIES = 5
EXCUSED = frozenset({"busy", "no_worker", "outcome_unknown", "worker_lost"})
"""What a call may answer whose connection to the bus was cut."""
BETWEEN = frozenset({"unavailable", "session_unknown", "stream_cut", "not_heard"})
"""What a client may meet besides, where the cut was between two gateways: 503 or 504, 404, a stream that ends, no news."""


class ToldError(Exception):
    """The answer was an error with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Tally:
    """What happened."""

    done: Counter[tuple[str, Era]] = field(default_factory=Counter[tuple[str, Era]])
    """Steps, all answers right."""
    lost: Counter[str] = field(default_factory=Counter[str])
    """By what the caller was told, shortly after a connection was cut."""
    gone: Counter[str] = field(default_factory=Counter[str])
    """The same for calls of the worker that comes and goes."""
    wrong: list[str] = field(default_factory=list[str])
    """All that must not be."""
    clients: Counter[Era] = field(default_factory=Counter[Era])


@dataclass
class Visit:
    """One client, from its coming to its going."""

    stage: Stage
    client: Client
    era: Era
    token: str
    words: str
    """What is said and must come back; another in each step."""
    heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    """URIs of resources that changed."""

    async def call(self, tool: str, words: object, source: str = "shelf", **options: Any) -> types.CallToolResult:
        return await self.client.call_tool(tool, {"words": words, "database": source}, **options)

    async def says(self, tool: str, source: str = "shelf") -> None:
        check(text_of(await self.call(tool, self.words, source)), self.words)


def check(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def text_of(result: types.CallToolResult) -> str:
    """The text of a result. Raises ToldError."""
    if result.is_error:
        raise ToldError(str((result.meta or {}).get(ERROR_META)))
    (part,) = result.content
    assert isinstance(part, types.TextContent)
    return part.text


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
    await _task(visit, end="completed")


async def cancels_task(visit: Visit) -> None:
    await _task(visit, end="cancelled")


async def _task(visit: Visit, end: str) -> None:
    gateway, token = visit.stage.both.behind, visit.token
    params = {"name": "take_long", "arguments": {"words": visit.words, "database": "shelf"}}
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


async def _ask(gateway: Any, method: str, params: dict[str, Any], token: str) -> dict[str, Any]:
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
        f"Host: {visit.stage.both.front.url.removeprefix('http://')}",
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
MODERN: tuple[Step, ...] = (*BOTH, waits_for_task, cancels_task, vanishes)


async def act(stage: Stage, tally: Tally, number: int, over: asyncio.Event) -> None:
    """One client after another, of both eras in turn, until it is over."""
    chosen = random.Random(number)  # noqa: S311
    for visit in itertools.count():
        if over.is_set():
            return
        era: Era = "2026" if (number + visit) % 2 else "2025"
        steps = chosen.sample(MODERN if era == "2026" else BOTH, STEPS)
        await be_a_client(stage, tally, era, f"{number}-{visit}", steps)


async def act_all(stage: Stage, tally: Tally) -> None:
    """Every step once, in both eras."""
    await be_a_client(stage, tally, "2026", "warm", MODERN)
    await be_a_client(stage, tally, "2025", "warm", BOTH)


async def be_a_client(stage: Stage, tally: Tally, era: Era, name: str, steps: tuple[Step, ...] | list[Step]) -> None:
    """Comes, does these things, and goes."""
    began = time.monotonic()
    try:
        async with opened(stage, era, name) as visit:
            tally.clients[era] += 1
            for number, step in enumerate(steps):
                visit.words = f"{name}-{number}"
                await _do(tally, visit, step)
    except* (MCPError, httpx2.HTTPError, TimeoutError) as group:
        if not stage.excuses(began):
            tally.wrong.append(f"{era} a client that comes or goes: {group.exceptions!r}")


async def _do(tally: Tally, visit: Visit, step: Step) -> None:
    began = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            await step(visit)
    except (ToldError, MCPError, SubscriptionLost, TimeoutError, httpx2.HTTPError) as error:
        code = _code(error)
        if step is visits_visitor and code in EXCUSED | {"unknown_source"}:
            tally.gone[code] += 1
        elif code in EXCUSED | BETWEEN and visit.stage.excuses(began):
            tally.lost[code] += 1
        else:
            said = f"{code}: {error!r} after {time.monotonic() - began:.1f} s"
            tally.wrong.append(f"{visit.era} {step.__name__}: {said}")
    except AssertionError as error:
        tally.wrong.append(f"{visit.era} {step.__name__}: {error}")
    else:
        tally.done[step.__name__, visit.era] += 1


def _code(error: Exception) -> str:
    match error:
        case ToldError():
            return error.code
        case MCPError() if isinstance(error.data, dict) and "code" in error.data:
            return str(error.data["code"])
        case MCPError(message="Server returned an error response"):
            return "unavailable"
        case MCPError(message="Session terminated"):
            return "session_unknown"
        case MCPError() | SubscriptionLost() | httpx2.HTTPError():
            return "stream_cut"
        case _:
            return "silence"


@asynccontextmanager
async def opened(stage: Stage, era: Era, name: str) -> AsyncGenerator[Visit]:
    """A client that can be asked, and hears what it follows. A 2025 session always ends with a DELETE that is answered."""
    token = stage.both.authority.token(client_id=name.partition("-")[0] + era)
    session = ""
    ended = False

    async def on_response(response: httpx2.Response) -> None:
        nonlocal session, ended
        session = response.headers.get("mcp-session-id", session)
        ended = ended or (response.request.method == "DELETE" and response.status_code == 200)

    async def on_question(_context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"note": params.message})

    async def on_message(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            visit.heard.put_nowait(str(message.params.uri))

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        assert isinstance(params.data, dict)

    headers = {"Authorization": f"Bearer {token}"}
    hooks = {"response": [on_response]}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE, event_hooks=hooks) as http:
        client = Client(
            streamable_http_client(stage.both.behind.mcp, http_client=http),
            mode="auto" if era == "2026" else "legacy",
            elicitation_callback=on_question,
            message_handler=on_message,
            logging_callback=on_log,
            log_level="info",
            read_timeout_seconds=PATIENCE - 5,
        )
        visit = Visit(stage, client, era, token, "")
        try:
            async with client:
                yield visit
        finally:
            if session and not ended:
                await _leave(stage, http, session)


async def _leave(stage: Stage, http: httpx2.AsyncClient, session: str) -> None:
    """The DELETE was lost: it is repeated where the session is."""
    host = stage.both.front.url.removeprefix("http://")
    headers = {"Host": host, "Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    async with asyncio.timeout(10):
        while True:
            for gateway in stage.both.gateways:
                with contextlib.suppress(httpx2.HTTPError):
                    answer = await http.delete(gateway.mcp, headers=headers)
                    if answer.status_code == 200:
                        return
            await asyncio.sleep(0.2)
