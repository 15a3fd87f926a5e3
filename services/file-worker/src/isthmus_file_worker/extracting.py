"""What is in files that others wrote, read by a process that may be killed, and is, when it takes too much."""

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal

import msgspec

from isthmus.errors import DeadlineExceeded, InvalidArguments, NotFound, SourceUnavailable, TooLarge, ToolError, near
from isthmus_file_worker import media
from isthmus_file_worker.process import Died, Late, ReadingProcess
from isthmus_file_worker.readers.confinement import MEMORY
from isthmus_file_worker.readers.messages import NAMES, Answer, Facts, Job, Pages, Picture, Refusal, Rows
from isthmus_file_worker.room import LOOK, Room
from isthmus_file_worker.store import OpenFile
from isthmus_file_worker.threads import Stop

AT_A_TIME = 4
"""Reading processes of a worker."""
SECONDS = 20.0
"""For one file at most."""
_GRACE = 0.3
"""Seconds before the end of the call in which it is answered."""

logger = logging.getLogger("isthmus.files")

# One bound for all stores of the worker: they share its machine's memory.
_room = Room(AT_A_TIME)

Extract = Rows | Pages | Picture | Facts


class Reader:
    """A reading process, for the files of one call, one after the other; begun when it is needed, and gone at exit.

    Between two files it may be ended for another call's sake.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._process: ReadingProcess | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _room.leave(self)

    def extract(self, file: OpenFile, job: Job, seconds: float = SECONDS) -> Extract:
        """What the job asks for. Raises ToolErrors; after those that come from the process, another one is begun."""
        end = time.monotonic() + max(min(seconds, self._stop.left() - _GRACE), LOOK)
        if not _room.take(self, end, self._stop):
            raise DeadlineExceeded("Too many files are being read at the moment; try again.")
        try:
            answer = self._ask(file, job, end)
        except BaseException:
            self.give_up()()
            raise
        finally:
            _room.rest(self)
        if isinstance(answer, Refusal):
            raise _error(answer, job)
        return answer

    def give_up(self) -> Callable[[], None]:
        """Lets go of the process, if there is one; what is returned ends it."""
        process, self._process = self._process, None
        return _nothing if process is None else process.kill

    def _ask(self, file: OpenFile, job: Job, end: float) -> Answer:
        if self._process is None:
            self._process = _begun()
        left = max(end - time.monotonic(), LOOK)
        job = msgspec.structs.replace(job, seconds=min(job.seconds, left * 0.7))
        try:
            answer = self._process.ask(file, job, end, self._stop)
        except Late:
            raise DeadlineExceeded(f"Reading {job.path} took too long and was stopped.") from None
        except Died as died:
            logger.warning("the process that read %s ended: %s", job.path, died)
            raise _too_much(job) from None
        if isinstance(answer, Refusal) and answer.code == "memory":
            raise _too_much(job)
        return answer


def _nothing() -> None:
    """There is no process to end."""


def _begun() -> ReadingProcess:
    try:
        return ReadingProcess()
    except OSError as error:
        logger.warning("no process can be started to read files: %s", error.strerror)
        raise SourceUnavailable("There is no room for another process that reads files; try again later.") from None


def extract(file: OpenFile, job: Job, stop: Stop) -> Extract:
    """The same for one file, in a process that reads nothing else."""
    with Reader(stop) as reader:
        return reader.extract(file, job)


def document_text(reader: Reader, file: OpenFile, path: str, kind: media.Kind, most: int) -> Pages:
    """The text of a document or a workbook (see `media.has_text_inside`), page by page, sheet by sheet, in lines.

    Up to `most` bytes of UTF-8; `more` or `cut` says that there would be more. Raises ToolErrors.
    """
    if not media.has_text_inside(kind):
        raise InvalidArguments(f"{path} is neither a document nor a workbook.")
    job = job_for(kind, file, path, "text", budget=most)
    found = reader.extract(file, job)
    if not isinstance(found, Pages):
        raise _too_much(job)
    return found


def job_for(
    kind: media.Table | media.Document | media.Archive | media.Image,
    file: OpenFile,
    path: str,
    task: Literal["read", "inspect", "text"],
    *,
    budget: int = 0,
) -> Job:
    """A job for the whole file; what is to be chosen of it is up to the caller."""
    encoding = "" if isinstance(kind, media.Archive | media.Image) else kind.encoding
    return Job(
        task=task, format=kind.format, path=path, size=file.status.size, encoding=encoding or "utf-8", budget=budget
    )


def _too_much(job: Job) -> ToolError:
    return TooLarge(
        f"{job.path} cannot be read: it is broken, or reading it takes more than the {MEMORY // 1024**2} MB of memory "
        "that there are for it."
    )


def _error(refusal: Refusal, job: Job) -> ToolError:
    """The sentence for a person or a model."""
    if refusal.detail:
        logger.info("%s cannot be read: %s", job.path, refusal.detail)
    message = refusal.message[:1000]
    match refusal.code:
        case "memory":
            return _too_much(job)
        case "protected":
            return ToolError(f"{job.path} is protected by a password, or of a format older than 2007.")
        case "too_large":
            return TooLarge(message)
        case "not_found":
            return NotFound(message)
        case "invalid_arguments":
            return InvalidArguments(message + near(refusal.wrong, refusal.known))
        case "broken":
            return ToolError(message or f"{job.path} is no {NAMES[job.format]} that can be read.")
