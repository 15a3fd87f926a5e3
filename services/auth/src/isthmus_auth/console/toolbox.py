"""The tools of an MCP service, as whoever is signed in has them."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.browser import Browser
from isthmus_auth.console.tool_results import structured
from isthmus_auth.console_access import open_access
from isthmus_auth.gateway_client import PAGES, Access, Answers, GatewayError, Tool

KINDS = {"db": "Databases", "file": "Files"}
"""What kinds of workers are called; others by their own names."""
EVERYWHERE = "All sources"


class ToolError(GatewayError):
    """The tool itself says no, in its own words."""


class SourceLine(msgspec.Struct, frozen=True):
    """A source as `list_sources` shows it."""

    name: str
    kind: str
    title: str = ""
    description: str = ""
    access: str = ""
    tools: list[str] = []
    problem: str = ""


class _Sources(msgspec.Struct, frozen=True):
    sources: list[SourceLine]
    next_cursor: str | None = None


class Toolbox(msgspec.Struct, frozen=True):
    """What somebody has in a service."""

    access: Access
    tools: list[Tool]
    sources: list[SourceLine]

    def named(self, name: str) -> Tool:
        """Raises Refusal."""
        found = next((tool for tool in self.tools if tool.name == name), None)
        if found is None:
            raise Refusal(404, "There is no such tool for you in this service.")
        return found

    def groups(self, search: str = "") -> dict[str, list[Tool]]:
        """By kind of source; only those with the text in name, title or description."""
        kinds = {tool: source.kind for source in self.sources for tool in source.tools}
        groups: dict[str, list[Tool]] = {}
        for tool in self.tools:
            if search.lower() in f"{tool.name} {tool.title} {tool.description}".lower():
                kind = kinds.get(tool.name, "")
                groups.setdefault(KINDS.get(kind, kind) or EVERYWHERE, []).append(tool)
        return dict(sorted(groups.items()))


async def open_toolbox(asking: Asking, namespace: str) -> Toolbox:
    """Empty: the default service's. Raises Refusal and GatewayError."""
    access = await enter(asking, namespace)
    tools, sources = await asyncio.gather(asking.site.gateway.tools(access), _sources(asking, access))
    return Toolbox(access, tools, sources)


async def _sources(asking: Asking, access: Access) -> list[SourceLine]:
    found: list[SourceLine] = []
    cursor: str | None = None
    for _ in range(PAGES):
        arguments: dict[str, Any] = {"limit": 200} | ({"cursor": cursor} if cursor else {})
        try:
            page = msgspec.convert(await looked_up(asking, access, "list_sources", arguments), _Sources)
        except msgspec.ValidationError:
            raise GatewayError("The gateway's list of sources cannot be read.") from None
        found += page.sources
        cursor = page.next_cursor
        if not cursor:
            break
    return found


async def enter(asking: Asking, namespace: str) -> Access:
    """A way to the tools of a service for whoever is signed in. Raises Refusal."""
    if not isinstance(asking.caller, Browser):
        raise Refusal(403, "The console is for people who are signed in.")
    return await open_access(asking.site, asking.caller, namespace, asking.address)


async def call(
    asking: Asking, access: Access, tool: str, arguments: Mapping[str, Any], answers: Answers | None = None
) -> tuple[bytes, float]:
    """The result of a tool, and the seconds that it took. Raises GatewayError."""
    began = time.monotonic()
    result = await asking.site.gateway.call(access, tool, arguments, answers)
    return result, time.monotonic() - began


async def looked_up(asking: Asking, access: Access, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The structured content of an answer. Raises GatewayError, ToolError if the tool says no."""
    result, _ = await call(asking, access, tool, arguments)
    found = structured(result)
    if found is None:
        raise ToolError(_said(result))
    return found


class _Block(msgspec.Struct, frozen=True):
    text: str = ""


class _Content(msgspec.Struct, frozen=True):
    content: list[_Block] = []


def _said(result: bytes) -> str:
    try:
        blocks = msgspec.json.decode(result, type=_Content).content
    except (msgspec.DecodeError, RecursionError):
        blocks = []
    return next((block.text[:1000] for block in blocks if block.text), "The tool's answer cannot be read.")
