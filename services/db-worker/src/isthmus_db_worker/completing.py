"""What a client offers while a user types the name of a table."""

import heapq
from itertools import islice

from isthmus.answering import COMPLETED
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained
from isthmus_db_worker.visibility import may_read


async def table(call: Call[Database], value: str, known: dict[str, str]) -> list[str]:
    """Tables and views that the caller may read: names that begin with what is typed, then those that contain it.

    The name of a table outside of the default schema begins anew after its schema.
    """
    del known
    with explained(call.source.handle, call.source.name):
        names = await call.source.handle.catalog.names()
    typed = value.lower()
    ranked = [(rank, key) for key in names if (rank := _rank(key.lower(), typed)) is not None]
    heapq.heapify(ranked)
    ordered = (heapq.heappop(ranked)[1] for _ in range(len(ranked)))
    return list(islice((key for key in ordered if may_read(call, key)), COMPLETED + 1))


def _rank(key: str, typed: str) -> int | None:
    if key.startswith(typed):
        return 0
    if f".{typed}" in key:
        return 1
    return 2 if typed in key else None
