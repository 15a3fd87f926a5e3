"""Folders on a local disk that go with all that is in them; links in them go as themselves."""

import os

from isthmus_file_worker.descriptors import enter, look_at, status_of_any
from isthmus_file_worker.paths import Names
from isthmus_file_worker.store import Look
from isthmus_file_worker.threads import Stop


def look_into(descriptor: int, names: Names, look: Look, stop: Stop) -> None:
    """Shows each entry in an open folder and below, also those that no path can name."""
    for name, is_folder in _all(descriptor):
        stop.check()
        look((*names, name), status_of_any(look_at(descriptor, name)))
        if is_folder:
            inner = enter(descriptor, name)
            try:
                look_into(inner, (*names, name), look, stop)
            finally:
                os.close(inner)


def empty(descriptor: int, names: Names, look: Look, stop: Stop) -> int:
    """Deletes all that is in an open folder and counts it; shows each once more, for some may have come since."""
    count = 0
    for name, is_folder in _all(descriptor):
        stop.check()
        look((*names, name), status_of_any(look_at(descriptor, name)))
        if is_folder:
            inner = enter(descriptor, name)
            try:
                count += empty(inner, (*names, name), look, stop)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
        count += 1
    return count


def _all(descriptor: int) -> list[tuple[str, bool]]:
    """Every name in an open folder, and whether it is a folder."""
    with os.scandir(descriptor) as found:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
