"""`read_file`: texts by lines, images and sounds as what they are, everything else as base64."""

import base64
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from isthmus.errors import InvalidArguments, NotFound, TooLarge, ToolError
from isthmus.results import AudioContent, Content, ImageContent, TextContent
from isthmus.worker import Call, Result
from isthmus_file_worker import media, paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.paths import show
from isthmus_file_worker.store import OpenFile, Store
from isthmus_file_worker.text import BUDGET, check_encoding, read_window
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look

BYTES_BUDGET = BUDGET * 3 // 4
"""Bytes in one answer as base64, which makes four characters of three bytes."""
MEDIA_LIMIT = 4 * 1024 * 1024
"""Bytes of an image or a sound at most: clients and models take no more."""


class ReadFile(StoreArguments, kw_only=True):
    """Which file to read, and which part of it."""

    path: str
    """The file, such as `reports/2026.csv`."""
    start_line: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Of a text: the first line."""
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Of a text: lines at most."""
    encoding: str | None = None
    """Of a text, such as `cp1252`; left out: it is found out. `base64` gives the bytes of any file."""
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    """With `base64`: bytes to skip."""


class FileContent(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or a part of it."""

    path: str
    kind: Literal["text", "image", "audio", "base64"]
    size: int
    """Bytes of the whole file."""
    modified: datetime | None
    media_type: str | None = None
    """Of an image or a sound, which come as content of their own."""
    encoding: str | None = None
    """Of a text."""
    content: str | None = None
    """The text, or the bytes as base64."""
    start_line: int | None = None
    lines: int | None = None
    """How many lines of a text are here."""
    truncated: bool = False
    """Whether there is more after this part."""
    next_line: int | None = None
    """`start_line` to go on with."""
    next_offset: int | None = None
    """`offset` to go on with."""


async def read_file(call: Call[Store], arguments: ReadFile) -> Result[FileContent]:
    """Reads a file: a text by lines, up to 256 KB at a time; an image or a sound as such; any file as base64."""
    names = paths.parse(arguments.path)
    as_bytes = arguments.encoding == "base64"
    if arguments.encoding is not None and not as_bytes:
        check_encoding(arguments.encoding)
    if arguments.offset and not as_bytes:
        raise InvalidArguments('`offset` goes with encoding "base64"; a text goes on with `start_line`.')

    def work(stop: Stop) -> Result[FileContent]:
        store = call.source.handle
        if look(store, call.granted, names, stop).kind == "folder":
            raise InvalidArguments(f"{show(names) or 'The root'} is a folder; use list_files.")
        with store.open_file(names) as file:
            if as_bytes:
                return _bytes(file, show(names), arguments.offset)
            return _recognized(file, arguments, show(names), stop)

    return await call.source.handle.work(work, call.seconds)


def _bytes(file: OpenFile, path: str, offset: int) -> Result[FileContent]:
    data = file.read(offset, BYTES_BUDGET)
    more = offset + len(data) < file.status.size and len(data) > 0
    content = FileContent(
        path=path,
        kind="base64",
        size=file.status.size,
        modified=file.status.modified,
        content=base64.b64encode(data).decode(),
        truncated=more,
        next_offset=offset + len(data) if more else None,
    )
    notes = [
        f"[Bytes {offset} to {offset + len(data)} of {file.status.size}; go on with offset={content.next_offset}.]"
    ]
    return _as_text(content, notes if more else [])


def _recognized(file: OpenFile, arguments: ReadFile, path: str, stop: Stop) -> Result[FileContent]:
    """As what the first bytes say, unless the caller says that it is a text."""
    encoding, strict = arguments.encoding, arguments.encoding is not None
    if encoding is None:
        sample = file.read(0, media.SAMPLE)
        match media.recognize(sample, path, whole=len(sample) == file.status.size):
            case media.Text(found):
                encoding = found
            case media.Binary(name, _):
                raise ToolError(
                    f'{path} is no text but a {name} of {file.status.size} bytes; encoding "base64" gives its bytes.'
                )
            case media.Image(media_type) | media.Sound(media_type) as kind:
                return _media(file, path, media_type, is_image=isinstance(kind, media.Image))
    start = arguments.start_line
    window = read_window(file.stream(stop), encoding, start, arguments.limit, stop, strict=strict)
    if window.lines == 0 and start > 1:
        raise NotFound(f"{path} has fewer than {start} lines.")
    content = FileContent(
        path=path,
        kind="text",
        size=file.status.size,
        modified=file.status.modified,
        encoding=encoding,
        content=window.content,
        start_line=start,
        lines=window.lines,
        truncated=window.more,
        next_line=start + window.lines if window.more else None,
    )
    notes: list[str] = []
    if not strict and "\ufffd" in window.content:
        notes.append(f"[Some bytes are not valid {encoding} and show as \ufffd.]")
    if window.cut:
        notes.append(f'[Line {start} is longer than an answer may be and is cut; encoding "base64" gives all bytes.]')
    if window.more:
        last = start + window.lines - 1
        notes.append(f"[Lines {start} to {last}; there is more: go on with start_line={last + 1}.]")
    if not window.content:
        notes.append("[The file is empty.]")
    return _as_text(content, notes)


def _media(file: OpenFile, path: str, media_type: str, *, is_image: bool) -> Result[FileContent]:
    if file.status.size > MEDIA_LIMIT:
        raise TooLarge(
            f"{path} is {media_type} of {file.status.size} bytes, and {MEDIA_LIMIT} can be shown; "
            'encoding "base64" gives its bytes in parts.'
        )
    data = file.read(0, MEDIA_LIMIT)
    content = FileContent(
        path=path,
        kind="image" if is_image else "audio",
        size=file.status.size,
        modified=file.status.modified,
        media_type=media_type,
    )
    part: Content = ImageContent.of(data, media_type) if is_image else AudioContent.of(data, media_type)
    return Result(structured=content, content=(TextContent(f"{path}: {media_type}, {len(data)} bytes"), part))


def _as_text(content: FileContent, notes: list[str]) -> Result[FileContent]:
    parts = [content.content, *notes] if content.content else notes
    return Result(structured=content, content=tuple(TextContent(part) for part in parts if part))
