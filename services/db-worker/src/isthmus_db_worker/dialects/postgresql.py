"""PostgreSQL, through psycopg 3."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import psycopg
import psycopg.abc
import sqlalchemy as sa
from psycopg.adapt import AdaptersMap
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader, TimetzLoader
from psycopg.types.string import TextLoader
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN, INTERVAL, JSONB, MONEY, OID, TSVECTOR
from sqlalchemy.dialects.postgresql.ranges import AbstractRange
from sqlalchemy.engine import URL, Connection, Engine, Inspector
from sqlalchemy.engine.interfaces import DBAPIConnection, ReflectedColumn, ReflectedForeignKeyConstraint
from sqlalchemy.engine.reflection import ObjectScope
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeEngine, UserDefinedType

from isthmus_db_worker import values
from isthmus_db_worker.dialects import Diagnosis, Dialect, Explanation, Failure, Incomparable, Named, Untyped, named
from isthmus_db_worker.dialects.postgresql_routines import PostgresqlRoutines
from isthmus_db_worker.json_forms import as_is, present_json
from isthmus_db_worker.values import Conversion, JsonValue

CONNECT_SECONDS = 5
CANCEL_SECONDS = 5
IDLE_SECONDS = 60
"""No transaction stays open for longer with nothing to do: it may hold locks for a worker that stands still."""

CONNECT_OPTIONS = {
    "application_name": "isthmus",
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
"""libpq's, where the URL does not set them: a peer that vanished is noticed within half a minute."""

FAILURES = {
    "08": Failure.UNREACHABLE,
    "53": Failure.UNREACHABLE,
    "57P": Failure.UNREACHABLE,
    "58": Failure.UNREACHABLE,
    "28": Failure.UNREACHABLE,
    "3D": Failure.UNREACHABLE,
    "40": Failure.BUSY,
    "55P03": Failure.BUSY,
    "57014": Failure.STOPPED,
    "42501": Failure.FORBIDDEN,
    "25006": Failure.READ_ONLY,
    "2D000": Failure.ENDS,
    "42P01": Failure.CHANGED,
    "42703": Failure.CHANGED,
    "0A000": Failure.VALUE,
    "22": Failure.VALUE,
    "42883": Failure.VALUE,
    "42804": Failure.VALUE,
    "23505": Failure.TAKEN,
    "23503": Failure.REFERENCE,
    "23502": Failure.MISSING,
    "23": Failure.RULE,
    "44": Failure.RULE,
    "P0001": Failure.RULE,
    "428C9": Failure.RULE,
}
"""By SQLSTATE, or the first characters of it."""

STEADY = ("_SPI_execute_plan", "init_execution_state", "prepare_next_query")
"""Where the server refuses a function that is not VOLATILE to write, under an SQLSTATE that means much else."""

PLAIN: tuple[type[TypeEngine[Any]], ...] = (
    sa.Boolean, sa.Integer, sa.Float, sa.Numeric, sa.DateTime, sa.Date, sa.Time,
    sa.Uuid, sa.LargeBinary, sa.String, INTERVAL,
)  # fmt: skip
"""The types that SQLAlchemy binds as they are. The server itself reads all others from text."""


WRITTEN = (
    "cidr", "inet", "interval", "int4range", "int8range", "numrange", "daterange", "tsrange",
    "tstzrange", "int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange",
    "tstzmultirange",
)  # fmt: skip
"""The types that psycopg would make objects of; they come as the server writes them."""

LISTED = (postgresql.INET, postgresql.CIDR, AbstractRange)
"""Those of them that SQLAlchemy knows, and psycopg makes lists of."""

NAMES = {
    **named(Incomparable, "point", "line", "lseg", "box", "path", "polygon", "circle", "xml", "jsonpath"),
    **named(Named, "pg_lsn", "xid", "xid8", "pg_snapshot"),
}

_BEYOND = re.compile(
    r"[+-]?infinity|\d{4,7}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d(:\d\d){0,2})?)?( BC)?", re.IGNORECASE
)
_MIDNIGHT = re.compile(r"24:00:00(\.0{1,6})?([+-]\d\d(:\d\d){0,2})?")


