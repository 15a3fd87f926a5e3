"""`list_sources`: the gateway's own tool, which shows what there is to work with."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any

import mcp_types as types
import msgspec

from isthmus.answering import arguments_sentence
from isthmus.errors import InvalidArguments
from isthmus.results import CallToolResult, TextContent
from isthmus.schemas import answer_schema, arguments_schema
from isthmus_mcp_gateway.views import View

NAME = "list_sources"


class ListSources(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The arguments of list_sources."""

    query: str = ""
    """Only those with this text in name, title or description."""
    kind: str = ""
    """Only this kind: `db` is a database, `file` a file store."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    """Sources at most."""
    cursor: str | None = None
    """`next_cursor` of the page before; all else but limit as before."""


class SourceLine(msgspec.Struct):
    """One source."""

    name: str
    kind: str
    engine: str
    title: str
    description: str
    access: str
    """`read-only` or `read-write`."""
    tools: list[str]
    """What you may use on it."""
    problem: str = ""
    """Why it cannot be used now; empty: it can."""


class SourceList(msgspec.Struct):
    """A page of sources."""

    sources: list[SourceLine]
    total: int
    next_cursor: str | None = None

    def text(self) -> str:
        """One line a source."""
        lines = [
            f"{s.name} ({s.kind}, {s.engine}, {s.access})"
            + (f": {s.description}" if s.description else "")
            + (f" [{s.problem}]" if s.problem else "")
            for s in self.sources
        ]
        if not lines:
            return "No sources match." if self.total == 0 else "No more sources."
        if self.next_cursor:
            lines.append(f"{self.total} in all; go on with cursor {self.next_cursor}")
        return "\n".join(lines)


TOOL = types.Tool(
    name=NAME,
    description="Lists the databases, file stores and other sources that you may use, and what for. Call it first.",
    input_schema=arguments_schema(ListSources),
    output_schema=answer_schema(SourceList),
    annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
)


def answer(arguments: Mapping[str, Any], view: View) -> CallToolResult:
    """MCP's result of the tool. Raises InvalidArguments."""
    try:
        wanted = msgspec.convert(arguments, ListSources)
    except msgspec.ValidationError as error:
        raise InvalidArguments(arguments_sentence(str(error), NAME, ListSources)) from None
    page = list_sources(wanted, view)
    return CallToolResult(
        content=(TextContent(page.text()),), structured_content=msgspec.Raw(msgspec.json.encode(page))
    )


def list_sources(arguments: ListSources, view: View) -> SourceList:
    """One page, in order of kind and name."""
    after = _decode_cursor(arguments.cursor)
    wanted = arguments.query.casefold()
    found = [
        source
        for source in view.sources.values()
        if (not arguments.kind or source.kind == arguments.kind)
        and wanted in f"{source.name}\n{source.title}\n{source.description}".casefold()
    ]
    rest = [source for source in found if source.id > after]
    page = rest[: arguments.limit]
    return SourceList(
        sources=[
            SourceLine(
                s.name,
                s.kind,
                s.engine,
                s.title,
                s.description,
                s.access,
                [name for name, t in view.tools.items() if t.kind == s.kind and s.name in t.sources and not s.problem],
                s.problem,
            )
            for s in page
        ],
        total=len(found),
        next_cursor=_encode_cursor(page[-1].id) if len(rest) > len(page) else None,
    )


def _encode_cursor(source_id: str) -> str:
    return base64.urlsafe_b64encode(source_id.encode()).decode()


def _decode_cursor(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InvalidArguments("`cursor` is not one that list_sources gave; leave it out to begin anew.") from None
