"""The tables of a database in the console: their columns, keys, relations and rows."""

from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Template

from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console.playground import link
from isthmus_auth.console.shell import part
from isthmus_auth.console.source_pages import answer_of, closed, framed, opened
from isthmus_auth.console.tool_results import Table, table_of
from isthmus_auth.console.toolbox import SourceLine, Toolbox
from isthmus_auth.gateway_client import GatewayError

ROWS = 25


class Listed(msgspec.Struct, frozen=True):
    """A table, as `list_tables` names it."""

    name: str
    kind: str
    comment: str = ""


class _Tables(msgspec.Struct, frozen=True):
    tables: list[Listed]
    truncated: bool = False


class Column(msgspec.Struct, frozen=True):
    """A column, as `describe_table` describes it."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    comment: str = ""
    generated: str = ""
    masked: bool = False


class Reference(msgspec.Struct, frozen=True):
    """A foreign key."""

    table: str
    columns: list[str]
    to_table: str
    to_columns: list[str]
    relation: str | None = None


class Description(msgspec.Struct, frozen=True):
    """A table, as `describe_table` describes it."""

    name: str
    kind: str
    columns: list[Column]
    comment: str = ""
    primary_key: list[str] = []
    unique_keys: list[list[str]] = []
    foreign_keys: list[Reference] = []
    referenced_by: list[Reference] = []


class _Rows(msgspec.Struct, frozen=True):
    columns: list[str]
    rows: list[list[Any]]
    next_cursor: str | None = None


async def tables(asking: Asking, toolbox: Toolbox, source: SourceLine, search: str, after: str) -> Template:
    """A page of them."""
    asked = {"database": source.name, "query": search[:200]}
    found = await answer_of(asking, toolbox, "list_tables", asked, _Tables)
    shown, next_after = part(sorted(found.tables, key=lambda one: one.name), lambda one: one.name, after)
    context = {
        "tables": shown,
        "truncated": found.truncated,
        "search": search,
        "after": after,
        "next_after": next_after,
        "call": link(toolbox.access.namespace, "list_tables", {"database": source.name}),
    }
    return await framed(asking, "console/browse_database.html", toolbox, source, context)


@get("/browse/{name:str}/table")
async def show_table(
    asking: NamedDependency[Asking],
    name: FromPath[str],
    table: FromQuery[str] = "",
    service: FromQuery[str] = "",
    rows: FromQuery[str] = "",
    order: FromQuery[str] = "",
    cursor: FromQuery[str] = "",
) -> Template:
    """A table: its columns, keys and relations, and its rows a page at a time. `rows` is a filter."""
    refusal: Refusal | None = None
    found: Table | None = None
    next_cursor = ""
    try:
        toolbox, source = await opened(asking, service, name)
        named = {"database": source.name, "table": table}
        described = await answer_of(asking, toolbox, "describe_table", named, Description)
    except GatewayError as error:
        return await closed(asking, service, name, error)
    asked: dict[str, Any] = {**named, "limit": ROWS}
    asked |= {"filter": rows} if rows.strip() else {}
    asked |= {"order_by": [order]} if order.strip() else {}
    try:
        with_cursor = {**asked, "cursor": cursor} if cursor else asked
        answer = await answer_of(asking, toolbox, "query_table", with_cursor, _Rows)
        found, next_cursor = table_of(table, answer.columns, answer.rows), answer.next_cursor or ""
    except GatewayError as error:
        refusal = Refusal(400, str(error))
    context = {
        "table": described,
        "rows": found,
        "filter": rows,
        "order": order,
        "cursor": cursor,
        "next_cursor": next_cursor,
        "call": link(toolbox.access.namespace, "query_table", asked),
    }
    return await framed(asking, "console/browse_table.html", toolbox, source, context, refusal)
