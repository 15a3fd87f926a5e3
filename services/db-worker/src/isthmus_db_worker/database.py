"""One database that tools work on: its dialect, its runner and its catalog."""

import importlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from sqlalchemy.engine import URL

from isthmus.plans import Writes
from isthmus_db_worker.catalog import Catalog
from isthmus_db_worker.dialects import Dialect, dialect_of
from isthmus_db_worker.meanings import Meanings
from isthmus_db_worker.recent import Recent
from isthmus_db_worker.rows import BUDGET
from isthmus_db_worker.runner import ThreadRunner
from isthmus_db_worker.sqlite_runner import SqliteRunner
from isthmus_db_worker.views import View

VIEWS, PLANS = 1000, 500
"""How many of each are kept."""


@dataclass(frozen=True)
class Limits:
    """What one answer may have at most."""

    rows: int = 1000
    bytes: int = BUDGET
    seconds: float = math.inf
    """Where the caller waits longer."""


@dataclass(frozen=True)
class Database:
    """What the tools get as a source's handle. Nothing is connected before the first call."""

    url: URL
    dialect: Dialect
    runner: ThreadRunner
    catalog: Catalog
    limits: Limits = Limits()
    writes: Writes = "direct"
    """How records are changed: at once; only with the plan of a preview; or after the user agreed."""
    views: Recent[View] = field(default_factory=lambda: Recent(VIEWS))
    """Tables as callers saw them."""
    plans: Recent[object] = field(default_factory=lambda: Recent(PLANS))
    """Queries as they were planned, by their shape."""

    @classmethod
    def at(
        cls,
        url: URL,
        limit: int,
        schemas: Sequence[str],
        meanings: Meanings,
        limits: Limits,
        writes: Writes = "direct",
    ) -> Self:
        """The database at the URL, for `limit` calls at a time; without schemas the default one alone."""
        dialect = dialect_of(url)
        runner = runner_of(url)(url, dialect, limit, limits.seconds)
        return cls(url, dialect, runner, Catalog(runner, dialect, schemas, meanings), limits, writes)


def runner_of(url: URL) -> type[ThreadRunner]:
    """The engine's own runner, loaded with its driver when it is needed; threads do for any other."""
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return SqliteRunner
        case "postgresql+psycopg" if sys.platform != "win32":  # whose event loop the driver cannot use
            return importlib.import_module("isthmus_db_worker.postgresql_runner").PostgresqlRunner
        case _:
            return ThreadRunner
