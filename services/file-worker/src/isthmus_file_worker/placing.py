"""Files on a local disk that are there whole or not at all, and names that are taken only once."""

import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache

from isthmus_file_worker.paths import ASIDE
from isthmus_file_worker.threads import Stop

PIECE = 1024 * 1024
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NOT_KNOWN = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_NOREPLACE = 1
"""renameat2's flag (rename(2))."""


@contextmanager
def aside(parent: int) -> Generator[str]:
    """A name in an open folder for a file that is being written; what still has it in the end is deleted."""
    name = f"{ASIDE}{secrets.token_hex(8)}"
    try:
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)


def fill(parent: int, name: str, pieces: Callable[[int], bytes | memoryview], mode: int | None, stop: Stop) -> None:
    """Writes a new file and brings it to the disk. `pieces` gives the bytes from an offset on, none at the end."""
    with open(os.open(name, _NEW, 0o666, dir_fd=parent), "wb", buffering=0) as file:  # noqa: PTH123  (a descriptor)
        if mode is not None:
            os.fchmod(file.fileno(), stat.S_IMODE(mode) & 0o777)
        offset = 0
        while piece := pieces(offset):
            stop.check()
            offset += file.write(piece)
        os.fsync(file.fileno())


def settle(folder: int) -> None:
    """Brings the names in an open folder to the disk."""
    with suppress(OSError):  # not every file system can; the files themselves are safe
        os.fsync(folder)


def take_name(source: int, name: str, target: int, new: str, *, is_folder: bool = False) -> None:
    """Gives an entry another name, in another open folder maybe. Raises FileExistsError where something has it."""
    if _rename_to_nothing(source, name, target, new):
        return
    if is_folder:
        if _is_there(target, new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
        return
    try:
        os.link(name, new, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        take_name_without_links(source, name, target, new)
    else:
        os.unlink(name, dir_fd=source)


def take_name_without_links(source: int, name: str, target: int, new: str) -> None:
    """The same on file systems that know no hard links: takes the name first, then fills it."""
    os.close(os.open(new, _NEW, dir_fd=target))
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except OSError:
        os.unlink(new, dir_fd=target)
        raise


def _rename_to_nothing(source: int, name: str, target: int, new: str) -> bool:
    """False: neither system nor file system can."""
    rename = _renameat2()
    if rename is None or rename(source, os.fsencode(name), target, os.fsencode(new), _NOREPLACE) == 0:
        return rename is not None
    number = ctypes.get_errno()
    if number in _NOT_KNOWN:
        return False
    raise OSError(number, os.strerror(number))


@cache
def _renameat2() -> "Callable[[int, bytes, int, bytes, int], int] | None":
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
