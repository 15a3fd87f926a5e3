"""What a caller sees of a store: what may not be read is not there."""

from contextlib import closing

from isthmus.errors import NotFound, near
from isthmus.grants import Granted
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Status, Store
from isthmus_file_worker.threads import Stop

LOOKED_AT = 200
"""Neighbours that are looked at for the name that was meant."""


def sees(granted: Granted, path: str, *, is_folder: bool) -> bool:
    """Whether the caller may know of it; a folder also shows when something in it may be read."""
    if not path or granted.access("read", path) is not None:
        return True
    return is_folder and granted.reaches_into("read", path)


def look(store: Store, granted: Granted, names: Names, stop: Stop) -> Status:
    """The status of a file or folder that the caller sees. Raises NotFound, the same for absent and for hidden."""
    try:
        if sees(granted, show(names), is_folder=True):
            status = store.status(names)
            if sees(granted, show(names), is_folder=status.kind == "folder"):
                return status
    except NotFound:
        pass
    raise NotFound(f"There is no {show(names)}.{_neighbours(store, granted, names, stop)}")


def _neighbours(store: Store, granted: Granted, names: Names, stop: Stop) -> str:
    parent = show(names[:-1])
    if not sees(granted, parent, is_folder=True):
        return ""
    try:
        with closing(store.entries(names[:-1], stop)) as entries:
            known: list[str] = []
            for name, is_folder in entries:
                path = f"{parent}/{name}" if parent else name
                if sees(granted, path, is_folder=is_folder):
                    known.append(path)
                if len(known) == LOOKED_AT:
                    break
    except NotFound:
        return ""
    return near(show(names), known)
