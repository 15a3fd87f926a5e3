"""Transactions of the tools that write: what others are in the way of is tried again."""

import asyncio
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from isthmus.errors import Conflict
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import Contended, explained

R = TypeVar("R")

PAUSE, LONGEST_PAUSE = 0.02, 0.5
"""Seconds to wait at most before the second try, and before any: a random part of it, so that two who met do not meet
again."""
ENOUGH = 0.2
"""Seconds that a try needs."""


async def transact(call: Call[Database], work: Callable[[Connection], R]) -> R:
    """What the work returns, once it is committed.

    It runs in one transaction, which the database may end for the sake of another one (a deadlock, a row that changed
    meanwhile, a lock that took too long). Then all of the work is done again, while the caller's time lasts: so it must
    not keep anything of an earlier run. What may have been committed is never done again.

    Raises Conflict when the time is over, and what `explained` makes of other errors.
    """
    pause = PAUSE
    while True:
        try:
            with explained(call.source.handle, call.source.name):
                return await call.source.handle.runner.transaction(work, call.left)
        except Contended:
            if call.left < pause + ENOUGH:
                raise Conflict(
                    "Other changes to the same data were in the way all the time; nothing was changed. Try again later."
                ) from None
        await asyncio.sleep(random.uniform(0, pause))  # noqa: S311  (no secret)
        pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def savepoint(connection: Connection) -> Generator[None]:
    """What fails within it is undone alone. Where that fails too, the whole transaction is gone, and the first error
    is the one that says why."""
    nested = connection.begin_nested()
    try:
        yield
    except BaseException:
        with suppress(SQLAlchemyError):
            nested.rollback()
        raise
    nested.commit()
