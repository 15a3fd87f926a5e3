"""One writer at a time in a folder on a local disk, among all workers of this machine."""

import errno
import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager

from isthmus_file_worker.threads import Stop

AGAIN = 0.002
"""Seconds between two tries."""

_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def locked(folder: int, stop: Stop) -> Generator[bool]:
    """Holds the lock of an open folder (flock(2)); False where the file system has no such locks.

    Waits until the call that this is for has ended. The lock goes with the descriptor, so no crash leaves it behind.
    """
    held = _lock(folder, stop)
    try:
        yield held
    finally:
        if held:
            fcntl.flock(folder, fcntl.LOCK_UN)


def _lock(folder: int, stop: Stop) -> bool:
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stop.check()
            time.sleep(AGAIN)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return False
        else:
            return True
