"""What `read_file` answers with, and how each kind of file becomes that."""

import base64
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from isthmus.errors import TooLarge
from isthmus.results import AudioContent, Content, ImageContent, TextContent
from isthmus.worker import Result
from isthmus_file_worker import media
from isthmus_file_worker.readers.messages import JsonValue, Pages, Picture, Rows
from isthmus_file_worker.store import OpenFile
from isthmus_file_worker.tabular import document_text, table_text
from isthmus_file_worker.text import BUDGET, Range, Window

BYTES_BUDGET = BUDGET * 3 // 4
"""Bytes in one answer as base64, which makes four characters of three bytes."""
MEDIA_LIMIT = 4 * 1024 * 1024
"""Bytes of a sound at most: clients and models take no more."""
FIRST = 64
"""Bytes that are shown of a file that is nothing we know."""

What = Literal["text", "table", "document", "archive", "image", "audio", "base64", "binary"]


class FileContent(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a part of it."""

    path: str
    kind: What
    size: int
    """Bytes of the whole file."""
    modified: datetime | None
    etag: str
    media_type: str | msgspec.UnsetType = msgspec.UNSET
    """Of all but texts and base64; of an image that is reduced, that of what is shown."""
    encoding: str | msgspec.UnsetType = msgspec.UNSET
    """Of what is written as text."""
    content: str | msgspec.UnsetType = msgspec.UNSET
    """The text, the pages, or the bytes as base64; of a file that is nothing we know, its first bytes as hex."""
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    rows: list[list[JsonValue]] | msgspec.UnsetType = msgspec.UNSET
    """Of a table or an archive: the values, in the order of the columns."""
    sheet: str | msgspec.UnsetType = msgspec.UNSET
    sheets: list[str] | msgspec.UnsetType = msgspec.UNSET
    total: int | msgspec.UnsetType | None = msgspec.UNSET
    """Rows of the whole table, where that is known."""
    pages: int | msgspec.UnsetType = msgspec.UNSET
    """Of the whole document."""
    width: int | msgspec.UnsetType = msgspec.UNSET
    height: int | msgspec.UnsetType = msgspec.UNSET
    """Of an image as it is in the file, in pixels, upright."""
    truncated: bool = False
    """Whether there is more after this part."""
    next_start: int | msgspec.UnsetType = msgspec.UNSET
    """`start` to go on with."""
    next_offset: int | msgspec.UnsetType = msgspec.UNSET
    """`offset` to go on with."""


def of_bytes(file: OpenFile, path: str, offset: int, limit: int | None) -> Result[FileContent]:
    """Bytes as base64."""
    data = file.read(offset, min(limit or BYTES_BUDGET, BYTES_BUDGET))
    end = offset + len(data)
    content = replace(_begun(file, path, "base64"), content=base64.b64encode(data).decode())
    if not data or end == file.status.size:
        return _as_text(content, [])
    return _as_text(replace(content, truncated=True, next_offset=end), [_where(offset, end, file)])


def of_range(file: OpenFile, path: str, offset: int, found: Range, encoding: str) -> Result[FileContent]:
    """A part of a text that begins and ends anywhere."""
    end = offset + found.size
    content = replace(_begun(file, path, "text"), encoding=encoding, content=found.content)
    if found.size and end < file.status.size:
        content = replace(content, truncated=True, next_offset=end)
    return _as_text(content, [_where(offset, end, file)])


def of_lines(
    file: OpenFile, path: str, start: int, window: Window, encoding: str, *, strict: bool
) -> Result[FileContent]:
    """Lines of a text."""
    content = replace(_begun(file, path, "text"), encoding=encoding, content=window.content)
    wrong = not strict and "\ufffd" in window.content
    notes: list[str] = []
    if wrong:
        notes.append(f"[Some bytes are not valid {encoding} and show as \ufffd.]")
    if window.cut:
        how = "; `offset` and `limit` read the file by bytes"
        if start == 1 and not wrong:
            content = replace(content, next_offset=len(window.content.encode(encoding)))
            how = f"; offset={content.next_offset} goes on in it"
        notes.append(f"[Line {start} is longer than an answer may be and is cut{how}.]")
    if window.more:
        last = start + window.lines - 1
        content = replace(content, truncated=True, next_start=last + 1)
        notes.append(f"[Lines {start} to {last}; there is more: go on with start={last + 1}.]")
    if not window.content:
        notes.append("[The file is empty.]")
    return _as_text(content, notes)


def of_rows(file: OpenFile, path: str, start: int, rows: Rows, kind: media.Kind) -> Result[FileContent]:
    """Rows of a table, or entries of an archive."""
    is_archive = isinstance(kind, media.Archive)
    content = replace(
        _begun(file, path, "archive" if is_archive else "table", kind),
        columns=rows.columns,
        rows=rows.rows,
        total=rows.total,
        truncated=rows.more,
    )
    if rows.sheet is not None:
        content = replace(content, sheet=rows.sheet, sheets=rows.sheets)
    if rows.more:
        content = replace(content, next_start=start + len(rows.rows))
    return Result(structured=content, content=(TextContent(table_text(rows, start)),))


def of_pages(file: OpenFile, path: str, start: int, pages: Pages, kind: media.Kind) -> Result[FileContent]:
    """Pages of a document."""
    text = document_text(pages, start)
    content = replace(
        _begun(file, path, "document", kind), content=text, pages=pages.total, truncated=pages.more or pages.cut
    )
    if pages.more:
        content = replace(content, next_start=start + len(pages.pages))
    return Result(structured=content, content=(TextContent(text),))


def of_picture(file: OpenFile, path: str, picture: Picture) -> Result[FileContent]:
    """An image, or a smaller one in its place."""
    data = file.read(0, file.status.size) if picture.data is None else picture.data
    content = replace(
        _begun(file, path, "image"), media_type=picture.media_type, width=picture.width, height=picture.height
    )
    said = f"{path}: {picture.width} x {picture.height} pixels, {file.status.size} bytes"
    if picture.data is not None:
        said += f"; shown here as {picture.media_type} of {picture.shown[0]} x {picture.shown[1]}"
    part: Content = ImageContent.of(data, picture.media_type)
    return Result(structured=content, content=(TextContent(said), part))


def of_sound(file: OpenFile, path: str, kind: media.Sound) -> Result[FileContent]:
    """A sound."""
    if file.status.size > MEDIA_LIMIT:
        raise TooLarge(
            f"{path} is {kind.media_type} of {file.status.size} bytes, and {MEDIA_LIMIT} can be shown; "
            'encoding "base64" gives its bytes in parts.'
        )
    part: Content = AudioContent.of(file.read(0, MEDIA_LIMIT), kind.media_type)
    said = TextContent(f"{path}: {kind.media_type}, {file.status.size} bytes")
    return Result(structured=_begun(file, path, "audio", kind), content=(said, part))


def of_unknown(file: OpenFile, path: str, kind: media.Binary) -> Result[FileContent]:
    """Anything else, which nobody reads as text."""
    first = file.read(0, FIRST).hex(" ")
    content = replace(_begun(file, path, "binary", kind), content=first, truncated=file.status.size > FIRST)
    said = (
        f"{path} is no text but a {kind.name} of {file.status.size} bytes; it begins with {first}. "
        'encoding "base64" gives its bytes.'
    )
    return Result(structured=content, content=(TextContent(said),))


def _begun(file: OpenFile, path: str, what: What, kind: media.Kind | None = None) -> FileContent:
    status = file.status
    content = FileContent(path=path, kind=what, size=status.size, modified=status.modified, etag=status.etag)
    if kind is None:
        return content
    return replace(content, media_type=media.type_of(kind), encoding=media.encoding_of(kind) or msgspec.UNSET)


def _where(begin: int, end: int, file: OpenFile) -> str:
    on = f"; go on with offset={end}" if begin < end < file.status.size else ""
    return f"[Bytes {begin} to {end} of {file.status.size}{on}.]"


def _as_text(content: FileContent, notes: list[str]) -> Result[FileContent]:
    parts = [content.content or "", *notes]
    return Result(structured=content, content=tuple(TextContent(part) for part in parts if part))
