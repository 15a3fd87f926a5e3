"""`list_files`: what is in a folder, in order of paths, page by page."""

import base64
import binascii
import heapq
import itertools
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from isthmus.errors import InvalidArguments
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.folder import Folder, enter, entries, kind_of, modified
from isthmus_file_worker.globs import Glob
from isthmus_file_worker.paths import DEPTH, Names, show
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look, sees

BATCH = 10_000
"""Names of one folder that are sorted, and kept, at a time."""


class ListFiles(StoreArguments, kw_only=True):
    """Which entries to list."""

    path: str = ""
    """The folder to list, such as `reports/2026`; empty: the root of the store."""
    recursive: bool = False
    """Also list what is in the folders below."""
    pattern: str = ""
    """Only entries like this: `*.csv`, `invoice-??.pdf`; with a slash it is matched from the folder on and looks into
    the folders below: `2026/**/*.csv`."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200
    """Entries per page."""
    cursor: str | None = None
    """`next_cursor` of the page before."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file or a folder."""

    path: str
    """From the root of the store."""
    kind: Literal["file", "folder"]
    size: int | None
    """In bytes; folders have none."""
    modified: datetime


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """A page of entries, in order of their paths."""

    path: str
    entries: list[Entry]
    truncated: bool
    """Whether there is more."""
    next_cursor: str | None = None

    def text(self) -> str:
        """One line an entry: path, bytes, when it was changed; folders end with a slash."""
        lines = [
            f"{e.path}/" if e.kind == "folder" else f"{e.path}\t{e.size}\t{shown(e.modified)}" for e in self.entries
        ]
        if not lines:
            lines.append(f"There is nothing to list in {self.path or 'the store'}.")
        if self.next_cursor:
            lines.append(f'There is more: call again with cursor "{self.next_cursor}".')
        return "\n".join(lines)


async def list_files(call: Call[Folder], arguments: ListFiles) -> Files:
    """Lists the files and folders in a folder of a file store, with size in bytes and time of the last change."""
    names = paths.parse(arguments.path)
    glob = Glob(arguments.pattern) if arguments.pattern else None
    after = _decoded(arguments.cursor) if arguments.cursor else ""

    def work(stop: Stop) -> Files:
        folder, granted = call.source.handle, call.granted
        if kind_of(look(folder, granted, names, stop)) == "file":
            raise InvalidArguments(f"{show(names)} is a file; use read_file.")
        deep = arguments.recursive or "/" in arguments.pattern
        walk = Walk(granted, names, glob, stop, deep=deep)
        with folder.open_folder(names) as descriptor, closing(walk.entries(descriptor, names, after)) as found:
            page = list(itertools.islice(found, arguments.limit))
            if next(found, None) is not None:
                return Files(path=show(names), entries=page, truncated=True, next_cursor=_encoded(page[-1].path))
        return Files(path=show(names), entries=page, truncated=False)

    return await call.source.handle.work(work)


class Walk:
    """Goes through a folder in the order of whole paths, holding one batch of names for each folder on the way."""

    def __init__(self, granted: Granted, start: Names, glob: Glob | None, stop: Stop, *, deep: bool) -> None:
        self._granted = granted
        self._start = len(start)
        self._glob = glob
        self._stop = stop
        self._deep = deep

    def entries(self, descriptor: int, names: Names, after: str) -> Generator[Entry]:
        """What the caller sees below an open folder and after the path `after`."""
        for key in self._keys(descriptor, names, after):
            below = (*names, key.rstrip("/"))
            if not key.endswith("/"):
                if entry := self._entry(descriptor, below):
                    yield entry
            elif len(below) < DEPTH:
                try:
                    inner = enter(descriptor, below[-1])
                except OSError:
                    continue  # gone meanwhile, or closed to the worker
                try:
                    yield from self.entries(inner, below, after)
                finally:
                    os.close(inner)

    def _keys(self, descriptor: int, names: Names, after: str) -> Iterator[str]:
        """In order: `name` where an entry stands, `name/` where what is in the folder `name` follows."""
        prefix = f"{show(names)}/" if names else ""
        last = ""
        while True:
            found = (key for key in self._unordered(descriptor, prefix, names, after) if key > last)
            batch = heapq.nsmallest(BATCH, found)
            yield from batch
            if len(batch) < BATCH:
                return
            last = batch[-1]

    def _unordered(self, descriptor: int, prefix: str, names: Names, after: str) -> Iterator[str]:
        for name, is_folder in entries(descriptor, self._stop):
            path = prefix + name
            if not sees(self._granted, path, is_folder=is_folder):
                continue
            if path > after and (self._glob is None or self._glob.matches((*names[self._start :], name))):
                yield name
            if is_folder and self._deep and (f"{path}/" > after or after.startswith(f"{path}/")):
                yield f"{name}/"

    def _entry(self, parent: int, names: Names) -> Entry | None:
        try:
            status = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
        except OSError:
            return None  # gone meanwhile, or closed to the worker
        kind = kind_of(status)
        if kind is None or not sees(self._granted, show(names), is_folder=kind == "folder"):
            return None
        size = None if kind == "folder" else status.st_size
        return Entry(path=show(names), kind=kind, size=size, modified=modified(status))


def shown(moment: datetime) -> str:
    """As in `2026-09-30T08:15:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _encoded(path: str) -> str:
    return base64.urlsafe_b64encode(path.encode()).decode()


def _decoded(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidArguments("That cursor is not one that list_files returned.") from None
