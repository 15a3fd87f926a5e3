"""A bucket as a store: keys with slashes are shown as files in folders.

A folder is there when a key begins with its path and a slash; an empty object of just that key, a marker, keeps it
there without files, and is never shown as one. Other programs can give one path to an object and to a folder; then
the object is what the path means, and both are listed.
"""

import io
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from isthmus.errors import Conflict, InvalidArguments, NotFound, TooLarge, ToolError
from isthmus.plans import Writes
from isthmus_file_worker import threads
from isthmus_file_worker.indexing import Index
from isthmus_file_worker.locations import BucketLocation
from isthmus_file_worker.paths import DEPTH, Names, can_be_named, show
from isthmus_file_worker.s3 import NEW, PAGE, Client, Condition, Item, Piece, same
from isthmus_file_worker.store import Content, Existing, Found, Look, Placed, Selection, Status
from isthmus_file_worker.threads import Stop

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")

KEY_BYTES = 1024
"""What S3 allows in a key."""
FIRST = 64 * 1024
"""Bytes that are fetched when a file is opened: enough to tell what it is, and often all of it."""
LARGEST = 4 * 1024 * 1024
"""Bytes that are fetched, and kept, at a time."""
MOST = 10_000
"""Objects that are copied or moved in one call."""
LAST = "\U0010ffff"
"""No name comes after this."""


class OpenObject:
    """An object, of which the beginning is here."""

    def __init__(self, client: Client, key: str, path: str, first: Piece) -> None:
        self.status = Status("file", first.size, first.modified, first.etag)
        self._client = client
        self._key = key
        self._path = path
        self._first = first

    def read(self, offset: int, size: int) -> bytes:
        data = self._first.data[offset : offset + size]
        begin, end = offset + len(data), min(offset + size, self.status.size)
        while begin < end:
            piece = self._client.piece(self._key, self._path, begin, min(end - begin, LARGEST), self._first.etag)
            if piece is None or not piece.data:
                raise Conflict(f"{self._path} was changed by another at the same moment; look at it again.")
            data += piece.data
            begin += len(piece.data)
        return data

    def stream(self, stop: Stop) -> io.RawIOBase:
        return ObjectStream(self, stop)


class ObjectStream(io.RawIOBase):
    """An object from its beginning, in pieces that grow: few bytes for the first lines, few requests for the last."""

    def __init__(self, file: OpenObject, stop: Stop) -> None:
        self._file = file
        self._stop = stop
        self._offset = 0
        self._size = FIRST
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        self._stop.check()
        if not self._piece:
            self._piece = memoryview(self._file.read(self._offset, self._size))
            self._offset += len(self._piece)
            self._size = min(self._size * 2, LARGEST)
        target = memoryview(buffer)
        count = min(len(target), len(self._piece))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count


class Listing:
    """The keys of a bucket that begin with a prefix, in order."""

    def __init__(self, client: Client, prefix: str, after: str, path: str, *, cut: bool) -> None:
        """Begins after the key `after`; with `cut`, keys end at the next slash. `path` is for messages."""
        self._client = client
        self._prefix = prefix
        self._after = after
        self._path = path
        self._cut = cut
        self._left: str | None = None

    def leave(self, prefix: str) -> None:
        """Keys that begin with this are not wanted; the latest one did."""
        self._left = prefix

    def items(self, stop: Stop) -> Iterator[Item]:
        """Fetched as they are taken."""
        token = ""
        while True:
            stop.check()
            page = self._client.page(self._prefix, self._after, token, self._path, cut=self._cut)
            inside = False
            for item in page.items:
                inside = self._left is not None and item.key.startswith(self._left)
                if not inside:
                    yield item
                    inside = self._left is not None and item.key.startswith(self._left)
            token = page.token
            if not token:
                return
            if inside and self._left:
                self._after, token = self._left + LAST, ""


