"""The admin REST API: the audit trail."""

import csv
import io
from collections.abc import AsyncGenerator
from typing import Annotated, Literal, cast

import msgspec
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from isthmus_auth import audit_reader
from isthmus_auth.administration import Asking

LONGEST_VALUE = 2000
COLUMNS = (
    "time", "event", "principal", "client", "service", "tool", "source", "outcome", "milliseconds", "rows", "bytes",
    "method", "address", "action", "object", "grant", "scope", "status", "count", "written", "call", "gateway",
)  # fmt: skip
"""Of the CSV; what an event has beside these is in the JSON alone."""
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take the beginning of a formula for."""


def wanted_of(
    search: FromQuery[str] = "",
    event: FromQuery[str] = "",
    principal: FromQuery[str] = "",
    client: FromQuery[str] = "",
    service: FromQuery[str] = "",
    tool: FromQuery[str] = "",
    source: FromQuery[str] = "",
    outcome: FromQuery[str] = "",
    since: FromQuery[str] = "",
    until: FromQuery[str] = "",
) -> audit_reader.Wanted:
    """The filter in the query. Raises Refusal."""
    given = {
        "search": search,
        "event": event,
        "principal": principal,
        "client": client,
        "service": service,
        "tool": tool,
        "source": source,
        "outcome": outcome,
        "since": since,
        "until": until,
    }
    return audit_reader.Wanted(**{name: value.strip()[:LONGEST_VALUE] for name, value in given.items()})


async def list_events(
    asking: NamedDependency[Asking],
    wanted: NamedDependency[audit_reader.Wanted],
    before: FromQuery[str] = "",
    after: FromQuery[str] = "",
) -> audit_reader.Page:
    """Events of the audit trail, the newest first, a page at a time; with `after`, those that have come since."""
    await asking.read(lambda _s, _by: None)
    client = asking.site.publisher.connection
    return await (audit_reader.newer(client, wanted, after) if after else audit_reader.find(client, wanted, before))


async def export_events(
    asking: NamedDependency[Asking],
    wanted: NamedDependency[audit_reader.Wanted],
    style: Annotated[Literal["jsonl", "csv"], QueryParameter(name="format")] = "jsonl",
) -> Stream:
    """All of them, in order of time: as JSON lines, or as CSV."""
    await asking.read(lambda _s, _by: None)
    events = audit_reader.everything(asking.site.publisher.connection, wanted)
    first = await anext(events, None)  # what fails at the beginning is answered as an error
    kind = "text/csv; charset=utf-8" if style == "csv" else "application/jsonl"
    headers = {"Content-Disposition": f'attachment; filename="isthmus-audit.{style}"'}
    return Stream(_lines(first, events, style), media_type=kind, headers=headers)


async def _lines(
    first: dict[str, object] | None, events: AsyncGenerator[dict[str, object]], style: Literal["jsonl", "csv"]
) -> AsyncGenerator[bytes]:
    if style == "csv":
        yield row(COLUMNS)
    if first is None:
        return
    yield _line(first, style)
    async for event in events:
        yield _line(event, style)


def _line(event: dict[str, object], style: str) -> bytes:
    return msgspec.json.encode(event) + b"\n" if style == "jsonl" else row([event.get(name) for name in COLUMNS])


def row(values: "list[object] | tuple[object, ...]") -> bytes:
    """A line of CSV (RFC 4180), in which no spreadsheet finds a formula."""
    text = io.StringIO()
    csv.writer(text).writerow([_cell(value) for value in values])
    return text.getvalue().encode()


def _cell(value: object) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(cast("object", value)).decode()
    return f"'{text}" if text.startswith(FORMULAS) else text
