"""How many reading processes a worker has at a time; one that has nothing to do makes room for one that has."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from isthmus_file_worker.threads import Stop

LOOK = 0.1
"""Seconds between looks whether the call was cancelled."""


class Tenant(Protocol):
    """Whoever has a process."""

    def give_up(self) -> Callable[[], None]:
        """Lets go of the process, which is not used, at once; what is returned ends it."""
        ...


class Room:
    """So many places."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._idle: dict[Tenant, None] = {}
        """Who has a place and does not use it, the longest first."""
        self._changed = threading.Condition()

    def take(self, tenant: Tenant, end: float, stop: Stop) -> bool:
        """Waits for a place until `end` of the monotonic clock, and says whether there is one."""
        with self._changed:
            if tenant in self._idle:
                del self._idle[tenant]
                return True
            while not (self._free or self._idle):
                stop.check()
                if time.monotonic() > end:
                    return False
                self._changed.wait(LOOK)
            if self._free:
                self._free -= 1
                return True
            other = next(iter(self._idle))
            del self._idle[other]
            end_other = other.give_up()
        end_other()
        return True

    def rest(self, tenant: Tenant) -> None:
        """The place is not used for now."""
        with self._changed:
            self._idle[tenant] = None
            self._changed.notify()

    def leave(self, tenant: Tenant) -> None:
        """Ends the process and gives back the place, unless both went to another before."""
        with self._changed:
            if tenant not in self._idle:
                return
            del self._idle[tenant]
            end = tenant.give_up()
        end()
        with self._changed:
            self._free += 1
            self._changed.notify()
