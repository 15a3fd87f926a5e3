"""A local folder as a store. Every step goes relative to an open directory, so no link leads out of it.

A path is walked name by name with `O_NOFOLLOW`: what was checked is what is used, whatever others do to the disk
meanwhile. Symbolic links and special files do not exist here.
"""

import errno
import io
import logging
import os
import stat
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from isthmus.errors import Conflict, NotAllowed, NotFound, SourceUnavailable, ToolError
from isthmus_file_worker import descriptors, emptying, threads, walking
from isthmus_file_worker.descriptors import enter, kind_of, look_at, status_of
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.placing import place
from isthmus_file_worker.store import Existing, Selection, Status
from isthmus_file_worker.threads import Stop

T = TypeVar("T")

logger = logging.getLogger("isthmus.files")

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_CHANGED = (errno.EEXIST, errno.ENOTEMPTY)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


class OpenLocalFile:
    """A regular file, by its descriptor."""

    def __init__(self, descriptor: int, status: Status) -> None:
        self.status = status
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def stream(self, stop: Stop) -> io.RawIOBase:
        return io.FileIO(self._descriptor, closefd=False)


class Folder:
    """A Store over a folder."""

    def __init__(self, name: str, root: Path, limit: int = 16) -> None:
        """`root` itself may be a link: whoever configures the store decides that."""
        self.name = name
        self.root = root
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix=name)

    async def work(self, work: Callable[[Stop], T], seconds: float) -> T:
        return await threads.run(self._pool, work, seconds)

    def close(self) -> None:
        """Gives up the threads."""
        self._pool.shutdown()

    @contextmanager
    def open_folder(self, names: Names, *, make: bool = False) -> Generator[int]:
        """The descriptor of a folder; with `make`, folders that are not there are made on the way."""
        with self.explained(names):
            descriptor = self._open_root()
            try:
                for name in names:
                    inner = enter(descriptor, name, make=make)
                    os.close(descriptor)
                    descriptor = inner
                yield descriptor
            finally:
                os.close(descriptor)

    @contextmanager
    def open_file(self, names: Names) -> Generator[OpenLocalFile]:
        """Opens a regular file and nothing else, ever."""
        with self.open_folder(names[:-1]) as parent, self.explained(names):
            if kind_of(look_at(parent, names[-1])) != "file":
                raise FileNotFoundError
            descriptor = os.open(names[-1], _FILE, dir_fd=parent)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError
                yield OpenLocalFile(descriptor, status_of(status))
            finally:
                os.close(descriptor)

    def status(self, names: Names) -> Status:
        if not names:
            with self.open_folder(()) as descriptor:
                return status_of(os.fstat(descriptor))
        with self.open_folder(names[:-1]) as parent, self.explained(names):
            return status_of(look_at(parent, names[-1]))

    def entries(self, names: Names, stop: Stop) -> Generator[tuple[str, bool]]:
        with self.open_folder(names) as descriptor:
            yield from descriptors.entries(descriptor, stop)

    def walk(self, selection: Selection, stop: Stop) -> Generator[tuple[Names, Status]]:
        with (
            self.open_folder(selection.start) as descriptor,
            closing(walking.walk(descriptor, selection.start, selection, stop)) as found,
        ):
            yield from found

    def put(
        self, names: Names, data: bytes, allow: Callable[[Existing | None], None], stop: Stop, *, make: bool
    ) -> bool:
        with self.open_folder(names[:-1], make=make) as parent, self.explained(names):
            try:
                existing = look_at(parent, names[-1])
            except FileNotFoundError:
                existing = None
            allow(None if existing is None else kind_of(existing) or "other")
            place(parent, names[-1], data, existing, stop)
        return existing is None

    def make_folder(self, names: Names, stop: Stop) -> None:
        stop.check()
        with self.open_folder(names, make=True):
            pass

    def delete_file(self, names: Names) -> None:
        with self.open_folder(names[:-1]) as parent, self.explained(names):
            if kind_of(look_at(parent, names[-1])) != "file":
                raise FileNotFoundError
            os.unlink(names[-1], dir_fd=parent)

    def delete_folder(self, names: Names, may_go: Callable[[Names], None], stop: Stop) -> int:
        with self.open_folder(names[:-1]) as parent, self.explained(names):
            descriptor = enter(parent, names[-1])
            try:
                emptying.check(descriptor, names, may_go, stop)
                deleted = emptying.empty(descriptor, names, may_go, stop)
            finally:
                os.close(descriptor)
            os.rmdir(names[-1], dir_fd=parent)
        return deleted + 1

    def _open_root(self) -> int:
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            logger.warning("%s: %s cannot be opened: %s", self.name, self.root, error.strerror)
            raise SourceUnavailable(f"The store {self.name} cannot be reached at the moment.") from None

    @contextmanager
    def explained(self, names: Names) -> Generator[None]:
        """Says in a sentence what the system says in numbers, and logs the numbers."""
        try:
            yield
        except OSError as error:
            if error.errno not in (None, *_ABSENT):
                logger.warning("%s: %s: %s", self.name, show(names), error.strerror)
            raise self._explanation(error, show(names)) from None

    def _explanation(self, error: OSError, path: str) -> ToolError:
        if error.errno is None or error.errno in _ABSENT:
            return NotFound(f"There is no {path}.")
        if error.errno in _CHANGED:
            return Conflict(f"{path} was changed by another at the same moment; look at it again.")
        if error.errno in _CLOSED:
            return NotAllowed(f"The store {self.name} does not give its worker that access to {path or 'its root'}.")
        if error.errno in _FULL:
            return SourceUnavailable(f"The store {self.name} has no room left for {path}.")
        return SourceUnavailable(f"The store {self.name} could not do that; its worker's log has the reason.")
