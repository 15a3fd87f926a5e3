"""`get_file_info`: what is known of a file without reading it out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from isthmus.errors import ToolError
from isthmus.worker import Call
from isthmus_file_worker import media, paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.extracting import extract, job_for
from isthmus_file_worker.listing import shown
from isthmus_file_worker.paths import show
from isthmus_file_worker.readers.messages import Column, Facts
from isthmus_file_worker.resources import text_type
from isthmus_file_worker.store import Status, Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look

COLUMNS = 1000
"""Columns that are named."""


class GetFileInfo(StoreArguments, kw_only=True):
    """Which file or folder."""

    path: str
    """File or folder."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a file or folder; what is not known of one is left out."""

    path: str
    kind: Literal["file", "folder"]
    modified: datetime | msgspec.UnsetType = msgspec.UNSET
    size: int | msgspec.UnsetType = msgspec.UNSET
    """In bytes; folders have none."""
    media_type: str | msgspec.UnsetType = msgspec.UNSET
    """By its first bytes."""
    stored_type: str | msgspec.UnsetType = msgspec.UNSET
    """As whoever put an object into a bucket said, where that is another."""
    etag: str | msgspec.UnsetType = msgspec.UNSET
    version: str | msgspec.UnsetType = msgspec.UNSET
    """Of an object in a bucket that keeps versions."""
    metadata: Mapping[str, str] | msgspec.UnsetType = msgspec.UNSET
    """Of an object, from those who put it there."""
    encoding: str | msgspec.UnsetType = msgspec.UNSET
    """Of what is written as text."""
    columns: list[Column] | msgspec.UnsetType = msgspec.UNSET
    """Of a table, with types where the format has them."""
    rows: int | msgspec.UnsetType | None = msgspec.UNSET
    """Of a table; null where they could not be counted in time."""
    sheets: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Of a workbook."""
    pages: int | msgspec.UnsetType = msgspec.UNSET
    """Of a document; of slides or, where the format has none, of about 3,000 characters."""
    entries: int | msgspec.UnsetType | None = msgspec.UNSET
    """Of an archive; null where they could not be counted in time."""
    width: int | msgspec.UnsetType = msgspec.UNSET
    height: int | msgspec.UnsetType = msgspec.UNSET
    """Of an image, in pixels, upright."""
    notes: list[str] | msgspec.UnsetType = msgspec.UNSET
    """What is not as one would think."""

    def text(self) -> str:
        """A line a fact, then a line a column."""
        facts = {
            "kind": self.kind,
            "size": None if self.size is msgspec.UNSET else f"{self.size} bytes",
            "modified": None if self.modified is msgspec.UNSET else shown(self.modified),
        }
        for name in ("media_type", "stored_type", "encoding", "etag", "version", "rows", "pages", "entries"):
            facts[name] = getattr(self, name)
        if self.sheets is not msgspec.UNSET:
            facts["sheets"] = ", ".join(self.sheets)
        if self.width is not msgspec.UNSET:
            facts["pixels"] = f"{self.width} x {self.height}"
        lines = [self.path or "The root"]
        lines += [f"{name}: {value}" for name, value in facts.items() if value not in (None, msgspec.UNSET)]
        if self.metadata is not msgspec.UNSET:
            lines += [f"metadata {name}: {value}" for name, value in self.metadata.items()]
        if self.columns is not msgspec.UNSET:
            lines.append("columns: " + ", ".join(f"{c.name} {c.type}".rstrip() for c in self.columns))
        return "\n".join(lines + [f"({note})" for note in ([] if self.notes is msgspec.UNSET else self.notes)])


async def get_file_info(call: Call[Store], arguments: GetFileInfo) -> FileInfo:
    """Tells size, time, type, etag and metadata of a file; columns and rows of a table; pages."""
    names = paths.parse(arguments.path)

    def work(stop: Stop) -> FileInfo:
        store = call.source.handle
        status = look(store, call.granted, names, stop)
        if status.kind == "folder":
            return _known(show(names), status)
        return _inspected(store, names, status, stop)

    return await call.source.handle.work(work, call.seconds)


def _known(path: str, status: Status) -> FileInfo:
    info = FileInfo(path=path, kind=status.kind, modified=status.modified or msgspec.UNSET)
    if status.kind == "folder":
        return info
    return replace(
        info,
        size=status.size,
        etag=status.etag,
        version=status.version or msgspec.UNSET,
        metadata=status.metadata or msgspec.UNSET,
    )


def _inspected(store: Store, names: paths.Names, status: Status, stop: Stop) -> FileInfo:
    path = show(names)
    with store.open_file(names) as file:
        kind = media.recognized(file, path)
        encoding = media.encoding_of(kind)
        media_type = text_type(names[-1]) if isinstance(kind, media.Text) else media.type_of(kind)
        info = replace(_known(path, status), media_type=media_type, encoding=encoding or msgspec.UNSET)
        if status.media_type not in ("", "application/octet-stream", media_type):
            info = replace(info, stored_type=status.media_type)
        if isinstance(kind, media.Text | media.Sound | media.Binary) or file.status.size == 0:
            return info
        try:
            found = extract(file, job_for(kind, file, path, "inspect"), stop)
        except ToolError as error:
            return replace(info, notes=[error.message])
    return _with(info, found, kind) if isinstance(found, Facts) else info


def _with(info: FileInfo, found: Facts, kind: media.Kind) -> FileInfo:
    if isinstance(kind, media.Table):
        info = replace(info, columns=(found.columns or [])[:COLUMNS], rows=found.rows)
    if isinstance(kind, media.Archive):
        info = replace(info, entries=found.entries)
    for name in ("sheets", "pages", "width", "height", "notes"):
        if value := getattr(found, name):
            info = replace(info, **{name: value})
    return info
