"""Runs short reads of SQLite on the event loop: a thread costs more than they do.

sqlite3 gives up the interpreter at every step of a statement, so threads that read at the same time get in each other's
way. A read that turns out not to be short, or meets another connection's lock, begins anew in a thread.
"""

import sqlite3
import time
from collections.abc import Callable
from typing import cast

from sqlalchemy.exc import SQLAlchemyError

from isthmus_db_worker.runner import ThreadRunner
from isthmus_db_worker.statements import Row, Statement, Values

BUDGET = 0.004
"""Seconds that one read may take of the loop."""
STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock: about 0.2 ms."""
FETCHED = 16
"""Rows between two looks at the clock."""
SLOW_SECONDS = 10.0
"""How long a statement goes to a thread at once after it was not short."""


class SqliteRunner(ThreadRunner):
    """As ThreadRunner, but for short reads."""

    _opened: sqlite3.Connection | None = None
    _end = 0.0

    async def read(
        self, statement: Statement, take: Callable[[Row], bool], seconds: float, values: Values | None = None
    ) -> None:
        """Gives row by row to `take` until that returns True; none before it is certain that the read is short."""
        rows = self._try(statement, values or {})
        if rows is None:
            await super().read(statement, take, seconds, values)
            return
        for row in rows:
            if take(row):
                return

    def close(self) -> None:
        """Gives up threads and connections."""
        if self._opened is not None:
            self._opened.close()
        super().close()

    def _try(self, statement: Statement, values: Values) -> list[Row] | None:
        """All rows; None when that takes too long or fails: a thread has the time, and tells what is wrong."""
        if time.monotonic() < statement.slow_until:
            return None
        try:
            connection = self._connected()
            compiled = statement.compiled(self.engine(read_only=True).dialect)
            if not compiled.is_final:
                return None
            self._end = time.monotonic() + BUDGET
            rows: list[Row] = []
            cursor = connection.execute(compiled.text, compiled.in_order(values))
            codes = [None] * len(cursor.description)
            while batch := cursor.fetchmany(FETCHED):
                rows += compiled.rows(batch, codes)
                if time.monotonic() > self._end:
                    cursor.close()
                    raise sqlite3.OperationalError("interrupted")
        except (sqlite3.Error, SQLAlchemyError, OverflowError):
            statement.slow_until = time.monotonic() + SLOW_SECONDS
            return None
        return rows

    def _connected(self) -> sqlite3.Connection:
        """One connection is enough: on the loop one read is over before the next begins."""
        if self._opened is None:
            pooled = self.engine(read_only=True).raw_connection()
            pooled.detach()  # it stays, and must not take the place of a thread's
            self._opened = cast("sqlite3.Connection", pooled.dbapi_connection)
            self._opened.text_factory = str  # the quicker one; text that is not UTF-8 is read in a thread
            self._opened.execute("PRAGMA busy_timeout = 0")
            self._opened.set_progress_handler(lambda: time.monotonic() > self._end, STEPS)
        return self._opened
