"""Looking at many tables of a database, for as long as there is time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field

from isthmus.tools import Call
from isthmus_db_worker.catalog import AT_ONCE
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained
from isthmus_db_worker.tables import ForeignKey, TableName
from isthmus_db_worker.views import View, view_of
from isthmus_db_worker.visibility import visible_tables

LOOKING = 5.0
"""Seconds in which tables are looked at that are not known yet."""


@dataclass
class Looking:
    """A look at one table after the other, which ends in time."""

    call: Call[Database]
    end: float = field(init=False)

    def __post_init__(self) -> None:
        self.end = time.monotonic() + min(LOOKING, self.call.seconds / 2)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether there is no time left."""
        return self.left <= 0

    async def names(self, *, again: bool = False) -> dict[str, TableName]:
        """The tables and views that the caller may read, by key; `again` as the catalog has it."""
        with explained(self.call.source.handle, self.call.source.name):
            await self.call.source.handle.catalog.names(again=again)
            return await visible_tables(self.call)

    async def references(self) -> tuple[ForeignKey, ...] | None:
        """All foreign keys; None where there are so many tables that reading them takes long."""
        with explained(self.call.source.handle, self.call.source.name):
            try:
                async with asyncio.timeout(self.left / 2):
                    return await self.call.source.handle.catalog.references()
            except TimeoutError:
                return None

    async def estimates(self) -> dict[str, int]:
        """How many rows which table has, as far as the engine knows without counting and the time allows."""
        with explained(self.call.source.handle, self.call.source.name):
            try:
                async with asyncio.timeout(self.left / 2):
                    return await self.call.source.handle.catalog.estimates()
            except TimeoutError:
                return {}

    async def views(self, names: Iterable[TableName]) -> AsyncGenerator[tuple[TableName, View | None]]:
        """The tables as the caller sees them, None for one that cannot be described; it ends when the time does."""
        wanted = list(names)
        for start in range(0, len(wanted), AT_ONCE):
            chunk = wanted[start : start + AT_ONCE]
            with explained(self.call.source.handle, self.call.source.name):
                try:
                    async with asyncio.timeout(self.left):
                        found = await self.call.source.handle.catalog.tables(chunk)
                except TimeoutError:
                    return
            await asyncio.sleep(0)  # what is known already takes no time to read: other calls have their turn here
            for name in chunk:
                if self.is_over:
                    return
                access = self.call.granted.access("read", name.key)
                table = found.get(name.key)
                if access is not None:
                    dialect, principal = self.call.source.handle.dialect, self.call.principal
                    yield name, None if table is None else view_of(table, dialect, principal, access, access)
