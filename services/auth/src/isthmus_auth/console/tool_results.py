"""What a tool answered, as a page shows it: bounded, and nothing of it taken for more than it is."""

import re
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from isthmus_auth.gateway_client import GatewayError

LONGEST = 50_000
"""Characters of a text that are shown."""
MOST_ROWS = 200
MOST_COLUMNS = 100
LONGEST_CELL = 500
MOST_PARTS = 100
COUNTED = 200_000
"""Characters of a text whose tokens are counted."""
IMAGES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/avif"))
SOUNDS = frozenset(("audio/wav", "audio/x-wav", "audio/mpeg", "audio/ogg", "audio/flac", "audio/mp4", "audio/webm"))

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[\t\r\n]+|[^\sA-Za-z0-9\x80-\U0010ffff]+|[\x80-\U0010ffff]")
_TOGETHER = {"letter": 8, "digit": 3, "sign": 3, "space": 1_000_000, "other": 1}
_SPACES = dict.fromkeys("\t\r\n", "space")


class Part(msgspec.Struct, frozen=True):
    """A content block."""

    kind: Literal["text", "image", "audio", "link", "resource", "other"]
    text: str = ""
    """Of links their name; of what is not known its JSON."""
    cut: int = 0
    """Characters that are not shown."""
    uri: str = ""
    media_type: str = ""
    source: str = ""
    """A `data:` URL."""


class Table(msgspec.Struct, frozen=True):
    """Rows of structured content."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    more: int = 0
    """Rows that are not shown."""


class Question(msgspec.Struct, frozen=True):
    """Something that a tool wants to know before it goes on."""

    key: str
    method: str
    message: str
    schema: dict[str, Any]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An answer."""

    is_error: bool
    code: str
    """Of the error, as the catalogue of errors has it."""
    parts: list[Part]
    tables: list[Table]
    structured: str
    """The rest of the structured content, as JSON to read."""
    structured_cut: int = 0
    size: int
    """Bytes of the whole result."""
    tokens: int
    """About how many tokens a model reads: see `about_tokens`."""
    seconds: float
    questions: list[Question]
    request_state: str
    value: dict[str, Any] | None
    """All of the structured content."""
    unshown: int = 0
    """Content blocks that are not shown."""


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    content: list[dict[str, Any]] = []
    structured_content: Any = None
    is_error: bool = False
    result_type: str = "complete"
    input_requests: dict[str, dict[str, Any]] = {}
    request_state: str = ""
    meta: dict[str, Any] = msgspec.field(default_factory=dict[str, Any], name="_meta")


def structured(result: bytes) -> dict[str, Any] | None:
    """The structured content of an answer that is no error; None: it has none."""
    found = _decoded(result)
    value = found.structured_content if found is not None and not found.is_error else None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def shown(result: bytes, seconds: float) -> Shown:
    """The answer as it is shown. Raises GatewayError for what is no result of MCP."""
    found = _decoded(result)
    if found is None:
        raise GatewayError("The answer is no result of a tool.")
    tables, rest = _tables(found.structured_content)
    pretty = "" if rest is None else _pretty(rest)
    texts = [part["text"] for part in found.content if isinstance(part.get("text"), str)]
    return Shown(
        is_error=found.is_error,
        code=str(found.meta.get("isthmus/error", ""))[:100],
        parts=[_part(block) for block in found.content[:MOST_PARTS]],
        unshown=max(0, len(found.content) - MOST_PARTS),
        tables=tables,
        value=structured(result),
        structured=pretty[:LONGEST],
        structured_cut=max(0, len(pretty) - LONGEST),
        size=len(result),
        tokens=sum(about_tokens(text) for text in texts),
        seconds=seconds,
        questions=_questions(found) if found.result_type == "input_required" else [],
        request_state=found.request_state,
    )


