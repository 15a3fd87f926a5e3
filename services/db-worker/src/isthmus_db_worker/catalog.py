"""What a database holds: read when it is needed, kept for a minute, and read again when a name is not found."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.exc import NoSuchTableError

from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.runner import ThreadRunner
from isthmus_db_worker.tables import ForeignKey, Table, TableName, read_names, read_references, read_table

T = TypeVar("T")

KEPT = 60.0
"""Seconds for which a description is kept."""
HURRIES = 1.0
"""Seconds between two readings before their time: a caller who asks for names that do not exist costs little."""


@dataclass
class Kept(Generic[T]):
    """A description and its age; one reader at a time fetches a new one, the others wait for it."""

    value: T | None = None
    at: float = 0.0
    hurried: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, read: Callable[[], Awaitable[T]], *, again: bool) -> T:
        """The value, read again when it is old, or when something was not in it and the caller wants another look."""
        async with self.lock:
            now = time.monotonic()
            hurry = again and now - self.hurried > HURRIES
            if self.value is None or hurry or now - self.at > KEPT:
                self.value = await read()
                self.at = now
                self.hurried = now if hurry else self.hurried
            return self.value


class Catalog:
    """The tables of one database, in the configured schemas."""

    def __init__(self, runner: ThreadRunner, dialect: Dialect, schemas: Sequence[str]) -> None:
        self._runner = runner
        self._dialect = dialect
        self._schemas = schemas
        self.forget()

    def forget(self) -> None:
        """Everything is read anew."""
        self._names = Kept[dict[str, TableName]]()
        self._references = Kept[tuple[ForeignKey, ...]]()
        self._tables: dict[str, Kept[Table]] = {}

    async def names(self, *, again: bool = False) -> dict[str, TableName]:
        """Every table and view, by key."""
        return await self._names.get(
            lambda: self._runner.inspect(lambda i: read_names(i, self._dialect, self._schemas)), again=again
        )

    async def references(self) -> tuple[ForeignKey, ...]:
        """Every foreign key."""
        return await self._references.get(
            lambda: self._runner.inspect(lambda i: read_references(i, self._dialect, self._schemas)), again=False
        )

    async def table(self, name: TableName, *, again: bool = False) -> Table | None:
        """The table's description; None when it is gone."""
        kept = self._tables.setdefault(name.key, Kept())
        try:
            return await kept.get(
                lambda: self._runner.inspect(lambda i: read_table(i, self._dialect, name)), again=again
            )
        except NoSuchTableError:
            self.forget()
            return None