def _or_written(parse: Callable[[JsonValue], object], more: re.Pattern[str]) -> Callable[[JsonValue], object]:
    """Takes what Python has no value for, too: the server reads that itself."""

    def read(value: JsonValue) -> object:
        try:
            return parse(value)
        except ValueError:
            if isinstance(value, str) and more.fullmatch(value):
                return value
            raise

    return read


class _Written:
    """Dates from year 1 to 9999 and times before 24:00 are Python's; all others stay text, as they come."""

    def load(self, data: Any) -> Any:
        try:
            return super().load(data)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        except psycopg.DataError:
            return bytes(data).decode()


class _Date(_Written, DateLoader): ...


class _Time(_Written, TimeLoader): ...


class _Timetz(_Written, TimetzLoader): ...


class _Timestamp(_Written, TimestampLoader): ...


class _Timestamptz(_Written, TimestamptzLoader): ...


LOADERS: dict[str, type[psycopg.abc.Loader]] = {
    "date": _Date,
    "time": _Time,
    "timetz": _Timetz,
    "timestamp": _Timestamp,
    "timestamptz": _Timestamptz,
    **dict.fromkeys(WRITTEN, TextLoader),
}


class Money(UserDefinedType[Decimal]):
    """MONEY, which the server writes as its locale has it: read and written as a decimal."""

    cache_ok = True

    class comparator_factory(UserDefinedType.Comparator[Decimal]):  # noqa: N801  (SQLAlchemy's name for it)
        """Sorted by what is selected, as DISTINCT wants it."""

        def operate(self, op: operators.OperatorType, *other: Any, **options: Any) -> sa.ColumnElement[Any]:
            if op in (operators.asc_op, operators.desc_op):
                return op(sa.cast(self.expr, sa.Numeric()), *other, **options)
            return super().operate(op, *other, **options)

    def column_expression(self, colexpr: sa.ColumnElement[Decimal]) -> sa.ColumnElement[Decimal]:
        """As a decimal."""
        return sa.cast(colexpr, sa.Numeric())

    def bind_expression(self, bindvalue: sa.BindParameter[Decimal]) -> sa.ColumnElement[Any]:
        """From a decimal."""
        return sa.cast(sa.cast(bindvalue, sa.Numeric()), MONEY())


class Document(sa.TypeDecorator[Any]):
    """JSON and JSONB, which come as text, so that no number in them loses a digit."""

    impl = sa.JSON
    cache_ok = True

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """As text."""
        return sa.cast(column, sa.Text())

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> None:
        """The text is right as it is."""


class Items(sa.TypeDecorator[list[Any]]):
    """An array of what SQLAlchemy would make objects of, or of what psycopg does not know: that comes as an array of
    texts, or of what a domain is made of."""

    impl = postgresql.ARRAY
    cache_ok = True

    def __init__(self, item_type: TypeEngine[Any], fetched: TypeEngine[Any] | None) -> None:
        super().__init__(item_type)
        self.fetched = fetched

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """As an array of the other type, if there is one."""
        return column if self.fetched is None else sa.cast(column, postgresql.ARRAY(self.fetched))

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> None:
        """The driver's lists are right as they are."""


