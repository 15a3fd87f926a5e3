"""What the tools need of a store, be it a folder or a bucket. All but `work` blocks, and belongs into a thread."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from io import RawIOBase
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from isthmus.plans import Writes
from isthmus_file_worker.paths import Names
from isthmus_file_worker.threads import Stop

if TYPE_CHECKING:
    from isthmus_file_worker.indexing import Index

T = TypeVar("T")

Kind = Literal["file", "folder"]
Existing = Literal["file", "folder", "other"]
"""What stands where a file is to be written; `other` is a link or a special file, which does not exist elsewhere."""


@dataclass(frozen=True)
class Status:
    """What is known of a file or folder without opening it."""

    kind: Kind
    size: int = 0
    """Bytes of a file."""
    modified: datetime | None = None
    """In UTC, to the second; folders in a bucket have no such time."""
    etag: str = ""
    """Of a file: another content has another one (RFC 9110, section 8.8.3), here without quotes."""
    version: str = ""
    """Of an object in a bucket that keeps versions, where it alone was asked for."""
    media_type: str = ""
    """Of an object, as whoever put it there said, where it alone was asked for."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of an object, from those who put it there, where it alone was asked for."""


@dataclass(frozen=True)
class Found:
    """What stands where a file is to be written."""

    kind: Existing
    size: int
    etag: str
    read: Callable[[], bytes]
    """Its bytes. Raises Conflict for what is another now."""


@dataclass(frozen=True)
class Placed:
    """A file that was written."""

    created: bool
    etag: str
    exact: bool
    """Whether nobody can have changed, between the look at what stood there and the writing, what was replaced."""


Content = Callable[[Found | None], bytes]
"""The bytes of a file, given what stands there; raises where that does not permit it."""

Look = Callable[[Names, Status], None]
"""Is shown each entry that a change is about; raises where it must not be changed."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which entries of a folder a walk is to find."""

    start: Names
    """The folder."""
    after: str = ""
    """Only what comes after this key; the key of a file is its path, that of a folder its path with a slash."""
    levels: int = 1
    """Of folders to look into, the first being that folder itself."""
    sees: Callable[[str, bool], bool]
    """Whether the caller may know of a path, given whether it is a folder. Folders hidden so are not entered."""
    wanted: Callable[[Names], bool]
    """Whether an entry that is seen is to be found."""


class OpenFile(Protocol):
    """A file that is open for reading."""

    @property
    def status(self) -> Status: ...

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        ...

    def stream(self, stop: Stop) -> RawIOBase:
        """The whole file from its beginning, fetched as it is read."""
        ...


class Store(Protocol):
    """The handle of a store. Raises ToolErrors with a sentence for whoever calls."""

    @property
    def name(self) -> str: ...

    @property
    def writes(self) -> Writes:
        """How files are changed."""
        ...

    @property
    def index(self) -> "Index | None":
        """Of the text in its files, where the configuration asks for one."""
        ...

    async def work(self, work: Callable[[Stop], T], seconds: float) -> T:
        """Runs blocking work in one of this store's own threads: a store that hangs holds up no other one."""
        ...

    def close(self) -> None:
        """Gives up the threads, once nothing runs in them any more."""
        ...

    def status(self, names: Names) -> Status:
        """Raises NotFound for what is neither a file nor a folder."""
        ...

    def entries(self, names: Names, stop: Stop) -> Generator[tuple[str, bool]]:
        """Name and whether it is a folder, of all that a path can name in a folder, in no order."""
        ...

    def walk(self, selection: Selection, stop: Stop) -> Generator[tuple[Names, Status]]:
        """The selected entries in the order of their keys, in constant memory."""
        ...

    def open_file(self, names: Names) -> AbstractContextManager[OpenFile]:
        """Raises NotFound for what is no file."""
        ...

    def put(self, names: Names, content: Content, stop: Stop, *, make: bool, exact: bool) -> Placed:
        """Writes a whole file or nothing.

        With `make`, folders that are not there are made. With `exact` a file is only replaced if it is still the one
        that `content` was shown, as far as the store can tell.
        """
        ...

    def make_folder(self, names: Names, stop: Stop) -> None:
        """Makes a folder, and those above it that are not there."""
        ...

    def copy(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        """Copies a file, or a folder with all that is in it, to where nothing is.

        All is there in the end or nothing. `look` is shown every entry, then `begin` is called, then it begins; either
        may raise. Folders above `to` are made. Raises Conflict where something is at `to`.
        """
        ...

    def move(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        """The same, and the original is gone in the end."""
        ...

    def delete(self, names: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        """Deletes a file, or a folder with all that is in it.

        `look` is shown every entry, also those that no path can name, before `begin` is called and anything is gone;
        and each once more right before it goes, for some may have come since.
        """
        ...
