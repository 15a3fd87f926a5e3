"""A local folder as a store. Every step goes relative to an open directory, so no link leads out of it.

A path is walked name by name with `O_NOFOLLOW`: what was checked is what is used, whatever others do to the disk
meanwhile. Symbolic links and special files do not exist here.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from isthmus.errors import Conflict, NotAllowed, NotFound, SourceUnavailable, ToolError
from isthmus_file_worker import threads
from isthmus_file_worker.paths import Names, can_be_named, show
from isthmus_file_worker.threads import Stop

T = TypeVar("T")

logger = logging.getLogger("isthmus.files")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_CHANGED = (errno.EEXIST, errno.ENOTEMPTY)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)

LATEST = 253402300799
"""The last second that ISO 8601 can write with four digits for the year."""


class Folder:
    """The handle of a store. All but `work` blocks, and belongs into a thread."""

    def __init__(self, name: str, root: Path, limit: int = 16) -> None:
        """`root` itself may be a link: whoever configures the store decides that."""
        self.name = name
        self.root = root
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix=name)

    async def work(self, work: Callable[[Stop], T]) -> T:
        """Runs blocking work in one of this store's own threads: a disk that hangs holds up no other store."""
        return await threads.run(self._pool, work)

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
    def open_file(self, names: Names) -> Generator[tuple[int, os.stat_result]]:
        """The descriptor of a regular file, with its status. Nothing else is ever opened."""
        with self.open_folder(names[:-1]) as parent, self.explained(names):
            if not stat.S_ISREG(os.stat(names[-1], dir_fd=parent, follow_symlinks=False).st_mode):
                raise FileNotFoundError
            descriptor = os.open(names[-1], _FILE, dir_fd=parent)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError
                yield descriptor, status
            finally:
                os.close(descriptor)

    def status(self, names: Names) -> os.stat_result:
        """The status of a regular file or a folder. Raises NotFound for anything else."""
        if not names:
            with self.open_folder(()) as descriptor:
                return os.fstat(descriptor)
        with self.open_folder(names[:-1]) as parent, self.explained(names):
            status = os.stat(names[-1], dir_fd=parent, follow_symlinks=False)
            if kind_of(status) is None:
                raise FileNotFoundError
            return status

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


def kind_of(status: os.stat_result) -> Literal["file", "folder"] | None:
    """None for links and special files, which do not exist here."""
    return "folder" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else None


def modified(status: os.stat_result) -> datetime:
    """When it was changed last, in UTC, to the second."""
    return datetime.fromtimestamp(min(max(int(status.st_mtime), 0), LATEST), UTC)


def entries(descriptor: int, stop: Stop) -> Iterator[tuple[str, bool]]:
    """Name and whether it is a folder, of all that a path can name in an open folder, in no order."""
    with os.scandir(descriptor) as found:
        for entry in found:
            stop.check()
            is_folder = entry.is_dir(follow_symlinks=False)
            if (is_folder or entry.is_file(follow_symlinks=False)) and can_be_named(entry.name):
                yield entry.name, is_folder


def enter(parent: int, name: str, *, make: bool = False) -> int:
    """Opens the folder `name` in an open one. Raises OSError for links and for all that is no folder."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as error:
        if make and error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise Conflict(f"{name} is not a folder, so nothing can be put into it.") from None
        raise
    with suppress(FileExistsError):  # made by another meanwhile, which is just as well
        os.mkdir(name, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)
