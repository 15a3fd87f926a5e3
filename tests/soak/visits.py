"""Clients as they come and go, and what is counted of them."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2
import mcp_types as types
from mcp import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client

from gateways import Gateway
from isthmus.results import ERROR_META
from soak.stage import Stage

Era = Literal["2026", "2025"]

PATIENCE = 25.0
"""Seconds for one step."""


class ToldError(Exception):
    """The answer was an error with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def check(found: object, wanted: object) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def text_of(result: types.CallToolResult) -> str:
    """The text of a result. Raises ToldError."""
    if result.is_error:
        raise ToldError(str((result.meta or {}).get(ERROR_META)))
    (part,) = result.content
    assert isinstance(part, types.TextContent)
    return part.text


@dataclass
class Tally:
    """What happened."""

    done: Counter[tuple[str, Era]] = field(default_factory=Counter[tuple[str, Era]])
    """Steps, all answers right."""
    lost: Counter[str] = field(default_factory=Counter[str])
    """By step and what the caller was told, shortly after a connection was cut."""
    gone: Counter[str] = field(default_factory=Counter[str])
    """The same for calls of the worker that comes and goes."""
    wrong: list[str] = field(default_factory=list[str])
    """All that must not be."""
    clients: Counter[Era] = field(default_factory=Counter[Era])
    requests: int = 0
    """Over HTTP."""
    tasks: int = 0
    """Begun."""


@dataclass
class Visit:
    """One client, from its coming to its going."""

    stage: Stage
    tally: Tally
    client: Client
    era: Era
    token: str
    words: str
    """What is said and must come back; another in each step."""
    heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    """URIs of resources that changed."""
    began: float = field(default_factory=time.monotonic)

    async def call(self, tool: str, words: object, source: str = "shelf", **options: Any) -> types.CallToolResult:
        return await self.client.call_tool(tool, {"words": words, "database": source}, **options)

    async def says(self, tool: str, source: str = "shelf") -> None:
        check(text_of(await self.call(tool, self.words, source)), self.words)


def host_of(stage: Stage) -> str:
    """What clients say wherever they connect to."""
    return stage.both.front.url.removeprefix("http://")


@asynccontextmanager
async def opened(stage: Stage, tally: Tally, era: Era, name: str, at: Gateway) -> AsyncGenerator[Visit]:
    """A client that can be asked, and hears what it follows. A 2025 session always ends with an answered DELETE."""
    token = stage.both.authority.token(client_id=name)
    session = ""
    ended = False

    async def on_response(response: httpx2.Response) -> None:
        nonlocal session, ended
        tally.requests += 1
        session = response.headers.get("mcp-session-id", session)
        ended = ended or (response.request.method == "DELETE" and response.status_code == 200)

    async def on_question(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"note": params.message})

    async def on_message(message: object) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            visit.heard.put_nowait(str(message.params.uri))

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        assert isinstance(params.data, dict)

    headers = {"Authorization": f"Bearer {token}", "Host": host_of(stage)}
    hooks = {"response": [on_response]}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE, event_hooks=hooks) as http:
        client = Client(
            streamable_http_client(at.mcp, http_client=http),
            mode="auto" if era == "2026" else "legacy",
            elicitation_callback=on_question,
            message_handler=on_message,
            logging_callback=on_log,
            log_level="info",
            read_timeout_seconds=PATIENCE - 5,
        )
        visit = Visit(stage, tally, client, era, token, "")
        try:
            async with client:
                yield visit
        finally:
            if session and not ended:
                await _leave(stage, http, session)


async def _leave(stage: Stage, http: httpx2.AsyncClient, session: str) -> None:
    """The DELETE was lost: it is repeated where the session is."""
    headers = {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    async with asyncio.timeout(10):
        while True:
            for gateway in stage.both.gateways:
                with contextlib.suppress(httpx2.HTTPError):
                    answer = await http.delete(gateway.mcp, headers=headers)
                    if answer.status_code == 200:
                        return
            await asyncio.sleep(0.2)
