"""What the worker and its reading process say to each other: MessagePack behind four bytes of length."""

from typing import Any, Literal

import msgspec

JsonValue = Any
"""A value as JSON has it: open by nature, so untyped."""

Format = Literal[
    "csv", "tsv", "jsonl", "parquet", "workbook", "pdf", "docx", "pptx", "html", "eml", "zip", "tar", "packed", "image"
]
"""What a reader knows; `packed` is one file, compressed, or a tar archive that is."""

NAMES: dict[Format, str] = {
    "csv": "CSV table",
    "tsv": "TSV table",
    "jsonl": "JSON Lines table",
    "parquet": "Parquet table",
    "workbook": "workbook",
    "pdf": "PDF document",
    "docx": "Word document",
    "pptx": "PowerPoint presentation",
    "html": "HTML page",
    "eml": "e-mail",
    "zip": "ZIP archive",
    "tar": "tar archive",
    "packed": "compressed file",
    "image": "image",
}
"""What a person calls it."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with one file."""

    task: Literal["read", "inspect", "text"]
    """`text`: as pages, also what is a table."""
    format: Format
    path: str
    """As the caller knows it, for sentences."""
    size: int
    """Bytes of the file."""
    encoding: str = "utf-8"
    """Of a file that is text."""
    start: int = 1
    """The first row, page or entry that is wanted; 1 is the first."""
    limit: int = 2**31
    """Rows, pages or entries at most."""
    columns: list[str] = []
    """Of a table; empty: all."""
    sheet: str = ""
    """Of a workbook; empty: the first."""
    budget: int = 0
    """Bytes of the answer: of rows as JSON and as text together, of pages as UTF-8."""
    seconds: float = 10.0
    """After which counting ends, so that there is an answer in time."""


class Rows(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Rows of a table, or entries of an archive."""

    columns: list[str]
    rows: list[list[JsonValue]]
    more: bool
    total: int | None = None
    """Rows of the whole table, where that costs nothing to know."""
    sheet: str | None = None
    sheets: list[str] | None = None
    notes: list[str] = []
    """Sentences on what is not as one would think."""


class Pages(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pages of a document."""

    pages: list[str]
    total: int
    more: bool
    cut: bool = False
    """Whether the only page here is too large for an answer, so that its end is missing."""


class Picture(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An image that can be shown."""

    width: int
    height: int
    """True ones, in pixels, upright."""
    media_type: str
    data: bytes | None = None
    """None: as it is in the file."""
    shown: tuple[int, int] = (0, 0)
    """Width and height of what is shown in its place."""


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of a table."""

    name: str
    type: str = ""
    """As the format says it, where it does."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a file says of itself."""

    columns: list[Column] | None = None
    rows: int | None = None
    """None, too, where counting took too long."""
    sheets: list[str] | None = None
    pages: int | None = None
    entries: int | None = None
    width: int | None = None
    height: int | None = None
    notes: list[str] = []


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why there is no answer."""

    code: Literal["broken", "protected", "memory", "too_large", "not_found", "invalid_arguments"]
    message: str = ""
    """A sentence for the caller; empty where the code says it all."""
    wrong: str = ""
    known: list[str] = []
    """The name that is not there, and those that are."""
    detail: str = ""
    """For the log."""


class Wanted(msgspec.Struct, frozen=True, tag=True):
    """Bytes of the file that are needed; they come back as they are, behind their length."""

    offset: int
    size: int


Answer = Rows | Pages | Picture | Facts | Refusal

LARGEST = 32 * 1024 * 1024
"""Bytes of one message."""
LENGTH = 4
"""Bytes before each message that say how long it is."""


def framed(message: bytes) -> bytes:
    """With its length before it."""
    return len(message).to_bytes(LENGTH, "big") + message
