"""From a driver's error to one sentence: the log gets what happened, the caller what can be done."""

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from sqlalchemy.exc import (
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    InvalidatePoolError,
    NoSuchTableError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from isthmus.errors import Conflict, DeadlineExceeded, InvalidArguments, NotAllowed, SourceUnavailable, ToolError
from isthmus_db_worker.database import Database
from isthmus_db_worker.dialects import Diagnosis, Failure
from isthmus_db_worker.settings import secrets
from isthmus_db_worker.tables import Table

logger = logging.getLogger("isthmus.db")

RAISED = 200
"""Characters that a routine may say for itself."""


@contextmanager
def explained(database: Database, source: str, *, own: bool = False, routine: str = "") -> Generator[None]:
    """Turns what SQLAlchemy and drivers raise into ToolErrors.

    A broken constraint comes out as Violation, for the tool to say which columns it is about. Of a statement that is
    the caller's own the engine's words are told where they speak of names; of a routine what its author says.
    """
    try:
        yield
    except (SQLAlchemyError, OverflowError, UnicodeError, *database.dialect.errors) as error:
        diagnosis = _diagnose(database, error)
        _log(database, source, error, diagnosis.failure)
        if own and diagnosis.failure in (Failure.CHANGED, Failure.OTHER, Failure.VALUE):
            raise InvalidArguments(_own(database, error, diagnosis.failure)) from None
        if diagnosis.failure is Failure.CHANGED:
            database.catalog.doubt()
        if routine and (told := _of_routine(database, error, diagnosis.failure, routine)) is not None:
            raise told from None
        raise _tool_error(diagnosis) from None


class Violation(Conflict):
    """The data does not allow that change."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(_violation(diagnosis.failure, ()))
        self.diagnosis = diagnosis

    def about(self, table: Table, visible: Iterable[str]) -> Conflict:
        """The same, naming the columns that the caller sees."""
        columns = self.diagnosis.columns or table.constraints.get(self.diagnosis.constraint or "", ())
        seen = set(visible)
        return Conflict(_violation(self.diagnosis.failure, columns if set(columns) <= seen else ()))


def _diagnose(database: Database, error: Exception) -> Diagnosis:
    if isinstance(error, PoolTimeout | DisconnectionError | InvalidatePoolError):
        return Diagnosis(Failure.UNREACHABLE)
    if isinstance(error, NoSuchTableError):
        return Diagnosis(Failure.CHANGED)
    origin = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    if (diagnosis := database.dialect.diagnose(origin)) is not None:
        return diagnosis
    if isinstance(error, IntegrityError):
        return Diagnosis(Failure.RULE)
    if isinstance(error, OperationalError | InterfaceError):
        return Diagnosis(Failure.UNREACHABLE)
    if isinstance(origin, ValueError | TypeError | OverflowError):
        return Diagnosis(Failure.VALUE)
    return Diagnosis(Failure.OTHER)


def _tool_error(diagnosis: Diagnosis) -> ToolError:
    match diagnosis.failure:
        case Failure.UNREACHABLE:
            return SourceUnavailable("The database cannot be reached at the moment; try again later.")
        case Failure.BUSY:
            return Conflict("Another change to the same data was in the way; try again.")
        case Failure.STOPPED:
            return DeadlineExceeded()
        case Failure.FORBIDDEN | Failure.READ_ONLY | Failure.ENDS:
            return NotAllowed("The database does not allow this to the account that it is reached with.")
        case Failure.CHANGED:
            return Conflict("The table is not what it was a moment ago; look at it again with describe_table.")
        case Failure.VALUE:
            return InvalidArguments("A value does not fit the column that it is for; describe_table shows the types.")
        case Failure.RANGE:
            return InvalidArguments("A figure is larger than the database can hold, or made of what is no number.")
        case Failure.UNSEARCHABLE:
            return InvalidArguments("matches needs a full-text index, which this column has not; use contains instead.")
        case Failure.OTHER:
            return ToolError("The database refused this; the worker's log has the reason.")
        case _:
            return Violation(diagnosis)


def _own(database: Database, error: Exception, failure: Failure) -> str:
    """What is wrong with a caller's query, in the engine's words where they cannot hold a value of any row."""
    origin = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    complaint = database.dialect.complaint(origin)
    words = "" if complaint is None else complaint.strip().partition("\n")[0][:200]
    match failure:
        case Failure.CHANGED:
            return (
                f"The query names something that is not there: {words}."
                if words
                else ("The query names something that is not there; describe_table shows tables and columns.")
            )
        case _ if words:
            return f"The database does not take this query: {words}."
        case Failure.VALUE:
            return (
                "The query meets a value that does not fit: a text that is no number or date, a division by zero, or "
                "a number that is too large."
            )
        case _:
            return "The database does not take this query; look for a mistake in it, or ask for less at once."


def _of_routine(database: Database, error: Exception, failure: Failure, routine: str) -> ToolError | None:
    """What a routine failed with, in its author's words where these are meant for users."""
    origin = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    engine = database.dialect.routines
    if engine is not None and (words := engine.raised(origin)) is not None:
        return Conflict(f"{routine} was not done: {' '.join(words.split())[:RAISED].rstrip('.')}.")
    match failure:
        case Failure.READ_ONLY:
            return NotAllowed(f"{routine} tried to write, which it may not do here; nothing was changed.")
        case Failure.ENDS:
            return NotAllowed(f"{routine} ends transactions (COMMIT, ROLLBACK), so it cannot be called here.")
        case Failure.CHANGED:
            return Conflict(
                f"{routine} or something that it uses is not what it was; look at it again with list_routines."
            )
        case Failure.VALUE | Failure.RANGE:
            return InvalidArguments(f"{routine} cannot work with a value that it was given, or that it met.")
        case _:
            return None


def _violation(failure: Failure, columns: Iterable[str]) -> str:
    named = " and ".join(columns)
    match failure:
        case Failure.TAKEN:
            return f"There is a record with that {named or 'key'} already; nothing was changed."
        case Failure.REFERENCE:
            return (
                f"{named or 'A foreign key'} would point at a record that is not there, or a record is still pointed "
                "at; nothing was changed."
            )
        case Failure.MISSING:
            return f"{named or 'A column'} needs a value; nothing was changed."
        case _:
            return "A rule of the database does not allow these values; nothing was changed."


def _log(database: Database, source: str, error: Exception, failure: Failure) -> None:
    """One line, without the password and without the values of the statement."""
    origin = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    text = " ".join(str(origin).split())
    for secret in secrets(database.url):
        text = text.replace(secret, "***")
    logger.warning("%s: %s: %s: %s", source, failure.name.lower(), type(origin).__name__, text)
