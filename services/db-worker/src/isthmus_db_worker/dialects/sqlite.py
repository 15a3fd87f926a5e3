"""SQLite, through the standard library's sqlite3.

A column holds whatever was stored, whatever its declared type says. So values are bound and fetched as they are;
dates, times and moments are the text (or number) that is stored, in the form that SQLite's own functions write.
"""

import sqlite3
import time as clock
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from isthmus_db_worker import values
from isthmus_db_worker.dialects import Diagnosis, Dialect, Explanation, Failure, Untyped, json_path, sqlite_decimals
from isthmus_db_worker.values import Conversion, JsonValue

BUSY_SECONDS = 5
"""How long a statement waits for another connection's lock."""
TURN_SECONDS = 0.1
"""How long it waits at a time where many wait for the same lock: SQLite's own wait cannot be interrupted."""
STEPS = 1_000_000
"""Steps of SQLite's machine between two looks at the clock: about 20 ms, and too few looks to cost anything."""

FAILURES = {
    "SQLITE_CANTOPEN": Failure.UNREACHABLE,
    "SQLITE_NOTADB": Failure.UNREACHABLE,
    "SQLITE_CORRUPT": Failure.UNREACHABLE,
    "SQLITE_IOERR": Failure.UNREACHABLE,
    "SQLITE_FULL": Failure.UNREACHABLE,
    "SQLITE_BUSY": Failure.BUSY,
    "SQLITE_LOCKED": Failure.BUSY,
    "SQLITE_INTERRUPT": Failure.STOPPED,
    "SQLITE_READONLY": Failure.FORBIDDEN,
    "SQLITE_PERM": Failure.FORBIDDEN,
    "SQLITE_SCHEMA": Failure.CHANGED,
    "SQLITE_MISMATCH": Failure.VALUE,
    "SQLITE_TOOBIG": Failure.VALUE,
    "SQLITE_CONSTRAINT_UNIQUE": Failure.TAKEN,
    "SQLITE_CONSTRAINT_PRIMARYKEY": Failure.TAKEN,
    "SQLITE_CONSTRAINT_ROWID": Failure.TAKEN,
    "SQLITE_CONSTRAINT_FOREIGNKEY": Failure.REFERENCE,
    "SQLITE_CONSTRAINT_NOTNULL": Failure.MISSING,
    "SQLITE_CONSTRAINT_DATATYPE": Failure.VALUE,
    "SQLITE_CONSTRAINT": Failure.RULE,
}


