"""Files and folders on a local disk that are copied; links and special files in them do not exist and stay behind."""

import os
from contextlib import suppress

from isthmus.errors import Conflict
from isthmus_file_worker.descriptors import enter, kind_of, look_at, status_of
from isthmus_file_worker.emptying import empty
from isthmus_file_worker.paths import can_be_named
from isthmus_file_worker.placing import PIECE, fill, settle
from isthmus_file_worker.threads import Stop

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def copy_file(source: int, name: str, target: int, new: str, stop: Stop) -> None:
    """Raises Conflict if the file changes meanwhile."""
    if kind_of(look_at(source, name)) != "file":
        raise FileNotFoundError
    descriptor = os.open(name, _FILE, dir_fd=source)
    try:
        before = os.fstat(descriptor)
        if kind_of(before) != "file":
            raise FileNotFoundError
        fill(target, new, lambda offset: os.pread(descriptor, PIECE, offset), before.st_mode, stop)
        if status_of(os.fstat(descriptor)).etag != status_of(before).etag:
            raise Conflict(f"{name} was changed by another while it was copied; try again.")
    finally:
        os.close(descriptor)


def copy_folder(source: int, target: int, stop: Stop) -> None:
    """What is in one open folder into another, which is empty."""
    with os.scandir(source) as found:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found if can_be_named(entry.name)]
    for name, is_folder in names:
        stop.check()
        if not is_folder:
            if kind_of(look_at(source, name)) == "file":
                copy_file(source, name, target, name, stop)
            continue
        inner = enter(source, name)
        try:
            made = enter(target, name, make=True)
            try:
                os.fchmod(made, os.fstat(inner).st_mode & 0o777 | 0o700)
                copy_folder(inner, made, stop)
            finally:
                os.close(made)
        finally:
            os.close(inner)
    settle(target)


def remove(parent: int, name: str) -> None:
    """Takes back what was copied into a folder; what cannot be taken back stays, with a name that nobody sees."""
    with suppress(OSError):
        descriptor = enter(parent, name)
        try:
            empty(descriptor, (), lambda _names, _status: None, Stop(0))
        finally:
            os.close(descriptor)
        os.rmdir(name, dir_fd=parent)
