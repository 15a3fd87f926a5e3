"""A small, bounded memory of how often something was tried."""

import time
from collections import OrderedDict

MOST = 10
"""Failures allowed in one window."""

WINDOW = 300.0
"""Seconds."""

REMEMBERED = 10_000
"""Keys kept; the oldest go first."""


class Attempts:
    """Counts attempts by key, such as an address with an e-mail address."""

    def __init__(self, most: int = MOST, window: float = WINDOW) -> None:
        """So many for each key within so many seconds."""
        self._most = most
        self._window = window
        self._counts: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def allow(self, key: tuple[str, ...]) -> bool:
        """Counts one attempt; False: there were too many. Counted before the outcome is known, so that many at once
        do not slip through."""
        now = time.monotonic()
        began, count = self._counts.get(key, (now, 0))
        if now - began > self._window:
            began, count = now, 0
        self._counts[key] = (began, count + 1)
        while len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return count < self._most

    def is_first_refused(self, key: tuple[str, ...]) -> bool:
        """Whether the latest attempt was the first that was too many: what follows tells nothing new."""
        return self._counts.get(key, (0.0, 0))[1] == self._most + 1

    def succeeded(self, key: tuple[str, ...]) -> None:
        """Forgets the failures before."""
        self._counts.pop(key, None)
