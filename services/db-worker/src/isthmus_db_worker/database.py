"""One database that tools work on: its dialect, its runner and its catalog."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sqlalchemy.engine import URL

from isthmus_db_worker.catalog import Catalog
from isthmus_db_worker.dialects import Dialect, dialect_of
from isthmus_db_worker.meanings import Meanings
from isthmus_db_worker.runner import ThreadRunner


@dataclass(frozen=True)
class Database:
    """What the tools get as a source's handle. Nothing is connected before the first call."""

    url: URL
    dialect: Dialect
    runner: ThreadRunner
    catalog: Catalog

    @classmethod
    def at(cls, url: URL, limit: int, schemas: Sequence[str], meanings: Meanings) -> Self:
        """The database at the URL, for `limit` calls at a time; without schemas the default one alone."""
        dialect = dialect_of(url)
        runner = ThreadRunner(url, dialect, limit)
        return cls(url, dialect, runner, Catalog(runner, dialect, schemas, meanings))
