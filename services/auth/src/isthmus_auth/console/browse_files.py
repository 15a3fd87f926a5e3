"""The files of a file store in the console: folders, what is found in them, and previews."""

import asyncio
from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Template

from isthmus_auth.administration import Asking
from isthmus_auth.console.playground import link
from isthmus_auth.console.source_pages import answer_of, closed, converted, framed, opened
from isthmus_auth.console.tool_results import shown, table_of
from isthmus_auth.console.toolbox import SourceLine, Toolbox, ToolError, call
from isthmus_auth.gateway_client import GatewayError

ENTRIES = 100
MATCHES = 50
LINES = 200
"""Lines, rows or pages of a file."""


class Entry(msgspec.Struct, frozen=True):
    """A file or folder, as `list_files` names it."""

    path: str
    kind: str
    size: int | None = None
    modified: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class _Entries(msgspec.Struct, frozen=True):
    entries: list[Entry]
    next_cursor: str | None = None


class Match(msgspec.Struct, frozen=True):
    """What `search_files` found."""

    path: str
    line: int | None = None
    text: str = ""


class _Matches(msgspec.Struct, frozen=True):
    matches: list[Match]
    next_cursor: str | None = None


class _File(msgspec.Struct, frozen=True):
    kind: str = ""
    size: int | None = None
    modified: str | None = None
    media_type: str = ""
    next_start: int | None = None
    columns: list[str] = []
    rows: list[list[Any]] = []


async def folder(
    asking: Asking, toolbox: Toolbox, source: SourceLine, path: str, search: str, where: str, cursor: str
) -> Template:
    """A page of what is in a folder, or of what is found there."""
    entries: list[Entry] = []
    matches: list[Match] = []
    here: dict[str, Any] = {"store": source.name, "path": path}
    more: dict[str, Any] = {"cursor": cursor} if cursor else {}
    tool = "search_files" if search.strip() else "list_files"
    asked: dict[str, Any] = {**here, "limit": ENTRIES}
    if search.strip():
        where = where if where in ("names", "contents") else "names"
        asked = {**here, "query": search, "where": where, "limit": MATCHES}
        answer = await answer_of(asking, toolbox, tool, {**asked, **more}, _Matches)
        matches, next_cursor = answer.matches, answer.next_cursor
    else:
        listed = await answer_of(asking, toolbox, tool, {**asked, **more}, _Entries)
        entries, next_cursor = listed.entries, listed.next_cursor
    context = {
        "path": path,
        "crumbs": _crumbs(path),
        "entries": entries,
        "matches": matches,
        "search": search,
        "where": where,
        "cursor": cursor,
        "next_cursor": next_cursor or "",
        "call": link(toolbox.access.namespace, tool, asked),
    }
    return await framed(asking, "console/browse_files.html", toolbox, source, context)


@get("/browse/{name:str}/file")
async def show_file(
    asking: NamedDependency[Asking],
    name: FromPath[str],
    path: FromQuery[str] = "",
    service: FromQuery[str] = "",
    start: FromQuery[int] = 1,
) -> Template:
    """A file as far as a page holds it: text, a table, the text of a document, an image, a sound."""
    try:
        toolbox, source = await opened(asking, service, name)
        arguments: dict[str, Any] = {"store": source.name, "path": path, "limit": LINES}
        arguments |= {"start": start} if start > 1 else {}
        result, seconds = await call(asking, toolbox.access, "read_file", arguments)
        answer = await asyncio.to_thread(shown, result, seconds)
        if answer.is_error:
            raise ToolError(" ".join(one.text for one in answer.parts))
    except GatewayError as error:
        return await closed(asking, service, name, error)
    read = converted(answer.value or {}, _File)
    context = {
        "path": path,
        "crumbs": _crumbs(path.rpartition("/")[0]),
        "answer": answer,
        "file": read,
        "rows": table_of("rows", read.columns, read.rows) if read.columns else None,
        "start": start,
        "call": link(toolbox.access.namespace, "read_file", arguments),
    }
    return await framed(asking, "console/browse_file.html", toolbox, source, context)


def _crumbs(path: str) -> list[tuple[str, str]]:
    """The folders on the way, each with its name."""
    names = [name for name in path.split("/") if name]
    return [("/".join(names[: number + 1]), name) for number, name in enumerate(names)]
