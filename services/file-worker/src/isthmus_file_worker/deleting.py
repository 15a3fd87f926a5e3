"""`delete_file`: files, and folders with all that is in them."""

import os

import msgspec

from isthmus.errors import Conflict, InvalidArguments, NotAllowed
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.folder import Folder, enter, entries, kind_of
from isthmus_file_worker.paths import ASIDE, DEPTH, Names, is_ours, show
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look, sees


class DeleteFile(StoreArguments, kw_only=True):
    """What to delete."""

    path: str
    """The file or folder, such as `notes/old.md`."""
    recursive: bool = False
    """Needed for a folder: deletes all that is in it, too."""


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What is gone."""

    path: str
    entries: int
    """Files and folders, with the one named."""

    def text(self) -> str:
        return f"Deleted {self.path}" + (f" with {_entries(self.entries - 1)}." if self.entries > 1 else ".")


async def delete_file(call: Call[Folder], arguments: DeleteFile) -> Deleted:
    """Deletes a file, or with `recursive` a folder and all that is in it; this cannot be undone."""
    names = paths.parse(arguments.path)
    if not names:
        raise InvalidArguments("The root of a store cannot be deleted.")

    def work(stop: Stop) -> Deleted:
        return _delete(call.source.handle, call.granted, names, arguments.recursive, stop)

    return await call.source.handle.work(work)


def _delete(folder: Folder, granted: Granted, names: Names, recursive: bool, stop: Stop) -> Deleted:
    path = show(names)
    is_folder = kind_of(look(folder, granted, names, stop)) == "folder"
    if granted.access("delete", path) is None:
        raise NotAllowed(f"You may not delete {path}.")
    with folder.open_folder(names[:-1]) as parent, folder.explained(names):
        if not is_folder:
            if kind_of(os.stat(names[-1], dir_fd=parent, follow_symlinks=False)) != "file":
                raise FileNotFoundError
            os.unlink(names[-1], dir_fd=parent)
            return Deleted(path=path, entries=1)
        descriptor = enter(parent, names[-1])
        try:
            tree = Tree(granted, path, stop)
            if not recursive:
                count = _entries(tree.seen(descriptor))
                raise Conflict(f"{path} is a folder with {count}; set `recursive` to delete it with all that is in it.")
            tree.check(descriptor, names)
            deleted = tree.empty(descriptor, names)
        finally:
            os.close(descriptor)
        os.rmdir(names[-1], dir_fd=parent)
    return Deleted(path=path, entries=deleted + 1)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


class Tree:
    """A folder that is to go with all that is in it; links in it go as themselves."""

    def __init__(self, granted: Granted, path: str, stop: Stop) -> None:
        self._granted = granted
        self._path = path
        self._stop = stop

    def seen(self, descriptor: int) -> int:
        """How many entries the caller sees in the folder."""
        found = entries(descriptor, self._stop)
        return sum(sees(self._granted, f"{self._path}/{name}", is_folder=is_folder) for name, is_folder in found)

    def check(self, descriptor: int, names: Names) -> None:
        """Raises NotAllowed or Conflict, before anything is gone, where something must stay."""
        for name, is_folder in self._all(descriptor):
            self._may_go(name, (*names, name))
            if is_folder:
                inner = enter(descriptor, name)
                try:
                    self.check(inner, (*names, name))
                finally:
                    os.close(inner)

    def empty(self, descriptor: int, names: Names) -> int:
        """Deletes all that is in an open folder and counts it; looks again at each, for some may have come since."""
        count = 0
        for name, is_folder in self._all(descriptor):
            self._stop.check()
            self._may_go(name, (*names, name))
            if is_folder:
                inner = enter(descriptor, name)
                try:
                    count += self.empty(inner, (*names, name))
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=descriptor)
            else:
                os.unlink(name, dir_fd=descriptor)
            count += 1
        return count

    def _all(self, descriptor: int) -> list[tuple[str, bool]]:
        """Every name in an open folder, also those that no path can have, and whether it is a folder."""
        with os.scandir(descriptor) as found:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]

    def _may_go(self, name: str, names: Names) -> None:
        self._stop.check()
        if len(names) > DEPTH:
            raise Conflict(f"The folders in {self._path} are too deep to be deleted at once.")
        if is_ours(name) and not name.startswith(ASIDE):
            raise Conflict(f"{self._path} cannot be deleted, since Isthmus keeps files of its own in it.")
        if self._granted.access("delete", show(names)) is None:
            raise NotAllowed(
                f"You may not delete {self._path}, since that takes the right to delete all that is in it."
            )
