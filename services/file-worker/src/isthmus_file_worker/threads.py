"""Blocking work beside the event loop that ends when its call does."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The call that this work was for has ended."""


class Stop:
    """Asks work in a thread to end; the work looks at it wherever it can end cleanly."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long the call may take from now on."""
        self._asked = threading.Event()
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the call is to be answered; never less than a little."""
        return max(self._end - time.monotonic(), 0.1)

    def ask(self) -> None:
        """The work is no longer wanted."""
        self._asked.set()

    def check(self) -> None:
        """Raises Stopped once the work was asked to end."""
        if self._asked.is_set():
            raise Stopped


async def run(pool: ThreadPoolExecutor, work: Callable[[Stop], T], seconds: float) -> T:
    """Runs `work` in a thread of the pool. Cancelled, it asks the work to stop and waits until it has.

    Work that was done by then is answered as done, so that a caller is not told that a write failed which did not.
    """
    stop = Stop(seconds)
    submitted = pool.submit(contextvars.copy_context().run, work, stop)  # its log records name the call
    future = asyncio.wrap_future(submitted)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop.ask()
        if submitted.cancel():
            raise
        await asyncio.wait((future,))
        if future.exception() is not None:
            raise
        return future.result()
