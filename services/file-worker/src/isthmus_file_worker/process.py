"""The process in which files are read that others wrote, as the worker sees it."""

import os
import select
import subprocess
import sys
import time

import msgspec

from isthmus.errors import Conflict, TooLarge
from isthmus_file_worker.readers.messages import LARGEST, LENGTH, Answer, Job, Wanted, framed
from isthmus_file_worker.room import LOOK
from isthmus_file_worker.store import OpenFile
from isthmus_file_worker.threads import Stop

FETCHED = 4 * 1024**3
"""Bytes that are read of one file, those that are read again counted again."""
PIECE = 1024 * 1024
"""Bytes that the process may ask for at once."""

_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
"""Nothing of the worker's own, so no credentials."""


class Late(Exception):
    """The time is over."""


class Died(Exception):
    """The process ended, or said what it cannot mean."""


class ReadingProcess:
    """A process that reads one file after the other, and the pipes to and from it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-m", "isthmus_file_worker.readers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)

    def kill(self) -> None:
        """Whatever it does; returns once it is gone."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def ask(self, file: OpenFile, job: Job, end: float, stop: Stop) -> Answer:
        """Gives it the job, and of the file what it wants, until it answers."""
        self._send(msgspec.msgpack.encode(job), end, stop)
        fetched = 0
        while True:
            message = self._receive(end, stop)
            try:
                said = msgspec.msgpack.decode(message, type=Wanted | Answer)
            except msgspec.DecodeError as error:
                raise Died(f"what it said cannot be read: {error}") from None
            if not isinstance(said, Wanted):
                return said
            size = min(said.size, file.status.size - said.offset)
            fetched += size
            if not (said.offset >= 0 and 0 < size <= PIECE):
                raise Died("it asked for bytes that are none of the file's")
            if fetched > FETCHED:
                raise TooLarge(f"More than {FETCHED} bytes of {job.path} would have to be read; ask for less.")
            data = file.read(said.offset, size)
            if len(data) < size:
                raise Conflict(f"{job.path} was changed by another at the same moment; look at it again.")
            self._send(data, end, stop)

    def _send(self, message: bytes, end: float, stop: Stop) -> None:
        data = memoryview(framed(message))
        while data:
            self._wait(self._to, select.POLLOUT, end, stop)
            try:
                data = data[os.write(self._to, data) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                raise Died(self._how()) from None

    def _receive(self, end: float, stop: Stop) -> bytes:
        size = int.from_bytes(self._exactly(LENGTH, end, stop), "big")
        if size > LARGEST:
            raise Died("its answer is too large")
        return self._exactly(size, end, stop)

    def _exactly(self, size: int, end: float, stop: Stop) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait(self._from, select.POLLIN, end, stop)
            piece = os.read(self._from, min(size - len(data), PIECE))
            if not piece:
                raise Died(self._how())
            data += piece
        return bytes(data)

    def _wait(self, descriptor: int, event: int, end: float, stop: Stop) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            stop.check()
            left = end - time.monotonic()
            if left <= 0:
                raise Late
            if poll.poll(min(left, LOOK) * 1000):
                return

    def _how(self) -> str:
        try:
            return f"exit status {self._process.wait(1)}"
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
