"""SQLite, through the standard library's sqlite3.

A column holds whatever was stored, whatever its declared type says. So values are bound and fetched as they are;
dates, times and moments are the text (or number) that is stored, in the form that SQLite's own functions write.
"""

import json
import math
import re
import sqlite3
import time as clock
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from functools import partial
from typing import Any, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.base import ischema_names
from sqlalchemy.engine import URL, Connection, Engine, Inspector
from sqlalchemy.engine.interfaces import DBAPIConnection, ReflectedColumn, ReflectedForeignKeyConstraint
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from isthmus_db_worker import values
from isthmus_db_worker.dialects import (
    Diagnosis,
    Dialect,
    Explanation,
    Failure,
    Named,
    Reflected,
    Untyped,
    json_path,
    named,
    sqlite_decimals,
)
from isthmus_db_worker.json_forms import present
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

COMPLAINTS = (
    "no such column", "no such function", "ambiguous column name", "misuse of", "wrong number of arguments",
    "a GROUP BY clause", "a JOIN clause", "SELECTs to the left and right", "all VALUES must", "sub-select returns",
    "circular reference", "row value misused", "cannot join using column", "DISTINCT aggregates", "table ",
    "no such window", "unsupported frame", "aggregate functions are not allowed", "HAVING clause", "RIGHT and FULL",
)  # fmt: skip
"""How errors about a statement begin, which hold names of it alone."""
LONGEST_VALUE = 64_000_000
"""Bytes that one value may have in a read: SQLite works within this process."""


COLUMNS = """
select t.name, c.hidden, c.pk, c.name, c.type, c."notnull", c.dflt_value
from sqlite_master t join pragma_table_xinfo(t.name) c
where t.type in ('table', 'view') and t.name in (select value from json_each(:names)) and c.hidden <> 1
order by t.name, c.cid
"""
UNIQUE_KEYS = """
select t.name, i.name, c.name
from sqlite_master t join pragma_index_list(t.name) i on i.origin = 'u' join pragma_index_info(i.name) c
where t.type = 'table' and t.name in (select value from json_each(:names))
order by t.name, i.seq desc, c.seqno
"""
FOREIGN_KEYS = """
select t.name, f.id, f."from", coalesce(o.name, f."table"), coalesce(c.name, f."to"), f.on_delete
from sqlite_master t join pragma_foreign_key_list(t.name) f
left join sqlite_master o on o.type = 'table' and o.name = f."table" collate nocase
left join pragma_table_info(o.name) c on c.name = f."to" collate nocase or (f."to" is null and c.pk = f.seq + 1)
where t.type = 'table' and coalesce(c.name, f."to") is not null order by t.name, f.id desc, f.seq
"""

KNOWN = cast("dict[str, type[Any]]", ischema_names)
"""The types that SQLAlchemy knows by name."""
COMPUTED = (2, 3)
"""What SQLite calls the hiddenness of generated columns."""
WORDS: tuple[tuple[re.Pattern[str], type[Any]], ...] = (
    (re.compile(r"\b(TINY|SMALL|MEDIUM|BIG)?INT(EGER|\d)?\b"), sa.INTEGER),
    (re.compile(r"CHAR|CLOB|TEXT"), sa.TEXT),
    (re.compile(r"BLOB"), sa.types.NullType),
    (re.compile(r"REAL|FLOA|DOUB"), sa.REAL),
    (re.compile(r"^(TIMESTAMP|DATETIME)"), sa.DATETIME),
)
"""What is in declared types that are none of SQLAlchemy's, in the order of SQLite's own rules. SQLite looks for INT
anywhere, and so takes INTERVAL and POINT for integers, which nobody else does."""

_DECLARED = re.compile(r"([\w ]+)(\(.*?\))?")
_GENERATED = re.compile(r"GENERATED|ALWAYS")
_NUMBER = re.compile(r"\d+")
_RULE = re.compile(r"CHECK constraint failed: ([A-Za-z_]\w*)")
"""One that has no name shows as what it is, which may name columns that a caller does not see."""


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
    """SQLite has no decimals: NUMERIC columns hold integers and floats, so what neither can hold is refused."""
    number = cast("Decimal", values.DECIMAL.parse(value))
    if number.is_finite() and number.adjusted() < 19 and abs(number) < 2**63 and number == int(number):
        return int(number)
    stored = cast("float", _stored_float(number))
    if number.is_finite() and Decimal(repr(stored)) != number:
        raise ValueError
    return stored


def _stored_float(value: JsonValue) -> object:
    """SQLite makes null of NaN."""
    number = cast("float", values.FLOAT.parse(value))
    if math.isnan(number):
        raise ValueError
    return number


