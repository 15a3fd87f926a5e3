"""`delete_file`: files, and folders with all that is in them."""

from contextlib import closing

import msgspec

from isthmus.auditing import Written
from isthmus.errors import Conflict, InvalidArguments, NotAllowed
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.following import came_or_went
from isthmus_file_worker.paths import ASIDE, DEPTH, Names, is_ours, show
from isthmus_file_worker.store import Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look, sees

TOLD = 1000
"""Entries of a deleted folder whose followers are told."""


class DeleteFile(StoreArguments, kw_only=True):
    """What to delete."""

    path: str
    """The file or folder, such as `notes/old.md`."""
    recursive: bool = False
    """Needed for a folder."""


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone."""

    path: str
    entries: int
    """Files and folders, with the one named."""

    def text(self) -> str:
        return f"Deleted {self.path}" + (f" with {_entries(self.entries - 1)}." if self.entries > 1 else ".")


async def delete_file(call: Call[Store], arguments: DeleteFile) -> Deleted:
    """Deletes a file, or with `recursive` a folder and all that is in it. This cannot be undone."""
    names = paths.parse(arguments.path)
    if not names:
        raise InvalidArguments("The root of a store cannot be deleted.")

    below: set[Names] = set()

    def work(stop: Stop) -> Deleted:
        return _delete(call.source.handle, call.granted, names, arguments.recursive, below, stop)

    deleted = await call.source.handle.work(work, call.seconds)
    call.wrote(Written(object=deleted.path, action="delete", count=deleted.entries))
    gone = [names, *below]
    await came_or_went(call, files=gone, folders=gone)  # which of them were folders can no longer be told
    return deleted


def _delete(store: Store, granted: Granted, names: Names, recursive: bool, below: set[Names], stop: Stop) -> Deleted:
    """With a few of what was in a folder noted in `below`."""
    path = show(names)
    is_folder = look(store, granted, names, stop).kind == "folder"
    if granted.access("delete", path) is None:
        raise NotAllowed(f"You may not delete {path}.")
    if not is_folder:
        stop.check()
        store.delete_file(names)
        return Deleted(path=path, entries=1)
    if not recursive:
        with closing(store.entries(names, stop)) as found:
            count = sum(sees(granted, f"{path}/{name}", is_folder=inner) for name, inner in found)
        raise Conflict(
            f"{path} is a folder with {_entries(count)}; set `recursive` to delete it with all that is in it."
        )

    def may_go(inner: Names) -> None:
        if len(inner) > DEPTH:
            raise Conflict(f"The folders in {path} are too deep to be deleted at once.")
        if is_ours(inner[-1]) and not inner[-1].startswith(ASIDE):
            raise Conflict(f"{path} cannot be deleted, since Isthmus keeps files of its own in it.")
        if granted.access("delete", show(inner)) is None:
            raise NotAllowed(f"You may not delete {path}, since that takes the right to delete all that is in it.")
        if len(below) < TOLD:
            below.add(inner)

    return Deleted(path=path, entries=store.delete_folder(names, may_go, stop))


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
