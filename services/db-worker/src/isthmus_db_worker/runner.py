"""Runs what SQLAlchemy built: the synchronous driver in a bounded pool of threads.

A runner for one engine (on the event loop, or with a driver of its own) offers the same three methods.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import inspect
from sqlalchemy.engine import URL, Connection, Engine, Inspector
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from isthmus.errors import OutcomeUnknown
from isthmus_db_worker.dialects import SPENT, Dialect
from isthmus_db_worker.statements import Row, Statement, Values

R = TypeVar("R")

FETCHED = 64
"""Rows at a time."""
INTERRUPT_EVERY = 0.1
"""Seconds between two interruptions of a statement that goes on, or that had not begun."""
INTERRUPTERS = 4
"""Threads that interrupt: a server that does not answer them must not hold up those of another database."""
INSPECT_SECONDS = 30.0
"""How long a statement that reads the schema may take: what it finds is for other callers too."""


@dataclass
class Job:
    """Something that a thread does for a call, and its connection while it has one."""

    deadline: float
    """On the monotonic clock."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: DBAPIConnection | None = None
    unwanted: bool = False


class Unwanted(Exception):
    """The caller stopped waiting before the work began, or before it was committed."""


class ThreadRunner:
    """Runs statements on one database, with as many threads and connections as it takes calls at a time."""

    def __init__(self, url: URL, dialect: Dialect, size: int, longest: float = math.inf) -> None:
        """`longest`: the seconds that a call may take, however long its caller would wait."""
        self.url = url
        self._dialect = dialect
        self._size = size
        self.longest = longest
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="database")
        self._interrupters = ThreadPoolExecutor(INTERRUPTERS, thread_name_prefix="interrupt")
        self._engines: dict[bool, Engine] = {}
        self._opening = threading.Lock()

    async def read(
        self, statement: Statement, take: Callable[[Row], bool], seconds: float, values: Values | None = None
    ) -> None:
        """Gives row by row to `take`, in a thread, until that returns True.

        A read that is cancelled is stopped in the database; one that takes longer than the seconds stops there by
        itself, whatever became of this worker.
        """

        def work(connection: Connection) -> None:
            with connection.execute(statement.select, values) as result:
                while batch := result.fetchmany(FETCHED):
                    if any(take(row) for row in batch):
                        return

        await self._run(lambda job: self._read_with(job, work), seconds)

    async def look(self, work: Callable[[Connection], R], seconds: float) -> R:
        """What the work finds out with a connection that cannot write."""
        return await self._run(lambda job: self._read_with(job, work), seconds)

    async def inspect(self, work: Callable[[Inspector], R]) -> R:
        """Reads the schema."""
        return await self.look(lambda connection: work(inspect(connection)), INSPECT_SECONDS)

    async def transaction(self, work: Callable[[Connection], R], seconds: float) -> R:
        """One transaction: committed when the work returns, rolled back when it raises or is no longer wanted.

        A statement of it that takes longer than the seconds stops by itself, as with `read`.

        When the commit was quicker than the cancellation, its result is returned all the same: what is known to
        have happened is told. Raises OutcomeUnknown when the connection is lost during the commit.
        """

        def commit(job: Job) -> R:
            committing = False
            try:
                with self._connection(job, read_only=False) as connection, connection.begin():
                    result = work(connection)
                    with job.lock:
                        if job.unwanted:
                            raise Unwanted
                        job.connection = None
                    committing = True
            except DBAPIError as error:
                if committing and error.connection_invalidated:
                    raise OutcomeUnknown(
                        "The database was lost while the change was being committed: outcome unknown; read the data "
                        "before you try again."
                    ) from error
                raise
            return result

        return await self._run(commit, seconds, keep=True)

    def close(self) -> None:
        """Gives up threads and connections."""
        self._threads.shutdown()
        self._interrupters.shutdown()
        for engine in self._engines.values():
            engine.dispose()

    def _read_with(self, job: Job, work: Callable[[Connection], R]) -> R:
        with self._connection(job, read_only=True) as connection:
            return work(connection)

    @contextmanager
    def _connection(self, job: Job, *, read_only: bool) -> Generator[Connection]:
        """A connection that the job can be interrupted on. One that was is thrown away, as a late signal may hit
        it, and so is one that is spent."""
        with self.engine(read_only=read_only).connect() as connection:
            with job.lock:
                if job.unwanted:
                    raise Unwanted
                job.connection = connection.connection.dbapi_connection
            try:
                self._dialect.limit(connection, job.deadline - time.monotonic())
                yield connection
            finally:
                with job.lock:
                    job.connection = None
                if job.unwanted or (not connection.invalidated and connection.info.get(SPENT)):
                    connection.invalidate()

    def engine(self, *, read_only: bool) -> Engine:
        """Made when first needed, which loads the driver."""
        with self._opening:
            if read_only not in self._engines:
                self._engines[read_only] = self._dialect.create_engine(self.url, self._size, read_only=read_only)
            return self._engines[read_only]

    async def _run(self, work: Callable[[Job], R], seconds: float, *, keep: bool = False) -> R:
        job = Job(time.monotonic() + min(seconds, self.longest))
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stopping = asyncio.create_task(self._stop(job, future))
            while not stopping.done():
                try:
                    await asyncio.shield(stopping)
                except asyncio.CancelledError:
                    continue
            if future.exception() is None and keep:
                return future.result()
            raise

    async def _stop(self, job: Job, future: asyncio.Future[R]) -> None:
        """Returns once the thread has: it must not go on working for nobody."""
        while not future.done():
            await asyncio.get_running_loop().run_in_executor(self._interrupters, self._interrupt, job)
            await asyncio.wait([future], timeout=INTERRUPT_EVERY)

    def _interrupt(self, job: Job) -> None:
        with job.lock:
            job.unwanted = True
            if job.connection is not None:
                self._dialect.interrupt(job.connection)
