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
from isthmus_db_worker.tables import ForeignKey
from isthmus_db_worker.views import View

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
        diagnosis = diagnose(database, error)
        _log(database, source, error, diagnosis.failure)
        if own and diagnosis.failure in (Failure.CHANGED, Failure.OTHER, Failure.VALUE):
            raise InvalidArguments(_own(database, error, diagnosis.failure)) from None
        if diagnosis.failure is Failure.CHANGED:
            database.catalog.doubt()
        if routine and (told := _of_routine(database, error, diagnosis.failure, routine)) is not None:
            raise told from None
        raise _tool_error(diagnosis) from None


class Contended(Conflict):
    """Another change to the same data was in the way; try again."""


class Misfit(InvalidArguments):
    """A value does not fit the column that it is for."""


class Violation(Conflict):
    """The data does not allow that change."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(f"{_violation(diagnosis.failure, (), '')}; nothing was changed.")
        self.diagnosis = diagnosis


def about_record(diagnosis: Diagnosis, view: View, references: Iterable[ForeignKey], action: str) -> str:
    """What is wrong with a record, naming columns, constraints and tables as far as the caller sees them."""
    name, failure = diagnosis.constraint or "", diagnosis.failure
    columns = diagnosis.columns or view.table.constraints.get(name, ())
    seen = bool(columns) and set(columns) <= view.columns.keys()
    match failure:
        case Failure.VALUE | Failure.RANGE:
            return _tool_error(diagnosis).message.removesuffix(".")
        case Failure.REFERENCE:
            return _reference(view, [key for key in references if key.name == name or not name], action, name)
        case Failure.RULE:
            return _violation(failure, (), name if view.is_open else "")
        case _:
            told = seen and name not in ("PRIMARY", *columns)
            return _violation(failure, columns if seen else (), name if told else "")


def diagnose(database: Database, error: Exception) -> Diagnosis:
    """What an error of SQLAlchemy or the driver means."""
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
            return Contended()
        case Failure.STOPPED:
            return DeadlineExceeded()
        case Failure.FORBIDDEN | Failure.READ_ONLY | Failure.ENDS:
            return NotAllowed("The database does not allow this to the account that it is reached with.")
        case Failure.CHANGED:
            return Conflict("The table is not what it was a moment ago; look at it again with describe_table.")
        case Failure.VALUE:
            return Misfit("A value does not fit the column that it is for; describe_table shows the types.")
        case Failure.RANGE:
            return Misfit("A figure is larger than the database can hold, or made of what is no number.")
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


def _violation(failure: Failure, columns: Iterable[str], name: str) -> str:
    named, rule = " and ".join(columns), f" ({name})" if name else ""
    match failure:
        case Failure.TAKEN:
            return f"There is a record with that {named or 'key'} already{rule}"
        case Failure.REFERENCE:
            return "A foreign key would point at a record that is not there, or a record is still pointed at"
        case Failure.MISSING:
            return f"{named or 'A column'} needs a value"
        case _ if name:
            return f"The rule {name} of the table does not allow these values"
        case _:
            return "A rule of the database does not allow these values"


def _reference(view: View, references: Iterable[ForeignKey], action: str, name: str) -> str:
    """Which way it points, where the constraint's name or what was done tells."""
    key = view.table.key
    forth = [r for r in references if r.table == key and set(r.columns) <= view.columns.keys()]
    back = [r for r in references if r.to_table == key and r.table != key]
    match forth, back:
        case [one], [] if action != "delete":
            return f"{' and '.join(one.columns)} points at no record of {one.to_table}"
        case _ if action == "delete" or (back and not forth):
            pointing = f"Records of {back[0].table}" if name and len(back) == 1 else "Other records"
            return f"{pointing} still point at a record that this would delete or change"
        case _ if action == "create":
            return "A foreign key would point at a record that is not there"
        case _:
            return _violation(Failure.REFERENCE, (), "")


def _log(database: Database, source: str, error: Exception, failure: Failure) -> None:
    """One line, without the password and without the values of the statement."""
    origin = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    text = " ".join(str(origin).split())
    for secret in secrets(database.url):
        text = text.replace(secret, "***")
    level = logging.INFO if failure is Failure.BUSY else logging.WARNING  # which is tried again, perhaps many times
    logger.log(level, "%s: %s: %s: %s", source, failure.name.lower(), type(origin).__name__, text)
