"""What the tools need of a store, be it a folder or a bucket. All but `work` blocks, and belongs into a thread."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from io import RawIOBase
from typing import Literal, Protocol, TypeVar

from isthmus_file_worker.paths import Names
from isthmus_file_worker.threads import Stop

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


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which entries of a folder a walk is to find."""

    start: Names
    """The folder."""
    after: str = ""
    """Only what comes after this key; the key of a file is its path, that of a folder its path with a slash."""
    deep: bool = False
    """Also what is in the folders below."""
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

    def put(
        self, names: Names, data: bytes, allow: Callable[[Existing | None], None], stop: Stop, *, make: bool
    ) -> bool:
        """Writes a whole file or nothing, and returns whether it is a new one.

        `allow` raises where what is there now does not permit it. With `make`, folders that are not there are made.
        """
        ...

    def make_folder(self, names: Names, stop: Stop) -> None:
        """Makes a folder, and those above it that are not there."""
        ...

    def delete_file(self, names: Names) -> None:
        """Deletes a file. Raises NotFound for what is none."""
        ...

    def delete_folder(self, names: Names, may_go: Callable[[Names], None], stop: Stop) -> int:
        """Deletes a folder with all that is in it, and counts all that is gone.

        `may_go` raises for an entry that must stay; every one is asked for before anything is gone.
        """
        ...
