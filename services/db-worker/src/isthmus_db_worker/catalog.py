"""What a database holds: read when it is needed, kept for a minute, and read again when a name is not found."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.engine import Inspector
from sqlalchemy.exc import NoSuchTableError

from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.meanings import Meanings
from isthmus_db_worker.routines import Routines, by_key
from isthmus_db_worker.runner import ThreadRunner
from isthmus_db_worker.tables import (
    ForeignKey,
    Table,
    TableName,
    read_estimates,
    read_names,
    read_references,
    read_schemas,
    read_table,
    read_tables,
)

T = TypeVar("T")

KEPT = 60.0
"""Seconds for which a description is kept."""
HURRIES = 1.0
"""Seconds between two readings before their time: a caller who asks for names that do not exist costs little."""

AT_ONCE = 250
"""Tables that are described in one go: so many are worth the statements, and few enough to wait for."""

NEVER = -math.inf


@dataclass
class Kept(Generic[T]):
    """A description and its age; one reader at a time fetches a new one, the others wait for it."""

    value: T | None = None
    at: float = NEVER
    """When it was read. A value of None was looked for then, and not found."""
    hurried: float = NEVER
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_fresh(self) -> bool:
        """Whether it was looked for within a minute."""
        return time.monotonic() - self.at <= KEPT

    async def get(self, read: Callable[[], Awaitable[T]], *, again: bool) -> T:
        """The value, read again when it is old, or when something was not in it and the caller wants another look."""
        async with self.lock:
            now = time.monotonic()
            hurry = again and now - self.hurried > HURRIES
            if self.value is None or hurry or not self.is_fresh:
                self.value = await read()
                self.at = now
                self.hurried = now if hurry else self.hurried
            return self.value

    def put(self, value: T | None) -> None:
        """What somebody else has read."""
        self.value, self.at = value, time.monotonic()


class Catalog:
    """The tables of one database, in the configured schemas."""

    def __init__(self, runner: ThreadRunner, dialect: Dialect, schemas: Sequence[str], meanings: Meanings) -> None:
        self._runner = runner
        self._dialect = dialect
        self._schemas = schemas
        self._meanings = meanings
        self._reading = asyncio.Lock()
        self._refreshed = NEVER
        self._doubted = NEVER
        self.forget()

    def refresh(self) -> None:
        """Everything is read anew, though not more often than once a second."""
        if time.monotonic() - self._refreshed > HURRIES:
            self._refreshed = time.monotonic()
            self.forget()

    def doubt(self) -> None:
        """Something is not as it was described: names and foreign keys are read anew, and each table before its use.

        What was read of all tables at once stays: a view that never works must not cost more than itself.
        """
        if time.monotonic() - self._doubted > HURRIES:
            self._doubted = time.monotonic()
            self._names, self._references = Kept[dict[str, TableName]](), Kept[tuple[ForeignKey, ...]]()
            self._routines = Kept[Routines]()

    async def names(self, *, again: bool = False) -> dict[str, TableName]:
        """Every table and view, by key."""
        return await self._names.get(self._read_names, again=again)

    async def references(self) -> tuple[ForeignKey, ...]:
        """Every foreign key."""
        return await self._references.get(
            lambda: self._runner.inspect(lambda i: read_references(i, self._dialect, self._schemas)), again=False
        )

    async def estimates(self) -> dict[str, int]:
        """How many rows the engine believes that which table has, by key; not all are known."""
        return await self._estimates.get(
            lambda: self._runner.inspect(lambda i: read_estimates(i, self._dialect, self._schemas)), again=False
        )

    async def routines(self, *, again: bool = False) -> Routines:
        """Every procedure and function that the worker's account may call."""
        return await self._routines.get(lambda: self._runner.inspect(self._read_routines), again=again)

    async def table(self, name: TableName, *, again: bool = False) -> Table | None:
        """The table's description; None when it is gone."""
        kept = self._tables.setdefault(name.key, Kept())
        again = again or kept.at < self._doubted
        try:
            return await kept.get(lambda: self._read(name), again=again)
        except NoSuchTableError:
            self.doubt()
            return None

    async def tables(self, names: Iterable[TableName]) -> dict[str, Table]:
        """Several descriptions at once, by key: of those tables that are there and can be described."""
        kept = {name: self._tables.setdefault(name.key, Kept()) for name in names}
        async with self._reading:
            old = [name for name, one in kept.items() if not one.is_fresh]
            for start in range(0, len(old), AT_ONCE):
                chunk = old[start : start + AT_ONCE]
                found = await self._runner.inspect(lambda i, chunk=chunk: read_tables(i, self._dialect, chunk))
                for name in chunk:
                    table = found.get(name.key)
                    kept[name].put(None if table is None else self._meanings.of_table(table))
        return {name.key: one.value for name, one in kept.items() if one.value is not None}

    async def _read_names(self) -> dict[str, TableName]:
        found = await self._runner.inspect(lambda i: read_names(i, self._dialect, self._schemas))
        return self._meanings.of_names(found)

    def _read_routines(self, inspector: Inspector) -> Routines:
        if (engine := self._dialect.routines) is None:
            return {}
        default = str(inspector.default_schema_name)
        served = read_schemas(inspector, self._schemas)
        return by_key(engine.read(inspector, {schema or default: f"{schema}." if schema else "" for schema in served}))

    async def _read(self, name: TableName) -> Table:
        found = await self._runner.inspect(lambda i: read_table(i, self._dialect, name))
        if found is None:
            raise NoSuchTableError(name.key)
        return self._meanings.of_table(found)

    def forget(self) -> None:
        """Everything is read anew."""
        self._names = Kept[dict[str, TableName]]()
        self._references = Kept[tuple[ForeignKey, ...]]()
        self._estimates = Kept[dict[str, int]]()
        self._routines = Kept[Routines]()
        self._tables: dict[str, Kept[Table]] = {}