def about_tokens(text: str) -> int:
    """How many tokens a model makes of a text, more or less.

    The rule: eight letters of a word make one, three digits, three other signs in a row, a line end or tab, and every
    character beyond ASCII. Against the tokenizers that `make tokens` counts with (o200k_base), rows, JSON, code and
    prose come out between 10 % too low and 15 % too high. Of a long text the beginning is counted.
    """
    begun = text[:COUNTED]
    found = sum(-(-len(run) // _TOGETHER[_kind(run[0])]) for run in _RUNS.findall(begun))
    return found if len(text) <= COUNTED else round(found * len(text) / COUNTED)


def _kind(character: str) -> str:
    if not character.isascii():
        return "other"
    return "letter" if character.isalpha() else "digit" if character.isdigit() else _SPACES.get(character, "sign")


def _decoded(result: bytes) -> _Result | None:
    try:
        return msgspec.json.decode(result, type=_Result)
    except (msgspec.DecodeError, RecursionError):
        return None


def _part(block: dict[str, Any]) -> Part:
    def said(name: str) -> str:
        value = block.get(name)
        return value if isinstance(value, str) else ""

    media_type, data = said("mimeType"), said("data")
    match block.get("type"):
        case "text":
            return _text("text", said("text"))
        case "image" if media_type in IMAGES and _BASE64.fullmatch(data):
            return Part("image", media_type=media_type, source=f"data:{media_type};base64,{data}")
        case "audio" if media_type in SOUNDS and _BASE64.fullmatch(data):
            return Part("audio", media_type=media_type, source=f"data:{media_type};base64,{data}")
        case "resource_link":
            text = said("title") or said("name")
            return Part("link", text[:LONGEST_CELL], uri=said("uri")[:2000], media_type=media_type[:100])
        case "resource" if isinstance(block.get("resource"), dict):
            resource = cast("dict[str, Any]", block["resource"])
            text = resource.get("text")
            whole = _text("resource", text if isinstance(text, str) else "")
            return msgspec.structs.replace(whole, uri=str(resource.get("uri", ""))[:2000])
        case _:
            return _text("other", _pretty(block))


def _text(kind: Literal["text", "resource", "other"], text: str) -> Part:
    return Part(kind, text[:LONGEST], max(0, len(text) - LONGEST))


def _tables(value: Any) -> tuple[list[Table], Any]:
    """What of structured content is a table, and the rest; None: there is none."""
    if not isinstance(value, dict):
        return [], value
    rest = dict(cast("dict[str, Any]", value))
    tables: list[Table] = []
    if _all(rest.get("columns"), str) and _all(rest.get("rows"), list):
        names, lines = cast("list[str]", rest["columns"]), cast("list[list[Any]]", rest["rows"])
        tables.append(table_of("rows", names, lines))
        del rest["columns"], rest["rows"]
    for name, rows in list(rest.items()):
        if _all(rows, dict) and len(rows) > 0:
            columns = list(dict.fromkeys(key for row in rows[:MOST_ROWS] for key in row))[:MOST_COLUMNS]
            tables.append(table_of(name, columns, [[row.get(column, "") for column in columns] for row in rows]))
            del rest[name]
    return tables, rest or None


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(one, kind) for one in cast("list[Any]", values))


def table_of(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Rows that are lists of values, as many as there are columns."""
    lines = [[cell(value) for value in row[:MOST_COLUMNS]] for row in rows[:MOST_ROWS]]
    return Table(name, list(columns)[:MOST_COLUMNS], lines, max(0, len(rows) - MOST_ROWS))


def cell(value: Any) -> str:
    """A value in a table: a text as it is, all else as JSON."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"


def _questions(found: _Result) -> list[Question]:
    questions: list[Question] = []
    for key, asked in found.input_requests.items():
        params = asked.get("params")
        said = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
        schema = said.get("requestedSchema")
        questions.append(
            Question(
                key=key,
                method=str(asked.get("method", "")),
                message=str(said.get("message", "")),
                schema=cast("dict[str, Any]", schema) if isinstance(schema, dict) else {},
            )
        )
    return questions


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value).decode(), indent=2)
