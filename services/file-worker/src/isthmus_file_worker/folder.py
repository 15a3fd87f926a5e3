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
from isthmus.plans import Writes
from isthmus_file_worker import descriptors, emptying, threads, walking
from isthmus_file_worker.copying import copy_file, copy_folder, remove
from isthmus_file_worker.descriptors import check_names, enter, kind_of, look_at, status_of, status_of_any
from isthmus_file_worker.indexing import Index
from isthmus_file_worker.locking import locked
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.placing import PIECE, aside, fill, settle, take_name
from isthmus_file_worker.store import Content, Found, Kind, Look, Placed, Selection, Status
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

    def __init__(
        self, name: str, root: Path, limit: int = 16, writes: Writes = "direct", index: Index | None = None
    ) -> None:
        """`root` itself may be a link: whoever configures the store decides that."""
        self.name = name
        self.index = index
        self.writes: Writes = writes
        self.root = root
        self._pool = ThreadPoolExecutor(limit + (index is not None), thread_name_prefix=name)

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
                check_names(names)
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
            check_names(names)
            if kind_of(look_at(parent, names[-1])) != "file":
                raise FileNotFoundError
            descriptor = os.open(names[-1], _FILE, dir_fd=parent)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError
                yield OpenLocalFile(descriptor, status_of(status))
                now = os.fstat(descriptor)
                # What only grew was added to, as logs are, and what was read of it is right.
                if now.st_size <= status.st_size and now.st_mtime_ns != status.st_mtime_ns:
                    raise Conflict(f"{show(names)} was changed by another while it was read; read it again.")
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

    def put(self, names: Names, content: Content, stop: Stop, *, make: bool, exact: bool) -> Placed:
        if not self._is_there(names[:-1]):
            content(None)  # refuses, if it does, before folders are made
        with (
            self.open_folder(names[:-1], make=make) as parent,
            self.explained(names),
            locked(parent, stop) as alone,
            aside(parent) as new,
        ):
            before = _found(parent, names[-1])
            data = memoryview(content(self._shown(names, before)))
            mode = before.st_mode if before else None
            fill(parent, new, lambda offset: data[offset : offset + PIECE], mode, stop)
            stop.check()
            if before is None:
                take_name(parent, new, parent, names[-1])
            else:
                if exact and not _same(before, _found(parent, names[-1])):
                    raise Conflict(f"{show(names)} was changed by another at the same moment; look at it again.")
                os.rename(new, names[-1], src_dir_fd=parent, dst_dir_fd=parent)
            settle(parent)
            return Placed(before is None, status_of_any(look_at(parent, names[-1])).etag, alone)

    def make_folder(self, names: Names, stop: Stop) -> None:
        stop.check()
        with self.open_folder(names, make=True):
            pass

    def copy(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        with self.open_folder(names[:-1]) as source, self.explained(names):
            is_folder = self._look(source, names, look, stop) == "folder"
            self._check_free(to)
            begin()
            with self.open_folder(to[:-1], make=True) as target, self.explained(to), aside(target) as new:
                if is_folder:
                    self._copy_folder(source, names[-1], target, new, stop)
                else:
                    copy_file(source, names[-1], target, new, stop)
                try:
                    take_name(target, new, target, to[-1], is_folder=is_folder)
                except OSError:
                    remove(target, new)
                    raise
                settle(target)

    def move(self, names: Names, to: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        with (
            self.open_folder(names[:-1]) as source,
            self.explained(names),
            locked(source, stop),
        ):
            is_folder = self._look(source, names, look, stop) == "folder"
            self._check_free(to)
            begin()
            with self.open_folder(to[:-1], make=True) as target, self.explained(to):
                try:
                    take_name(source, names[-1], target, to[-1], is_folder=is_folder)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    raise Conflict(
                        f"{show(to)} is on another disk, where {show(names)} cannot be moved; copy it and delete the "
                        "original."
                    ) from None
                settle(target)
            settle(source)

    def delete(self, names: Names, look: Look, begin: Callable[[], None], stop: Stop) -> None:
        with self.open_folder(names[:-1]) as parent, self.explained(names), locked(parent, stop):
            kind = self._look(parent, names, look, stop)
            begin()
            stop.check()
            if kind == "file":
                os.unlink(names[-1], dir_fd=parent)
                return
            descriptor = enter(parent, names[-1])
            try:
                emptying.empty(descriptor, names, look, stop)
            finally:
                os.close(descriptor)
            os.rmdir(names[-1], dir_fd=parent)

    def _look(self, parent: int, names: Names, look: Look, stop: Stop) -> Kind:
        """Shows an entry of an open folder, and all that is in it."""
        status = status_of(look_at(parent, names[-1]))
        look(names, status)
        if status.kind == "folder":
            descriptor = enter(parent, names[-1])
            try:
                emptying.look_into(descriptor, names, look, stop)
            finally:
                os.close(descriptor)
        return status.kind

    def _copy_folder(self, source: int, name: str, target: int, new: str, stop: Stop) -> None:
        inner = enter(source, name)
        try:
            made = enter(target, new, make=True)
            try:
                copy_folder(inner, made, stop)
            except BaseException:
                remove(target, new)
                raise
            finally:
                os.close(made)
        finally:
            os.close(inner)

    def _is_there(self, names: Names) -> bool:
        try:
            self.status(names)
        except NotFound:
            return False
        return True

    def _check_free(self, names: Names) -> None:
        if self._is_there(names):
            raise Conflict(f"{show(names)} is there already.")

    def _shown(self, names: Names, status: os.stat_result | None) -> Found | None:
        if status is None:
            return None
        known = status_of_any(status)

        def read() -> bytes:
            with self.open_file(names) as file:
                if file.status.etag != known.etag:
                    raise Conflict(f"{show(names)} was changed by another at the same moment; look at it again.")
                return file.read(0, known.size)

        return Found(kind_of(status) or "other", known.size, known.etag, read)

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


def _found(parent: int, name: str) -> os.stat_result | None:
    try:
        return look_at(parent, name)
    except FileNotFoundError:
        return None


def _same(before: os.stat_result, now: os.stat_result | None) -> bool:
    return now is not None and status_of_any(before).etag == status_of_any(now).etag