def _stored_as_given(value: JsonValue) -> object:
    """For columns of a type that SQLite does not know: they take everything."""
    if isinstance(value, bool | int | str):
        return values.INTEGER.parse(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return _stored_decimal(value)


def _present_decimal(value: object) -> JsonValue:
    if not isinstance(value, int | float):
        return present(value)
    written = repr(value)
    return present(Decimal(written)) if "e" in written or "n" in written else written


def _present_boolean(value: object) -> JsonValue:
    return bool(value) if value in (0, 1) else present(value)


ANYTHING = Conversion("text in single quotes or a number", _stored_as_given)


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
        (sa.Float, Conversion(values.FLOAT.noun, _stored_float)),
        (sa.Numeric, Conversion("a number such as 12.50, of at most 15 digits", _stored_decimal, _present_decimal)),
        (sa.DateTime, Conversion("a date and time such as '2024-01-31 12:00:00'", _stored_moment)),
        (sa.Date, Conversion(values.DATE.noun, _stored_moment)),
        (sa.Time, Conversion(values.TIME.noun, _stored_time)),
        (sa.JSON, values.JSON_TEXT),
        (Named, ANYTHING),
        (sa.types.NullType, ANYTHING),
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
        event.listen(engine, "connect", _read_all_text)
        if read_only:
            event.listen(engine, "connect", _confine)
        else:
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
        if "MATCH" in str(error):
            failure = Failure.UNSEARCHABLE
        if failure is None and str(error).startswith(("no such table", "no such column")):
            failure = Failure.CHANGED
        rule = _RULE.fullmatch(str(error))
        return Diagnosis(failure or Failure.OTHER, _named_columns(error), rule.group(1) if rule else None)

    def tables(self, inspector: Inspector, schema: str | None, names: Sequence[str]) -> dict[str, Reflected]:
        """From SQLite's functions for its pragmas, where SQLAlchemy would ask for one table after the other."""
        del schema
        columns: defaultdict[str, list[ReflectedColumn]] = defaultdict(list)
        keys: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for table, hidden, place, *described in _ask(inspector, COLUMNS, names):
            column = _column(*described, computed=hidden in COMPUTED)
            columns[table].append(column)
            if place:
                keys[table][place] = column["name"]
        unique: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for table, index, column in _ask(inspector, UNIQUE_KEYS, names):
            unique[table, index].append(column)
        of_table: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for (table, _), key in unique.items():
            of_table[table].append(tuple(key))
        return {
            table: Reflected(found, tuple(keys[table][place] for place in sorted(keys[table])), of_table[table])
            for table, found in columns.items()
        }

    def foreign_keys(
        self, inspector: Inspector, schema: str | None
    ) -> Iterable[tuple[str, ReflectedForeignKeyConstraint]]:
        """All in one question; tables and columns in the letters of their own definition, whoever points at them how.

        A foreign key that names no columns points at the primary key.
        """
        del schema
        keys: dict[tuple[str, int], ReflectedForeignKeyConstraint] = {}
        for table, number, column, to_table, to_column, effect in _ask(inspector, FOREIGN_KEYS):
            empty = ReflectedForeignKeyConstraint(
                name=None, constrained_columns=[], referred_schema=None, referred_table=to_table, referred_columns=[],
                options={"ondelete": effect},
            )  # fmt: skip
            key = keys.setdefault((table, number), empty)
            key["constrained_columns"].append(column)
            key["referred_columns"].append(to_column)
        return [(table, key) for (table, _), key in keys.items()]

    def row_estimates(self, inspector: Inspector, schema: str | None) -> dict[str, int]:
        """As the last ANALYZE found them."""
        del schema
        if not _ask(inspector, "select 1 from sqlite_master where name = 'sqlite_stat1'"):
            return {}
        query = "select tbl, max(cast(stat as integer)) from sqlite_stat1 where stat is not null group by tbl"
        return {str(table): int(rows) for table, rows in _ask(inspector, query)}

    def complaint(self, error: BaseException) -> str | None:
        """Those of its plain errors that are about the statement."""
        return str(error) if isinstance(error, sqlite3.Error) and str(error).startswith(COMPLAINTS) else None

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


def _read_all_text(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """SQLite keeps text that is not UTF-8 as well, on which the driver fails otherwise."""
    del entry
    cast("SqliteConnection", connection).text_factory = partial(str, encoding="utf-8", errors="replace")


def _column(name: str, declared: str, required: int, default: str | None, *, computed: bool) -> ReflectedColumn:
    """One row of COLUMNS."""
    column = ReflectedColumn(name=name, type=_type(declared), nullable=not required, default=default)
    if computed:
        column["computed"] = {"sqltext": ""}
    return column


def _type(declared: str) -> TypeEngine[Any]:
    """The type that a column is declared with, whatever the word."""
    match = _DECLARED.match(_GENERATED.sub("", declared.upper()).strip())
    words, inner = (match.group(1).rstrip(), match.group(2)) if match else ("", None)
    if (kind := KNOWN.get(words)) is None:
        fitting = (kind for part, kind in WORDS if part.search(words))
        kind = next(fitting, named(Named, words)[words] if words else sa.types.NullType)
    numbers = _NUMBER.findall(inner or "") if issubclass(kind, sa.String | sa.Numeric) else ()
    return cast("Callable[..., TypeEngine[Any]]", kind)(*map(int, numbers))


def _ask(inspector: Inspector, query: str, names: Sequence[str] | None = None) -> Sequence[Sequence[Any]]:
    """The rows; `:names` is a JSON array."""
    bound = {} if names is None else {"names": json.dumps(names)}
    return [tuple(row) for row in cast("Connection", inspector.bind).execute(sa.text(query), bound)]


def _check_references(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    del entry
    connection.cursor().execute("PRAGMA foreign_keys=ON")


def _confine(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    del entry
    raw = cast("sqlite3.Connection", connection)
    raw.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)


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
