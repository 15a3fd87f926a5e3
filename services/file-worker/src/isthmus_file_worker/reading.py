"""`read_file`: texts by lines, tables by rows, documents by pages, images and sounds as such, all else as bytes."""

from typing import Annotated

import msgspec

from isthmus.errors import InvalidArguments, NotFound
from isthmus.worker import Call, Result
from isthmus_file_worker import contents, media, paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.contents import FileContent
from isthmus_file_worker.extracting import extract, job_for
from isthmus_file_worker.paths import show
from isthmus_file_worker.readers.messages import Facts, Pages, Picture, Rows
from isthmus_file_worker.store import OpenFile, Store
from isthmus_file_worker.text import BUDGET, check_encoding, read_range, read_window
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look


class ReadFile(StoreArguments, kw_only=True):
    """Which file to read, and which part of it."""

    path: str
    """The file."""
    start: Annotated[int, msgspec.Meta(ge=1)] = 1
    """First line, row, page or entry."""
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many at most; with `offset`, bytes."""
    columns: tuple[str, ...] = ()
    """Of a table."""
    sheet: str = ""
    """Of a workbook."""
    encoding: str | None = None
    """Reads it as plain text, or with `base64` its bytes."""
    offset: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Bytes to skip."""


async def read_file(call: Call[Store], arguments: ReadFile) -> Result[FileContent]:
    """Reads a file or a part of it: text by lines, tables and Excel by rows, PDF, Office, HTML and e-mail by pages, the
    list of an archive, images, sound."""
    names = paths.parse(arguments.path)
    if arguments.encoding not in (None, "base64"):
        check_encoding(arguments.encoding)
    if arguments.start > 1 and (arguments.offset is not None or arguments.encoding == "base64"):
        raise InvalidArguments("`offset` counts bytes and `start` lines, rows or pages; use one of them.")

    def work(stop: Stop) -> Result[FileContent]:
        store = call.source.handle
        if look(store, call.granted, names, stop).kind == "folder":
            raise InvalidArguments(f"{show(names) or 'The root'} is a folder; use list_files.")
        with store.open_file(names) as file:
            return _read(file, arguments, show(names), stop)

    return await call.source.handle.work(work, call.seconds)


def _read(file: OpenFile, arguments: ReadFile, path: str, stop: Stop) -> Result[FileContent]:
    """As what the first bytes say, unless the caller says that it is a text or wants its bytes."""
    start, limit, offset, encoding = arguments.start, arguments.limit, arguments.offset, arguments.encoding
    if encoding == "base64":
        return contents.of_bytes(file, path, offset or 0, limit)
    kind = media.recognized(file, path) if encoding is None else media.Text(encoding)
    strict, written = encoding is not None, media.encoding_of(kind)
    if offset is not None and not written:
        raise InvalidArguments(f'{path} is no text, so `offset` goes with encoding "base64".')
    if offset is not None:
        return contents.of_range(file, path, offset, read_range(file, written, offset, limit, strict=strict), written)
    if isinstance(kind, media.Text) or (written and file.status.size == 0):
        window = read_window(file.stream(stop), written, start, limit, stop, strict=strict)
        if window.lines == 0 and start > 1:
            raise NotFound(f"{path} has fewer than {start} lines.")
        return contents.of_lines(file, path, start, window, written, strict=strict)
    if isinstance(kind, media.Sound):
        return contents.of_sound(file, path, kind)
    if isinstance(kind, media.Binary):
        return contents.of_unknown(file, path, kind)
    job = msgspec.structs.replace(
        job_for(kind, file, path, "read", budget=BUDGET),
        start=start,
        limit=limit or 2**31,
        columns=list(arguments.columns),
        sheet=arguments.sheet,
    )
    match extract(file, job, stop):
        case Rows() as rows:
            return contents.of_rows(file, path, start, rows, kind)
        case Pages() as pages:
            return contents.of_pages(file, path, start, pages, kind)
        case Picture() as picture:
            return contents.of_picture(file, path, picture)
        case Facts():
            raise AssertionError("a reader that is asked to read does not answer with facts")