class Bucket:
    """A Store over a bucket."""

    def __init__(
        self,
        name: str,
        location: BucketLocation,
        access_key: str,
        secret_key: str,
        limit: int = 16,
        writes: Writes = "direct",
        index: Index | None = None,
    ) -> None:
        self.name = name
        self.index = index
        self.writes: Writes = writes
        self._prefix = location.prefix
        self._client = Client(name, location, access_key, secret_key, limit)
        self._pool = ThreadPoolExecutor(limit + (index is not None), thread_name_prefix=name)
        self._keeps_markers: bool | None = None
        """Whether the endpoint keeps an empty object whose key ends with a slash; None: not tried yet."""

    async def work(self, work: Callable[[Stop], T], seconds: float) -> T:
        def timed(stop: Stop) -> T:
            self._client.pool.limit(stop.left)
            return work(stop)

        return await threads.run(self._pool, timed, seconds)

    def close(self) -> None:
        """Gives up the threads."""
        self._pool.shutdown()

    def status(self, names: Names) -> Status:
        if names and (item := self._object(names)):
            return item.status
        if names and not self._is_folder(names):
            raise NotFound(f"There is no {show(names)}.")
        return Status("folder")

    def entries(self, names: Names, stop: Stop) -> Generator[tuple[str, bool]]:
        prefix = self._folder_key(names)
        for item in Listing(self._client, prefix, "", show(names), cut=True).items(stop):
            name = item.key.removeprefix(prefix)
            if can_be_named(name.removesuffix("/")):
                yield name.removesuffix("/"), name.endswith("/")

    def walk(self, selection: Selection, stop: Stop) -> Generator[tuple[Names, Status]]:
        """Without markers of folders, and without keys that no path can name."""
        start, after, sees = selection.start, selection.after, selection.sees
        begin = self._prefix + after if after else ""
        cut = selection.levels == 1
        if after.endswith("/") and cut:
            begin += LAST
        listing = Listing(self._client, self._folder_key(start), begin, show(start), cut=cut)
        latest = start
        for item in listing.items(stop):
            names = self._names(item.key)
            folders, latest = _entered(names[:-1], latest), names[:-1]
            closed = None
            for folder in folders:
                if not (_nameable(folder) and sees(show(folder), True)):
                    closed = folder
                    break
                if f"{show(folder)}/" > after and selection.wanted(folder):
                    yield folder, Status("folder")
                if len(folder) - len(start) == selection.levels:
                    closed = folder
                    break
            if closed:
                listing.leave(self._folder_key(closed))
            elif _nameable(names) and show(names) > after and sees(show(names), False) and selection.wanted(names):
                yield names, item.status

    def link(self, names: Names, seconds: int) -> str:
        """A URL with which anybody may fetch the file for that long, whoever may read it by then."""
        self._client.head(self._key(names), show(names))
        return self._client.link(self._key(names), seconds)

    @contextmanager
    def open_file(self, names: Names) -> Generator[OpenObject]:
        key, path = self._key(names), show(names)
        first = self._client.piece(key, path, 0, FIRST)
        if first is None:  # there is no range in what is empty
            first = Piece(b"", 0, self._client.head(key, path).status.modified, "")
        yield OpenObject(self._client, key, path, first)

    def put(self, names: Names, content: Content, stop: Stop, *, make: bool, exact: bool) -> Placed:
        """On an endpoint that does not know conditional writes, of two that create or replace one file at the same
        moment both are told that they did, and the later one's stays."""
        key, path = self._key(names), show(names)
        found = self._found(names)
        if found is None and make:
            self._check_above(names)
        data = content(found)
        guaranteed = not exact or self._client.conditional  # asked before anything is written
        stop.check()
        kept: Condition = same(found.etag) if found is not None and exact and guaranteed else {}
        etag = self._client.put(key, path, data, NEW if found is None else kept)
        return Placed(found is None, etag, guaranteed)

    def make_folder(self, names: Names, stop: Stop) -> None:
        """Puts a marker. An endpoint that keeps none, such as one over a file system, has no empty folders."""
        path, key = show(names), self._folder_key(names)
        self._check_above(names)
        if self._keeps_markers is not False:
            stop.check()
            with suppress(Conflict):  # made by another meanwhile, which is just as well
                self._client.put(key, path, b"", NEW)
            self._keeps_markers = self._is_folder(names)
            made = None if self._keeps_markers else self._object(names)
            if made and made.status.size == 0:  # a file was made of it, without the slash
                self._client.delete([self._key(names)], path)
        if not self._keeps_markers:
            raise ToolError(f"The store {self.name} keeps no empty folders; write a file into {path} and it is there.")

    def copy(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        self._copy(names, to, look, begin, stop)

    def move(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        """Copies, then deletes, as S3 knows no other way: who looks meanwhile sees both."""
        keys = self._copy(names, to, look, begin, stop)
        for first in range(0, len(keys), PAGE):
            self._client.delete(keys[first : first + PAGE], show(names))

    def delete(self, names: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        status = self.status(names)
        look(names, status)
        if status.kind == "file":
            begin()
            stop.check()
            self._client.delete([self._key(names)], show(names))
            return
        for _, found in self._below(names, stop):
            for below, known in found:
                look(below, known)
        begin()
        keys: list[str] = []
        for key, found in self._below(names, stop):
            for below, known in found:
                look(below, known)
            keys.append(key)
            if len(keys) == PAGE:
                self._client.delete(keys, show(names))
                keys.clear()
        if keys:
            self._client.delete(keys, show(names))

    def _copy(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> list[str]:
        """The keys that were copied; what has been is deleted again if one cannot be."""
        status = self.status(names)
        look(names, status)
        is_file = status.kind == "file"
        sources = {self._key(names): status.etag} if is_file else self._sources(names, look, stop)
        self._check_above(to)
        if self._existing(to):
            raise Conflict(f"{show(to)} is there already.")
        begin()
        path, copies = show(to), list[str]()
        try:
            for key, etag in sources.items():
                stop.check()
                copy = self._key(to) + key.removeprefix(self._key(names))
                self._client.copy(key, copy, path, etag)
                copies.append(copy)
        except BaseException:
            for first in range(0, len(copies), PAGE):
                self._client.delete(copies[first : first + PAGE], path)
            raise
        return list(sources)

    def _sources(self, names: Names, look: Look, stop: Stop) -> dict[str, str]:
        """The keys in a folder, with their etags."""
        sources: dict[str, str] = {}
        for key, found in self._below(names, stop):
            for below, known in found:
                if not can_be_named(below[-1]):
                    raise Conflict(f"{show(names)} holds an object whose name no path can have.")
                look(below, known)
            if len(sources) == MOST:
                raise TooLarge(f"{show(names)} has more than {MOST:,} objects, which is too much for one call.")
            sources[key] = found[-1][1].etag if found else ""  # a marker has none that matters
        return sources

    def _below(self, names: Names, stop: Stop) -> Iterator[tuple[str, list[tuple[Names, Status]]]]:
        """Every key in a folder, each with the entries that it adds to those of the keys before it."""
        latest = names
        for item in Listing(self._client, self._folder_key(names), "", show(names), cut=False).items(stop):
            below = self._names(item.key)
            folders, latest = _entered(below[:-1], latest), below[:-1]
            found = [(folder, Status("folder")) for folder in folders]
            if below[-1]:
                found.append((below, item.status))
            yield item.key, found

    def _found(self, names: Names) -> Found | None:
        try:
            status = self.status(names)
        except NotFound:
            return None

        def read() -> bytes:
            with self.open_file(names) as file:
                if file.status.etag != status.etag:
                    raise Conflict(f"{show(names)} was changed by another at the same moment; look at it again.")
                return file.read(0, status.size)

        return Found(status.kind, status.size, status.etag, read)

    def _existing(self, names: Names) -> Existing | None:
        try:
            return self.status(names).kind
        except NotFound:
            return None

    def _check_above(self, names: Names) -> None:
        """Raises Conflict where a folder would be in a file."""
        for depth in range(len(names) - 1, 0, -1):
            if self._is_folder(names[:depth]):
                return
            if self._object(names[:depth]):
                raise Conflict(f"{names[depth - 1]} is not a folder, so nothing can be put into it.")

    def _object(self, names: Names) -> Item | None:
        try:
            return self._client.head(self._key(names), show(names))
        except NotFound:
            return None

    def _is_folder(self, names: Names) -> bool:
        return bool(self._client.page(self._folder_key(names), "", "", show(names), cut=False, size=1).items)

    def _key(self, names: Names) -> str:
        if ".." in names:  # no path that was parsed has it, and a URL would lead elsewhere with it
            raise NotFound(f"There is no {show(names)}.")
        key = self._prefix + show(names)
        if len(key.encode()) > KEY_BYTES:
            raise InvalidArguments(f"Paths in the store {self.name} are shorter than that.")
        return key

    def _folder_key(self, names: Names) -> str:
        return f"{self._prefix}{show(names)}/" if names else self._prefix

    def _names(self, key: str) -> Names:
        """As they are in the key; the last is empty for a folder or its marker."""
        return tuple(key.removeprefix(self._prefix).split("/"))


def _entered(folders: Names, latest: Names) -> list[Names]:
    """The folders on the way to `folders` that are not on the way to `latest`, outermost first."""
    return [folders[:depth] for depth in range(1, len(folders) + 1) if folders[:depth] != latest[:depth]]


def _nameable(names: Names) -> bool:
    return len(names) <= DEPTH and can_be_named(names[-1])
