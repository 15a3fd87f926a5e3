"""Transactions of the tools that write."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import Connection

from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained

R = TypeVar("R")


async def transact(call: Call[Database], work: Callable[[Connection], R]) -> R:
    """What the work returns, committed."""
    with explained(call.source.handle, call.source.name):
        return await call.source.handle.runner.transaction(work, call.left)
