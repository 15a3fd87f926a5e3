"""`write_file` and `create_folder`: whole or not at all."""

import base64
import binascii
import errno
import os
import secrets
import stat
from contextlib import suppress
from typing import Literal

import msgspec

from isthmus.errors import Conflict, InvalidArguments, NotAllowed, NotFound, TooLarge
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.folder import Folder, kind_of
from isthmus_file_worker.paths import ASIDE, Names, show
from isthmus_file_worker.threads import Stop

LIMIT = 8 * 1024 * 1024 - 64 * 1024
"""Bytes of a file in one call: what the bus carries, without what goes round it."""
PIECE = 1024 * 1024
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class WriteFile(StoreArguments, kw_only=True):
    """What to write where."""

    path: str
    """The file, such as `notes/today.md`; folders that are not there are made."""
    content: str
    """The text, or the bytes as base64."""
    encoding: Literal["utf-8", "base64"] = "utf-8"
    """How `content` stands for the bytes of the file."""
    mode: Literal["create", "overwrite"] = "create"
    """`create` refuses when the file is there already, `overwrite` replaces it."""


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """The file that is there now."""

    path: str
    size: int
    """In bytes."""
    created: bool
    """False: an earlier file was replaced."""

    def text(self) -> str:
        return f"{'Created' if self.created else 'Replaced'} {self.path}, {self.size} bytes."


class CreateFolder(StoreArguments, kw_only=True):
    """Which folder to make."""

    path: str
    """The folder, such as `notes/2026`; folders above it that are not there are made."""


class CreatedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """The folder that is there now."""

    path: str
    created: bool
    """False: it was there already."""

    def text(self) -> str:
        if not self.path:
            return "The root of a store is always there."
        return f"Created the folder {self.path}." if self.created else f"The folder {self.path} was there already."


async def write_file(call: Call[Folder], arguments: WriteFile) -> WrittenFile:
    """Writes a whole file: a new one, or with mode "overwrite" in place of an earlier one."""
    names = paths.parse(arguments.path)
    if not names or arguments.path.endswith("/"):
        raise InvalidArguments("`path` must name a file.")
    data = _bytes(arguments)
    if len(data) > LIMIT:
        raise TooLarge(f"A file of {len(data)} bytes is too large for one call; {LIMIT} bytes fit.")

    def work(stop: Stop) -> WrittenFile:
        return _write(call.source.handle, call.granted, names, data, arguments.mode == "overwrite", stop)

    return await call.source.handle.work(work)


async def create_folder(call: Call[Folder], arguments: CreateFolder) -> CreatedFolder:
    """Makes a folder; one that is there already is left as it is."""
    names = paths.parse(arguments.path)
    path = show(names)
    granted = call.granted
    if names and granted.access("create", path) is None and not granted.reaches_into("create", path):
        raise NotAllowed(f"You may not create {path}.")

    def work(stop: Stop) -> CreatedFolder:
        folder = call.source.handle
        try:
            existing = kind_of(folder.status(names))
        except NotFound:
            existing = None
        if existing is None:
            stop.check()
            with folder.open_folder(names, make=True):
                pass
        elif existing == "file":
            raise Conflict(f"{path} is a file, so there cannot be a folder of that name.")
        return CreatedFolder(path=path, created=existing is None)

    return await call.source.handle.work(work)


def _bytes(arguments: WriteFile) -> bytes:
    if arguments.encoding == "utf-8":
        return arguments.content.encode()
    try:
        return base64.b64decode(arguments.content, validate=True)
    except binascii.Error:
        raise InvalidArguments("`content` is not valid base64.") from None


def _write(folder: Folder, granted: Granted, names: Names, data: bytes, overwrite: bool, stop: Stop) -> WrittenFile:
    path = show(names)
    may_create = granted.access("create", path) is not None
    may_update = overwrite and granted.access("update", path) is not None
    if not (may_create or may_update):
        raise NotAllowed(f"You may not {'change' if overwrite else 'create'} {path}.")
    with folder.open_folder(names[:-1], make=may_create) as parent, folder.explained(names):
        existing = _status(parent, names[-1])
        if existing is not None and not overwrite:
            raise Conflict(f'{path} is there already; mode "overwrite" would replace it.')
        if existing is not None and kind_of(existing) != "file":
            raise Conflict(f"{path} is not a file, so it cannot be replaced by one.")
        if existing is not None and not may_update:
            raise NotAllowed(f"You may not change {path}, which is there already.")
        if existing is None and not may_create:
            raise NotAllowed(f"You may not create {path}, and it is not there.")
        _put(parent, names[-1], data, existing, stop)
    return WrittenFile(path=path, size=len(data), created=existing is None)


def _status(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _put(parent: int, name: str, data: bytes, existing: os.stat_result | None, stop: Stop) -> None:
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
