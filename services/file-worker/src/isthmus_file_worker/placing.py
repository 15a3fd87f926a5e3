"""Files on a local disk that are there whole or not at all."""

import errno
import os
import secrets
import stat
from contextlib import suppress

from isthmus_file_worker.paths import ASIDE
from isthmus_file_worker.threads import Stop

PIECE = 1024 * 1024
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def place(parent: int, name: str, data: bytes, existing: os.stat_result | None, stop: Stop) -> None:
    """Writes the file aside, brings it to the disk, then gives it its name. Raises FileExistsError for a new file
    whose name was taken meanwhile."""
    aside = f"{ASIDE}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(aside, flags, 0o666, dir_fd=parent)
    try:
        with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  (a descriptor, not a path)
            if existing is not None:
                os.fchmod(descriptor, stat.S_IMODE(existing.st_mode) & 0o777)
            rest = memoryview(data)
            while rest:
                stop.check()
                rest = rest[file.write(rest[:PIECE]) :]
            os.fsync(descriptor)
        stop.check()
        if existing is None:
            publish(parent, aside, name)
        else:
            os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside, dir_fd=parent)
    with suppress(OSError):  # not every file system can; the file itself is safe
        os.fsync(parent)


def publish(parent: int, aside: str, name: str) -> None:
    """Gives a file its name unless something has it: then FileExistsError."""
    try:
        os.link(aside, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        publish_without_links(parent, aside, name)


def publish_without_links(parent: int, aside: str, name: str) -> None:
    """The same on file systems that know no hard links: takes the name first, then fills it."""
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=parent))
    try:
        os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        os.unlink(name, dir_fd=parent)
        raise
