"""`write_file` and `create_folder`: whole or not at all."""

import base64
import binascii
from typing import Literal

import msgspec

from isthmus.auditing import Written
from isthmus.errors import Conflict, InvalidArguments, NotAllowed, NotFound, TooLarge
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.following import came_or_went, replaced
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Existing, Store
from isthmus_file_worker.threads import Stop

LIMIT = 8 * 1024 * 1024 - 64 * 1024
"""Bytes of a file in one call: what the bus carries, without what goes round it."""


class WriteFile(StoreArguments, kw_only=True):
    """What to write where."""

    path: str
    """The file, such as `notes/today.md`; missing folders are made."""
    content: str
    """The text, or with encoding `base64` the bytes."""
    encoding: Literal["utf-8", "base64"] = "utf-8"
    """How `content` is written."""
    mode: Literal["create", "overwrite"] = "create"
    """`overwrite` replaces a file that is there."""


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
    """The folder, such as `notes/2026`; missing ones above it are made."""


class CreatedFolder(msgspec.Struct, frozen=True, kw_only=True):
    """The folder that is there now."""

    path: str
    created: bool
    """False: it was there already."""

    def text(self) -> str:
        if not self.path:
            return "The root of a store is always there."
        return f"Created the folder {self.path}." if self.created else f"The folder {self.path} was there already."


async def write_file(call: Call[Store], arguments: WriteFile) -> WrittenFile:
    """Writes a whole file: a new one, or with mode `overwrite` in place of an earlier one."""
    names = paths.parse(arguments.path)
    if not names or arguments.path.endswith("/"):
        raise InvalidArguments("`path` must name a file.")
    data = _bytes(arguments)
    if len(data) > LIMIT:
        raise TooLarge(f"A file of {len(data)} bytes is too large for one call; {LIMIT} bytes fit.")

    def work(stop: Stop) -> WrittenFile:
        return _write(call.source.handle, call.granted, names, data, arguments.mode == "overwrite", stop)

    written = await call.source.handle.work(work, call.seconds)
    call.wrote(Written(object=written.path, action="create" if written.created else "update"))
    await (came_or_went(call, files=[names]) if written.created else replaced(call, names))
    return written


async def create_folder(call: Call[Store], arguments: CreateFolder) -> CreatedFolder:
    """Makes a folder; one that is there already is left as it is."""
    names = paths.parse(arguments.path)
    path = show(names)
    granted = call.granted
    if names and granted.access("create", path) is None and not granted.reaches_into("create", path):
        raise NotAllowed(f"You may not create {path}.")

    def work(stop: Stop) -> CreatedFolder:
        store = call.source.handle
        try:
            existing = store.status(names).kind
        except NotFound:
            existing = None
        if existing == "file":
            raise Conflict(f"{path} is a file, so there cannot be a folder of that name.")
        if existing is None:
            store.make_folder(names, stop)
        return CreatedFolder(path=path, created=existing is None)

    folder = await call.source.handle.work(work, call.seconds)
    if folder.created:
        call.wrote(Written(object=folder.path, action="create"))
        await came_or_went(call, folders=[names])
    return folder


def _bytes(arguments: WriteFile) -> bytes:
    if arguments.encoding == "utf-8":
        return arguments.content.encode()
    try:
        return base64.b64decode(arguments.content, validate=True)
    except binascii.Error:
        raise InvalidArguments("`content` is not valid base64.") from None


def _write(store: Store, granted: Granted, names: Names, data: bytes, overwrite: bool, stop: Stop) -> WrittenFile:
    path = show(names)
    may_create = granted.access("create", path) is not None
    may_update = overwrite and granted.access("update", path) is not None
    if not (may_create or may_update):
        raise NotAllowed(f"You may not {'change' if overwrite else 'create'} {path}.")

    def allow(existing: Existing | None) -> None:
        if existing is not None and not overwrite:
            raise Conflict(f'{path} is there already; mode "overwrite" would replace it.')
        if existing is not None and existing != "file":
            raise Conflict(f"{path} is not a file, so it cannot be replaced by one.")
        if existing is not None and not may_update:
            raise NotAllowed(f"You may not change {path}, which is there already.")
        if existing is None and not may_create:
            raise NotAllowed(f"You may not create {path}, and it is not there.")

    return WrittenFile(path=path, size=len(data), created=store.put(names, data, allow, stop, make=may_create))
