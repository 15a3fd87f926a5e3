"""Runs reads of PostgreSQL on the event loop, over psycopg's asynchronous connections: no thread has to be woken.

The driver is the same as in the threads, so a URL means the same and so does every value.
"""

import asyncio
import math
import select
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import URL

from isthmus_db_worker.dialects import Dialect, postgresql
from isthmus_db_worker.runner import ThreadRunner
from isthmus_db_worker.statements import Compiled, Row, Statement, Values

CANCEL_SECONDS = 5.0


class Opened:
    """A connection, with the time limit that it has now."""

    def __init__(self, connection: AsyncConnection[tuple[object, ...]]) -> None:
        self.connection = connection
        self.limit = 0
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def is_stale(self) -> bool:
        """Whether something came while nobody asked: so a server says that it goes, or is gone."""
        return self.connection.closed or bool(self._poll.poll(0))

    async def run(self, compiled: Compiled, values: Values, left: float) -> list[Row]:
        """All rows. The statement ends by itself after the seconds that are left."""
        if self.limit != (whole := max(1, math.ceil(left))):
            await self.connection.execute(postgresql.limit_statement(whole).encode())
            self.limit = whole
        cursor = await self.connection.execute(compiled.text.encode(), compiled.parameters(values))
        codes = [column.type_code for column in cursor.description or ()]
        return list(compiled.rows(await cursor.fetchall(), codes))


class PostgresqlRunner(ThreadRunner):
    """As ThreadRunner, but for reads, which have as many connections of their own as there may be calls at a time."""

    def __init__(self, url: URL, dialect: Dialect, size: int, longest: float = math.inf) -> None:
        super().__init__(url, dialect, size, longest)
        self._idle: list[Opened] = []
        self._places = asyncio.Semaphore(size)

    async def read(
        self, statement: Statement, take: Callable[[Row], bool], seconds: float, values: Values | None = None
    ) -> None:
        """Gives row by row to `take` until that returns True. A read that is cancelled is stopped in the server."""
        compiled = statement.compiled(self.engine(read_only=True).dialect)
        if not compiled.is_final:
            await super().read(statement, take, seconds, values)
            return
        end = time.monotonic() + min(seconds, self.longest)
        for row in await self._rows(compiled, values or {}, end):
            if take(row):
                return

    def close(self) -> None:
        """Gives up threads and connections."""
        for opened in self._idle:
            opened.connection.pgconn.finish()
        self._idle.clear()
        super().close()

    async def _rows(self, compiled: Compiled, values: Values, end: float) -> list[Row]:
        """A read that fails is not run again: it may be what the server was rid of."""
        async with self._places:
            opened = self._kept() or await self._open()
            try:
                return await opened.run(compiled, values, end - time.monotonic())
            finally:
                await self._give_back(opened)

    def _kept(self) -> Opened | None:
        while self._idle:
            opened = self._idle.pop()
            if not opened.is_stale():
                return opened
            opened.connection.pgconn.finish()
        return None

    async def _open(self) -> Opened:
        engine = self.engine(read_only=True)
        _, options = engine.dialect.create_connect_args(self.url)
        given: dict[str, Any] = {**postgresql.connect_options(self.url), **options}
        connection = await AsyncConnection.connect(autocommit=True, **given)
        with ExitStack() as undo:
            undo.callback(connection.pgconn.finish)
            postgresql.register_loaders(connection.adapters)
            await connection.execute(postgresql.session_settings(read_only=True).encode())
            undo.pop_all()
        return Opened(cast("AsyncConnection[tuple[object, ...]]", connection))

    async def _give_back(self, opened: Opened) -> None:
        """A connection on which nothing runs any more is kept. Another is thrown away: a late signal may hit it."""
        connection = opened.connection
        if connection.info.transaction_status is TransactionStatus.IDLE:
            self._idle.append(opened)
            return
        stopping = asyncio.ensure_future(connection.cancel_safe(timeout=CANCEL_SECONDS))
        while not stopping.done():
            with suppress(asyncio.CancelledError, psycopg.Error):  # it is stopped however often the call is cancelled
                await asyncio.shield(stopping)
        connection.pgconn.finish()
