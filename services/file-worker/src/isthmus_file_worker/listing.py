"""`list_files`: what is in a folder, in order of paths, page by page."""

import base64
import binascii
import heapq
import itertools
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from isthmus.errors import InvalidArguments
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.globs import Glob
from isthmus_file_worker.paths import DEPTH, Names, show
from isthmus_file_worker.store import Selection, Status, Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look, sees

Rank = tuple[int, str]
"""Of an entry, where the order is not that of paths."""
FIRST: Rank = (-(2**63), "")


class ListFiles(StoreArguments, kw_only=True):
    """Which entries to list."""

    path: str = ""
    """The folder; left out: the root."""
    recursive: bool = False
    """Also what is in the folders below."""
    depth: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """So many levels of folders; 1 is this one."""
    pattern: str = ""
    """Only such names: `*.csv`, or paths from the folder on: `2026/**/*.csv`."""
    order_by: Literal["path", "-modified", "-size"] = "path"
    """`-modified`: the newest first; `-size`: the largest."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200
    """Entries at most."""
    cursor: str | None = None
    """`next_cursor` of the page before; all else but limit as before."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file or a folder."""

    path: str
    """From the root of the store."""
    kind: Literal["file", "folder"]
    size: int | None
    """In bytes; folders have none."""
    modified: datetime | None
    """Folders in a bucket have no such time."""


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """A page of entries, in order of their paths if not asked otherwise; the path of a folder counts with a slash."""

    path: str
    entries: list[Entry]
    truncated: bool
    """Whether there is more."""
    next_cursor: str | None = None

    def text(self) -> str:
        """One line an entry: path, bytes, when it was changed; folders end with a slash."""
        lines = [
            f"{e.path}\t{e.size}\t{shown(e.modified)}" if e.modified and e.kind == "file" else _key(e)
            for e in self.entries
        ]
        if not lines:
            lines.append(f"There is nothing to list in {self.path or 'the store'}.")
        if self.next_cursor:
            lines.append(f'There is more: call again with cursor "{self.next_cursor}".')
        return "\n".join(lines)


async def list_files(call: Call[Store], arguments: ListFiles) -> Files:
    """Lists the files and folders in a folder, with size in bytes and time of the last change."""
    names = paths.parse(arguments.path)
    glob = Glob(arguments.pattern) if arguments.pattern else None
    by_path = arguments.order_by == "path"
    after = _decoded(arguments.cursor, by_path=by_path) if arguments.cursor else ("" if by_path else FIRST)
    levels = DEPTH if arguments.recursive or "/" in arguments.pattern else 1

    def work(stop: Stop) -> Files:
        store, granted = call.source.handle, call.granted
        if look(store, granted, names, stop).kind == "file":
            raise InvalidArguments(f"{show(names)} is a file; use read_file.")
        selection = Selection(
            start=names,
            after=after if isinstance(after, str) else "",
            levels=arguments.depth or levels,
            sees=lambda path, is_folder: sees(granted, path, is_folder=is_folder),
            wanted=lambda found: glob is None or glob.matches(found[len(names) :]),
        )
        with closing(store.walk(selection, stop)) as found:
            entries = (_entry(*one) for one in found)
            if isinstance(after, str):
                page = list(itertools.islice(entries, arguments.limit + 1))
            else:
                page = _first(entries, arguments, after)
        more = len(page) > arguments.limit
        page = page[: arguments.limit]
        return Files(
            path=show(names),
            entries=page,
            truncated=more,
            next_cursor=_encoded(_key(page[-1]) if by_path else _rank(page[-1], arguments.order_by)) if more else None,
        )

    return await call.source.handle.work(work, call.seconds)


def _first(entries: Iterable[Entry], arguments: ListFiles, after: Rank) -> list[Entry]:
    """One more than the page takes, keeping no more than that of all entries."""

    def rank(entry: Entry) -> Rank:
        return _rank(entry, arguments.order_by)

    return heapq.nsmallest(arguments.limit + 1, (entry for entry in entries if rank(entry) > after), key=rank)


def _rank(entry: Entry, order_by: str) -> Rank:
    """Smaller comes first; what has no size or time comes last."""
    value = entry.size if order_by == "-size" else entry.modified and int(entry.modified.timestamp())
    return (1 if value is None else -value, _key(entry))


def _entry(names: Names, status: Status) -> Entry:
    size = status.size if status.kind == "file" else None
    return Entry(path=show(names), kind=status.kind, size=size, modified=status.modified)


def _key(entry: Entry) -> str:
    return f"{entry.path}/" if entry.kind == "folder" else entry.path


def shown(moment: datetime) -> str:
    """As in `2026-09-30T08:15:00Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _encoded(place: str | Rank) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _decoded(cursor: str, *, by_path: bool) -> str | Rank:
    try:
        place = base64.b64decode(cursor, b"-_", validate=True)
        return msgspec.json.decode(place, type=str) if by_path else msgspec.json.decode(place, type=Rank)
    except (binascii.Error, ValueError):
        raise InvalidArguments("That cursor is not one that list_files returned.") from None
