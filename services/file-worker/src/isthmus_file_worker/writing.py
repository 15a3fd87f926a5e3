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
from isthmus_file_worker.changes import Begin, Change, Changed, Sight, carry_out
from isthmus_file_worker.differences import difference
from isthmus_file_worker.following import came_or_went, replaced
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Found, Status, Store
from isthmus_file_worker.threads import Stop

LIMIT = 8 * 1024 * 1024 - 64 * 1024
"""Bytes of a file in one call: what the bus carries, without what goes round it."""
APPENDED = 64 * 1024 * 1024
"""Bytes that a file may have after something was appended, since it is written anew."""
COMPARED = 256 * 1024
"""Bytes of a file that a preview compares with the new one."""


class WriteFile(Change, kw_only=True):
    """What to write where."""

    path: str
    """The file, such as `notes/today.md`; missing folders are made."""
    content: str
    """The text, or with encoding `base64` the bytes."""
    encoding: Literal["utf-8", "base64"] = "utf-8"
    """How `content` is written."""
    mode: Literal["create", "overwrite", "append"] = "create"
    """What to do where there may be a file."""
    if_match: str = ""
    """Only if the file there has this etag."""


class CreateFolder(Change, kw_only=True):
    """Which folder to make."""

    path: str
    """The folder, such as `notes/2026`; missing ones above it are made."""


async def write_file(call: Call[Store], arguments: WriteFile) -> Changed:
    """Writes a file: a new one, over an earlier one (`overwrite`), or to the end of one."""
    names = file_names(arguments.path)
    data = _bytes(arguments)
    if len(data) > LIMIT:
        raise TooLarge(f"A file of {len(data)} bytes is too large for one call; {LIMIT} bytes fit.")
    if arguments.if_match and arguments.mode == "create":
        raise InvalidArguments("`if_match` is about a file that is there; use mode overwrite or append with it.")
    may_create, may_read = (call.granted.access(action, show(names)) is not None for action in ("create", "read"))

    def work(begin: Begin, stop: Stop) -> Changed:
        def content(found: Found | None) -> bytes:
            _allow(call.granted, show(names), found, arguments)
            new = _appended(show(names), found, data) if arguments.mode == "append" else data
            begin(_sight(names, found, new, data, arguments.mode, may_read=may_read))
            nonlocal size
            size = len(new)
            return new

        size = 0
        exact = arguments.mode == "append" or bool(arguments.if_match) or bool(arguments.plan)
        placed = call.source.handle.put(names, content, stop, make=may_create, exact=exact)
        return Changed(
            path=show(names),
            done="created" if placed.created else "appended" if arguments.mode == "append" else "replaced",
            size=size,
            etag=placed.etag,
            guaranteed=False if exact and not placed.exact else msgspec.UNSET,
        )

    def written(done: Changed) -> list[Written]:
        return [Written(object=done.path, action="create" if done.done == "created" else "update")]

    changed = await carry_out(call, arguments, show(names), work, written)
    if changed.done == "created":
        await came_or_went(call, files=[names])
    elif changed.done != "nothing":
        await replaced(call, names)
    return changed


async def create_folder(call: Call[Store], arguments: CreateFolder) -> Changed:
    """Makes a folder; one that is there already is left as it is."""
    names = paths.parse(arguments.path)
    path = show(names)
    granted = call.granted
    if names and granted.access("create", path) is None and not granted.reaches_into("create", path):
        raise NotAllowed(f"You may not create {path}.")

    def work(begin: Begin, stop: Stop) -> Changed:
        store = call.source.handle
        try:
            existing = store.status(names).kind
        except NotFound:
            existing = None
        if existing == "file":
            raise Conflict(f"{path} is a file, so there cannot be a folder of that name.")
        if existing is not None:
            return Changed(path=path)
        sight = Sight([f"create the folder {path}"])
        sight.note(names, None)
        begin(sight)
        store.make_folder(names, stop)
        return Changed(path=path, done="created")

    def written(done: Changed) -> list[Written]:
        return [Written(object=path, action="create")] if done.done == "created" else []

    changed = await carry_out(call, arguments, path, work, written)
    if changed.done == "created":
        await came_or_went(call, folders=[names])
    return changed


def file_names(path: str) -> Names:
    """The names in a path that must be a file's."""
    names = paths.parse(path)
    if not names or path.endswith("/"):
        raise InvalidArguments("`path` must name a file.")
    return names


def check_etag(path: str, found: Found | None, if_match: str) -> None:
    """Raises Conflict for a file that is another one than the caller knows."""
    if if_match and (found is None or found.etag != if_match.strip('"')):
        raise Conflict(
            f"{path} is not there any more."
            if found is None
            else f"{path} was changed since you looked: its etag is {found.etag} now. Read it again."
        )


def _bytes(arguments: WriteFile) -> bytes:
    if arguments.encoding == "utf-8":
        return arguments.content.encode()
    try:
        return base64.b64decode(arguments.content, validate=True)
    except binascii.Error:
        raise InvalidArguments("`content` is not valid base64.") from None


def _allow(granted: Granted, path: str, found: Found | None, arguments: WriteFile) -> None:
    """Raises for a file that may not be written, or not like this."""
    replaces = arguments.mode != "create"
    may_create = granted.access("create", path) is not None
    may_update = replaces and granted.access("update", path) is not None
    if not (may_create or may_update):
        raise NotAllowed(f"You may not {'change' if replaces else 'create'} {path}.")
    if found is not None and not replaces:
        raise Conflict(f'{path} is there already; mode "overwrite" would replace it.')
    if found is not None and found.kind != "file":
        raise Conflict(f"{path} is not a file, so it cannot be replaced by one.")
    if found is not None and not may_update:
        raise NotAllowed(f"You may not change {path}, which is there already.")
    if found is None and not may_create:
        raise NotAllowed(f"You may not create {path}, and it is not there.")
    check_etag(path, found, arguments.if_match)


def _appended(path: str, found: Found | None, data: bytes) -> bytes:
    if found is None:
        return data
    if found.size + len(data) > APPENDED:
        raise TooLarge(f"{path} has {found.size} bytes; something is appended to files of up to {APPENDED}.")
    return found.read() + data


def _sight(names: Names, found: Found | None, new: bytes, given: bytes, mode: str, *, may_read: bool) -> Sight:
    path = show(names)
    if found is None:
        sight = Sight([f"create {path}, {len(new)} bytes"])
    elif mode == "append":
        sight = Sight([f"append {len(given)} bytes to {path}, which has {found.size}"])
    else:
        sight = Sight([f"replace {path}, {found.size} bytes, by {len(new)} bytes"])
        if may_read:
            sight.more = lambda: _compared(path, found, new)
    sight.note(names, None if found is None else Status("file", found.size, etag=found.etag))
    return sight


def _compared(path: str, found: Found, new: bytes) -> str:
    """The difference of two texts in UTF-8; empty for others, and for those that are too large to compare."""
    if max(found.size, len(new)) > COMPARED:
        return ""
    try:
        return difference(found.read().decode(), new.decode(), path)
    except UnicodeDecodeError:
        return ""
