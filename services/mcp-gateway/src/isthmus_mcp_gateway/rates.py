"""How often a user may call: a bucket of tokens for each, which fills as time goes by."""

import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from isthmus.errors import RateLimited

REMEMBERED = 10_000
"""Users; those who have not called for longest are forgotten, and may call as if for the first time."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    """When `left` was right (monotonic)."""


class Rates:
    """The buckets of one gateway. A bucket holds a minute's calls, so those may come all at once."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, user: str, per_minute: int) -> None:
        """One call. Raises RateLimited."""
        now = time.monotonic()
        bucket = self._buckets.pop(user, None) or _Bucket(per_minute, now)
        left = min(per_minute, bucket.left + (now - bucket.at) * per_minute / 60)
        self._buckets[user] = _Bucket(left - 1 if left >= 1 else left, now)
        while len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if left < 1:
            seconds = math.ceil((1 - left) * 60 / per_minute)
            wait = f"{seconds} second{'' if seconds == 1 else 's'}"
            raise RateLimited(
                f"You may make {per_minute} call{'' if per_minute == 1 else 's'} a minute; try again in {wait}."
            )
