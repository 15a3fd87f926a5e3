"""PostgreSQL, through psycopg 3."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg.adapt import AdaptersMap
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN, INTERVAL, JSONB, TSVECTOR
from sqlalchemy.engine import URL, Connection, Engine, Inspector
from sqlalchemy.engine.interfaces import DBAPIConnection, ReflectedForeignKeyConstraint
from sqlalchemy.engine.reflection import ObjectScope
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine

from isthmus_db_worker import values
from isthmus_db_worker.dialects import Diagnosis, Dialect, Explanation, Failure, Untyped
from isthmus_db_worker.values import Conversion

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
    "25006": Failure.FORBIDDEN,
    "42P01": Failure.CHANGED,
    "42703": Failure.CHANGED,
    "0A000": Failure.CHANGED,
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

PLAIN: tuple[type[TypeEngine[Any]], ...] = (
    sa.Boolean, sa.Integer, sa.Float, sa.Numeric, sa.DateTime, sa.Date, sa.Time,
    sa.Uuid, sa.LargeBinary, sa.JSON, sa.String, sa.ARRAY, INTERVAL,
)  # fmt: skip
"""The types that SQLAlchemy binds as they are. The server itself reads all others from text."""


class _Date(DateLoader):
    """Python's dates end with the year 9999 and know no infinity: such values stay text, as they come."""

    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Timestamp(TimestampLoader):
    """As with dates."""

    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Timestamptz(TimestamptzLoader):
    """As with dates."""

    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class PostgresqlDialect(Dialect):
    """PostgreSQL."""

    has_materialized_views = True
    nulls_sort_high = True
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    conversions: Sequence[tuple[type[TypeEngine[Any]], Conversion]] = (
        (INTERVAL, values.DURATION),
        *values.CONVERSIONS,
    )

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
        column = error.diag.column_name
        return Diagnosis(failure, (column,) if column else (), error.diag.constraint_name)

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

    def column_type(self, reflected: TypeEngine[Any]) -> TypeEngine[Any]:
        """Enumerations, ranges, addresses, domains …: text to and fro, which the server converts."""
        plain = isinstance(reflected, PLAIN) and not isinstance(reflected, sa.Enum)
        return reflected if plain else Untyped()

    def conversion(self, reflected: TypeEngine[Any]) -> Conversion:
        """A domain looks like the type below it."""
        while isinstance(reflected, DOMAIN):
            reflected = reflected.data_type
        return super().conversion(reflected)


def _keys(path: Sequence[str]) -> sa.ColumnElement[Any]:
    return sa.cast(postgresql.array([sa.literal(key, sa.Text()) for key in path]), postgresql.ARRAY(sa.Text()))


def connect_options(url: URL) -> dict[str, str]:
    """What libpq is told where the URL does not say otherwise."""
    return {name: value for name, value in CONNECT_OPTIONS.items() if name not in url.query}


def limit_statement(seconds: int) -> str:
    """What sets the limit of every statement after it."""
    return f"set session statement_timeout = '{seconds}s'"


def session_settings(*, read_only: bool) -> str:
    """What every connection begins with."""
    settings = (
        f"set session idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; "
        "set session timezone = 'UTC'; set session datestyle = 'ISO'; set session intervalstyle = 'iso_8601'"
    )
    return settings + "; set session characteristics as transaction read only" * read_only


def register_loaders(adapters: AdaptersMap) -> None:
    """How values come that Python's own types cannot hold."""
    adapters.register_loader("date", _Date)
    adapters.register_loader("timestamp", _Timestamp)
    adapters.register_loader("timestamptz", _Timestamptz)
    adapters.register_loader("interval", TextLoader)


def _set_up(connection: psycopg.Connection, *, read_only: bool) -> None:
    register_loaders(connection.adapters)
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute(session_settings(read_only=read_only).encode())
    connection.autocommit = autocommit


DIALECT = PostgresqlDialect()
