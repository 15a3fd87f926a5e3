"""Open folders on a local disk, and steps from one to the next that no link can lead astray."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from isthmus.errors import Conflict
from isthmus_file_worker.paths import can_be_named
from isthmus_file_worker.store import Kind, Status
from isthmus_file_worker.threads import Stop

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

LATEST = 253402300799
"""The last second that ISO 8601 can write with four digits for the year."""


def kind_of(status: os.stat_result) -> Kind | None:
    """None for links and special files, which do not exist here."""
    return "folder" if stat.S_ISDIR(status.st_mode) else "file" if stat.S_ISREG(status.st_mode) else None


def status_of(status: os.stat_result) -> Status:
    """Raises FileNotFoundError for links and special files."""
    if kind_of(status) is None:
        raise FileNotFoundError
    return status_of_any(status)


def status_of_any(status: os.stat_result) -> Status:
    """The same, where links and special files count as files."""
    modified = datetime.fromtimestamp(min(max(int(status.st_mtime), 0), LATEST), UTC)
    if stat.S_ISDIR(status.st_mode):
        return Status("folder", 0, modified)
    return Status("file", status.st_size, modified, _etag(status))


def _etag(status: os.stat_result) -> str:
    """Another one after every change: a file that is replaced is another inode, one that is written to has another
    time of change, which nobody can set."""
    known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.blake2b(repr(known).encode(), digest_size=8).hexdigest()


def check_names(names: Iterable[str]) -> None:
    """Raises FileNotFoundError for names that are steps elsewhere, which no path that was parsed has."""
    if any(name in ("", ".", "..") or "/" in name for name in names):
        raise FileNotFoundError


def look_at(parent: int, name: str) -> os.stat_result:
    """The status of `name` in an open folder, of a link that of the link itself."""
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


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
