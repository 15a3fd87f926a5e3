"""Folders on a local disk that go with all that is in them; links in them go as themselves."""

import os
from collections.abc import Callable

from isthmus_file_worker.descriptors import enter
from isthmus_file_worker.paths import Names
from isthmus_file_worker.threads import Stop


def check(descriptor: int, names: Names, may_go: Callable[[Names], None], stop: Stop) -> None:
    """Asks for each entry in an open folder and below, also for those that no path can name."""
    for name, is_folder in _all(descriptor):
        stop.check()
        may_go((*names, name))
        if is_folder:
            inner = enter(descriptor, name)
            try:
                check(inner, (*names, name), may_go, stop)
            finally:
                os.close(inner)


def empty(descriptor: int, names: Names, may_go: Callable[[Names], None], stop: Stop) -> int:
    """Deletes all that is in an open folder and counts it; asks again for each, for some may have come since."""
    count = 0
    for name, is_folder in _all(descriptor):
        stop.check()
        may_go((*names, name))
        if is_folder:
            inner = enter(descriptor, name)
            try:
                count += empty(inner, (*names, name), may_go, stop)
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