def _stored_moment(value: JsonValue) -> object:
    """ISO 8601 with the blank that SQLite's datetime() writes, or the number of an application's own reckoning."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004
    datetime.fromisoformat(value)
    return value[:10] + value[10:].replace("T", " ", 1)


def _stored_time(value: JsonValue) -> object:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004
    time.fromisoformat(value)
    return value


def _stored_decimal(value: JsonValue) -> object:
    number = values.DECIMAL.parse(value)
    return _bindable(cast("Decimal", number))


def _bindable(number: Decimal) -> int | float:
    """SQLite has no decimals: NUMERIC columns hold integers and floats."""
    if number.is_finite() and number.adjusted() < 19 and abs(number) < 2**63 and number == int(number):
        return int(number)
    return float(number)


def _present_decimal(value: object) -> JsonValue:
    return values.present(Decimal(repr(value)) if isinstance(value, int | float) else value)


def _present_boolean(value: object) -> JsonValue:
    return bool(value) if value in (0, 1) else values.present(value)


class SqliteConnection(sqlite3.Connection):
    """A connection that knows whether it was interrupted. The runner throws such a one away."""

    interrupted = False

    def interrupt(self) -> None:
        """Stops what runs, and what has not begun."""
        self.interrupted = True
        super().interrupt()


class SqliteDialect(Dialect):
    """SQLite."""

    conversions: Sequence[tuple[type[TypeEngine[Any]], Conversion]] = (
        (sa.Boolean, Conversion(values.BOOLEAN.noun, values.BOOLEAN.parse, _present_boolean)),
        (sa.Numeric, Conversion(values.DECIMAL.noun, _stored_decimal, _present_decimal)),
        (sa.DateTime, Conversion("a date and time such as '2024-01-31 12:00:00'", _stored_moment)),
        (sa.Date, Conversion(values.DATE.noun, _stored_moment)),
        (sa.Time, Conversion(values.TIME.noun, _stored_time)),
        (sa.JSON, values.JSON_TEXT),
        *values.CONVERSIONS,
    )

    def create_engine(self, url: URL, size: int, *, read_only: bool) -> Engine:
        """The file is opened, never created; `mode=ro` is SQLite's own word for an honest reader."""
        mode = "ro" if read_only else "rw"
        file = url.set(database=f"file:{quote(str(url.database))}", query={"mode": mode, "uri": "true"})
        connect_args: dict[str, Any] = {
            "timeout": BUSY_SECONDS,
            "check_same_thread": False,
            "isolation_level": None,
            "factory": SqliteConnection,
        }
        engine = self._engine(file, size, read_only=read_only, connect_args=connect_args)
        event.listen(engine, "connect", sqlite_decimals.register)
        if not read_only:
            event.listen(engine, "connect", _check_references)
            event.listen(engine, "begin", _begin_to_write)
        return engine

    def limit(self, connection: Connection, seconds: float) -> None:
        """SQLite has no clock, but asks every few steps whether to go on."""
        end = clock.monotonic() + seconds
        _raw(connection).set_progress_handler(lambda: clock.monotonic() > end, STEPS)

    def interrupt(self, connection: DBAPIConnection) -> None:
        """Ends a wait for the write lock, too."""
        cast("SqliteConnection", connection).interrupt()

    def diagnose(self, error: BaseException) -> Diagnosis | None:
        """By SQLite's extended result code, else by its plain one."""
        if isinstance(error, OverflowError | sqlite3.InterfaceError):
            return Diagnosis(Failure.VALUE)
        name = str(getattr(error, "sqlite_errorname", "")) if isinstance(error, sqlite3.Error) else ""
        plain = "_".join(name.split("_")[:2])
        failure = FAILURES.get(name) or FAILURES.get(plain)
        if str(error) == "integer overflow" or str(error).startswith("user-defined aggregate"):
            failure = Failure.RANGE
        if failure is None and str(error).startswith(("no such table", "no such column")):
            failure = Failure.CHANGED
        return Diagnosis(failure or Failure.OTHER, _named_columns(error))

    def json_text(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[str]:
        """json_extract, which says 1 and 0 for true and false."""
        kind, found = sa.func.json_type(document, json_path(path)), sa.func.json_extract(document, json_path(path))
        return sa.case(
            (kind == "true", sa.literal("true")),
            (kind == "false", sa.literal("false")),
            else_=sa.cast(found, sa.Text()),
        )

    def json_number(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[Decimal]:
        """An integer or a float, as JSON has it."""
        kind, found = sa.func.json_type(document, json_path(path)), sa.func.json_extract(document, json_path(path))
        return sa.case((kind.in_(["integer", "real"]), sa.type_coerce(found, Untyped())))

    def search(self, text: sa.ColumnElement[Any], words: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """FTS5's own; the engine refuses a table that is none of its."""
        return text.op("MATCH", is_comparison=True)(words)

    def explain(self, connection: Connection, select: sa.Select[Any], values: Mapping[str, object]) -> list[str]:
        """EXPLAIN QUERY PLAN: steps within steps are indented."""
        depths: dict[int, int] = {0: -1}
        lines: list[str] = []
        for step, parent, _, text in connection.execute(Explanation(select, "QUERY PLAN"), values):
            depths[step] = depths.get(parent, -1) + 1
            lines.append("  " * depths[step] + text)
        return lines

    def exact(self, figure: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Text in the order of its numbers."""
        return sa.type_coerce(sa.collate(figure, sqlite_decimals.COLLATION), sa.Text())

    @property
    def exact_conversion(self) -> Conversion:
        """As text to and fro."""
        decimal = values.DECIMAL
        return Conversion(decimal.noun, lambda value: sqlite_decimals.text_of(cast("Decimal", decimal.parse(value))))

    def column_type(self, reflected: TypeEngine[Any]) -> TypeEngine[Any]:
        """Only those types stay that do nothing to a value."""
        plain = (sa.Integer, sa.Float, sa.String)
        return reflected if isinstance(reflected, plain) and not isinstance(reflected, sa.Enum) else Untyped()


def _check_references(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    del entry
    connection.cursor().execute("PRAGMA foreign_keys=ON")


def _begin_to_write(connection: Connection) -> None:
    """Takes the write lock first: a transaction that takes it later can fail half-way."""
    end = clock.monotonic() + BUSY_SECONDS
    raw = _raw(connection)
    _wait_for_locks(raw, TURN_SECONDS)
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            name = getattr(error.orig, "sqlite_errorname", "")
            if name != "SQLITE_BUSY" or raw.interrupted or clock.monotonic() > end:
                raise
        else:
            _wait_for_locks(raw, BUSY_SECONDS)
            return


def _wait_for_locks(connection: SqliteConnection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def _raw(connection: Connection) -> SqliteConnection:
    return cast("SqliteConnection", connection.connection.dbapi_connection)


def _named_columns(error: BaseException) -> tuple[str, ...]:
    """`UNIQUE constraint failed: people.email, people.country` names the columns."""
    _, found, names = str(error).partition(" constraint failed: ")
    return tuple(name.strip().rpartition(".")[2] for name in names.split(",")) if found and "." in names else ()


DIALECT = SqliteDialect()