class PostgresqlDialect(Dialect):
    """PostgreSQL."""

    has_materialized_views = True
    nulls_sort_high = True
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    conversions: Sequence[tuple[type[TypeEngine[Any]], Conversion]] = (
        (sa.Boolean, replace(values.BOOLEAN, present=as_is)),
        (sa.SMALLINT, replace(values.INTEGER, present=as_is)),
        (sa.INTEGER, replace(values.INTEGER, present=as_is)),
        (sa.String, replace(values.TEXT, present=as_is)),
        (INTERVAL, values.DURATION),
        (MONEY, values.DECIMAL),
        (OID, values.UNSIGNED),
        (sa.DateTime, replace(values.MOMENT, parse=_or_written(values.MOMENT.parse, _BEYOND))),
        (sa.Date, replace(values.DATE, parse=_or_written(values.DATE.parse, _BEYOND))),
        (sa.Time, replace(values.TIME, parse=_or_written(values.TIME.parse, _MIDNIGHT))),
        (sa.JSON, replace(values.JSON, present=present_json)),
        (Incomparable, replace(values.TEXT, comparable=False)),
        *values.CONVERSIONS,
    )
    zoned = replace(values.ZONED, parse=_or_written(values.ZONED.parse, _BEYOND))

    system_version = ReflectedColumn(
        name="xmin", type=named(Incomparable, "xid")["xid"](), nullable=False, default=None
    )

    @property
    def routines(self) -> PostgresqlRoutines:
        """In any language that is not the server's own."""
        return PostgresqlRoutines(self)

    def create_engine(self, url: URL, size: int, *, read_only: bool) -> Engine:
        """The server itself refuses to write on a read-only connection."""
        engine = self._engine(url, size, read_only=read_only, connect_args=connect_options(url))

        def set_up(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
            del entry
            _set_up(cast("psycopg.Connection", connection), read_only=read_only)

        event.listen(engine, "connect", set_up)
        return engine

    def limit_statement(self, connection: Connection, seconds: int) -> str:
        """For reads and writes."""
        del connection
        return limit_statement(seconds)

    def interrupt(self, connection: DBAPIConnection) -> None:
        """Asks the server over a connection of its own; a server that is gone has stopped anyway."""
        with suppress(psycopg.Error):
            cast("psycopg.Connection", connection).cancel_safe(timeout=CANCEL_SECONDS)

    def diagnose(self, error: BaseException) -> Diagnosis | None:
        """By SQLSTATE; the driver's own errors have none."""
        if not isinstance(error, psycopg.Error):
            return None
        if (state := error.sqlstate) is None:
            refused = isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
            return Diagnosis(Failure.VALUE if refused else Failure.UNREACHABLE)
        failure = next((FAILURES[state[:n]] for n in (5, 3, 2) if state[:n] in FAILURES), Failure.OTHER)
        if error.diag.source_function == "RevalidateCachedQuery":
            failure = Failure.CHANGED
        if state == "0A000" and error.diag.source_function in STEADY:
            failure = Failure.READ_ONLY
        column = error.diag.column_name
        return Diagnosis(failure, (column,) if column else (), error.diag.constraint_name)

    def settle(self, connection: Connection) -> None:
        """Deferred constraints, now."""
        connection.exec_driver_sql("set constraints all immediate")

    def complaint(self, error: BaseException) -> str | None:
        """What is in class 42 is about names and types."""
        if not isinstance(error, psycopg.Error) or not (error.sqlstate or "").startswith("42"):
            return None
        return None if error.sqlstate == "42501" else error.diag.message_primary

    def foreign_keys(
        self, inspector: Inspector, schema: str | None
    ) -> Iterable[tuple[str, ReflectedForeignKeyConstraint]]:
        """Those of the default schema with the schemas that they refer to, whatever the search path finds without."""
        found = inspector.get_multi_foreign_keys(
            schema, scope=ObjectScope.ANY, postgresql_ignore_search_path=schema is None
        )
        return [(name, key) for (_, name), keys in found.items() for key in keys]

    def row_estimates(self, inspector: Inspector, schema: str | None) -> dict[str, int]:
        """As the last ANALYZE or VACUUM found them."""
        query = (
            "select relname, reltuples from pg_catalog.pg_class join pg_catalog.pg_namespace n on n.oid = relnamespace "
            "where n.nspname = :schema and relkind in ('r', 'p', 'm', 'f') and reltuples >= 0"
        )
        bound = {"schema": schema or inspector.default_schema_name}
        rows = cast("Connection", inspector.bind).execute(sa.text(query), bound)
        return {str(name): int(tuples) for name, tuples in rows}

    def json_text(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[str]:
        """`#>>`, which json and jsonb have."""
        return sa.type_coerce(document.op("#>>")(_keys(path)), sa.Text())

    def json_number(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[Decimal]:
        """Looked at before it is read: a text there is an error otherwise."""
        there = sa.cast(sa.cast(document, JSONB).op("#>")(_keys(path)), JSONB)
        return sa.case((sa.func.jsonb_typeof(there) == "number", sa.cast(self.json_text(document, path), sa.Numeric())))

    def search(self, text: sa.ColumnElement[Any], words: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """In the words of a web search, with the database's own text search configuration."""
        vector = text if isinstance(text.type, TSVECTOR) else sa.func.to_tsvector(sa.cast(text, sa.Text()))
        return vector.op("@@", is_comparison=True)(sa.func.websearch_to_tsquery(words))

    def explain(self, connection: Connection, select: sa.Select[Any], values: Mapping[str, object]) -> list[str]:
        """As text, not run."""
        return [str(row[0]) for row in connection.execute(Explanation(select), values)]

    def estimate(self, connection: Connection, select: sa.Select[Any], values: Mapping[str, object]) -> int:
        """The planner's."""
        plan = connection.execute(Explanation(select, "(FORMAT JSON)"), values).scalar_one()
        return int(plan[0]["Plan"]["Plan Rows"])

    def type_names(self, known: dict[str, Any]) -> dict[str, Any]:
        """With those that are text to us."""
        return {**known, **NAMES}

    def column_type(self, reflected: TypeEngine[Any]) -> TypeEngine[Any]:
        """Enumerations, ranges, addresses …: text to and fro, which the server converts."""
        reflected = _below(reflected)
        if isinstance(reflected, sa.ARRAY):
            return _array(cast("TypeEngine[Any]", reflected.item_type), self.column_type)
        if isinstance(reflected, MONEY):
            return Money()
        if isinstance(reflected, sa.JSON):
            return Document()
        return reflected if isinstance(reflected, PLAIN) and not isinstance(reflected, sa.Enum) else Untyped()

    def conversion(self, reflected: TypeEngine[Any]) -> Conversion:
        """A domain looks like the type below it."""
        return super().conversion(_below(reflected))


def _array(item: TypeEngine[Any], column_type: Callable[[TypeEngine[Any]], TypeEngine[Any]]) -> TypeEngine[Any]:
    fetched = column_type(item)
    if isinstance(fetched, Money):
        return Items(item, sa.Numeric())
    if isinstance(fetched, Untyped | Document):
        return Items(item, None if isinstance(item, LISTED) else sa.Text())
    return postgresql.ARRAY(item) if fetched is item else Items(item, fetched)


def _below(reflected: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type that a domain is made of."""
    while isinstance(reflected, DOMAIN):
        reflected = reflected.data_type
    return reflected


def _keys(path: Sequence[str]) -> sa.ColumnElement[Any]:
    return sa.cast(postgresql.array([sa.literal(key, sa.Text()) for key in path]), postgresql.ARRAY(sa.Text()))


def connect_options(url: URL) -> dict[str, str]:
    """What libpq is told where the URL does not say otherwise."""
    return {name: value for name, value in CONNECT_OPTIONS.items() if name not in url.query}


def limit_statement(seconds: int) -> str:
    """What sets the limit of every statement after it."""
    return f"set session statement_timeout = '{seconds}s'"


_END_WITH_CLIENT = (
    "select pg_catalog.set_config(name, '1s', false) from pg_catalog.pg_settings "
    "where name = 'client_connection_check_interval' and pg_catalog.version() like '%linux%'"
)
"""The server looks every second whether the worker is still there, and ends the statement of one that is gone, or that
gave its connection up. It can since version 14, where it runs on Linux."""


def session_settings(*, read_only: bool) -> str:
    """What every connection begins with."""
    settings = (
        f"{_END_WITH_CLIENT}; set session idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; "
        "set session timezone = 'UTC'; set session datestyle = 'ISO'; set session intervalstyle = 'iso_8601'"
    )
    return settings + "; set session characteristics as transaction read only" * read_only


def register_loaders(adapters: AdaptersMap) -> None:
    """How values come that Python's own types cannot hold."""
    for name, loader in LOADERS.items():
        adapters.register_loader(name, loader)


def _set_up(connection: psycopg.Connection, *, read_only: bool) -> None:
    register_loaders(connection.adapters)
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute(session_settings(read_only=read_only).encode())
    connection.autocommit = autocommit


DIALECT = PostgresqlDialect()
