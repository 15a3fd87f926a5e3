"""All that is particular to one database engine; every other module is the same for all of them.

A Dialect as it stands here suits any engine that SQLAlchemy knows; the modules beside it say what theirs does better.
"""

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, Inspector
from sqlalchemy.engine.interfaces import DBAPIConnection, ReflectedColumn, ReflectedForeignKeyConstraint
from sqlalchemy.engine.reflection import ObjectKind, ObjectScope
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from isthmus.errors import InvalidArguments
from isthmus_db_worker.routines import RoutineEngine
from isthmus_db_worker.values import CONVERSIONS, ZONED, Conversion, array_of, conversion_for

MODULES = {
    "mariadb": "isthmus_db_worker.dialects.mariadb",
    "mysql": "isthmus_db_worker.dialects.mariadb",
    "postgresql": "isthmus_db_worker.dialects.postgresql",
    "sqlite": "isthmus_db_worker.dialects.sqlite",
}
"""Loaded by name: a worker starts with those drivers alone that it uses."""

LIMIT = "isthmus.limit"
"""Where a connection of a pool remembers its limit."""
SPENT = "isthmus.spent"
"""Where it remembers that nobody may use it again: something ran on it that may have left settings or locks."""


class Untyped(UserDefinedType[Any]):
    """Values go to the driver and come from it as they are."""

    cache_ok = True


class Named(UserDefinedType[Any]):
    """A type of the engine's own that SQLAlchemy does not know; its values are text."""

    cache_ok = True
    name = ""

    def __init__(self, *arguments: object, **options: object) -> None:
        """Length and character set say nothing here."""

    def get_col_spec(self, **options: Any) -> str:
        """As the engine writes it."""
        return self.name.upper()


class Incomparable(Named):
    """One whose values the engine does not compare, or only in part, such as the sizes of two areas."""

    cache_ok = True


T = TypeVar("T", bound=type[Named])


def named(kind: T, *names: str) -> dict[str, T]:
    """A class for each name: how SQLAlchemy learns of types (`ischema_names`)."""
    return {name: cast("T", type(name, (kind,), {"name": name, "cache_ok": True})) for name in names}


class Explanation(sa.Executable, ClauseElement):
    """EXPLAIN of a statement; `how` is what the engine wants between the two."""

    inherit_cache = False

    def __init__(self, select: sa.Select[Any], how: str = "") -> None:
        self.select = select
        self.how = how


@compiles(Explanation)
def _explain(element: Explanation, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN {element.how} {compiler.process(element.select, **options)}"


class Failure(Enum):
    """What an error of a driver means."""

    UNREACHABLE = auto()
    BUSY = auto()
    """Another transaction is in the way."""
    STOPPED = auto()
    FORBIDDEN = auto()
    """The account that the worker uses may not do that."""
    READ_ONLY = auto()
    """A change, where the engine was told to allow none."""
    ENDS = auto()
    """A routine ends a transaction that is not its own."""
    CHANGED = auto()
    """A table or column is not what it was a moment ago."""
    VALUE = auto()
    """A value does not fit a column, or two things cannot be compared."""
    RANGE = auto()
    """A figure is larger than the engine can hold, or is made of what is no number."""
    UNSEARCHABLE = auto()
    """No full-text index covers what was searched."""
    TAKEN = auto()
    """A unique key or primary key."""
    REFERENCE = auto()
    """A foreign key."""
    MISSING = auto()
    """A column that needs a value."""
    RULE = auto()
    """A check, or another rule of the database."""
    OTHER = auto()


@dataclass(frozen=True)
class Diagnosis:
    """A driver's error, understood."""

    failure: Failure
    columns: tuple[str, ...] = ()
    """The columns that it is about, where the driver tells."""
    constraint: str | None = None
    """The name of the constraint that it is about, where the driver tells."""


@dataclass(frozen=True)
class Reflected:
    """A table or view in the words of SQLAlchemy's inspector."""

    columns: Sequence[ReflectedColumn]
    primary_key: tuple[str, ...] = ()
    unique_keys: Sequence[tuple[str, ...]] = ()
    constraints: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Name of a primary or unique key, where errors name it → its columns."""


class Dialect:
    """How a worker deals with one engine."""

    errors: tuple[type[Exception], ...] = ()
    """The driver's own, where a runner uses it without SQLAlchemy around it."""
    has_materialized_views = False
    nulls_sort_high = False
    """Whether nulls come after all values in ascending order."""
    conversions: Sequence[tuple[type[TypeEngine[Any]], Conversion]] = CONVERSIONS
    zoned = ZONED
    """Moments with a time zone."""
    system_version: ReflectedColumn | None = None
    """A column that every table has, and whose value changes whenever a row does."""

    @property
    def routines(self) -> RoutineEngine | None:
        """How its stored procedures and functions are read and called; None: it has none, or we do not know how."""
        return None

    def create_engine(self, url: URL, size: int, *, read_only: bool) -> Engine:
        """An engine with a pool of its own; a read-only one must not be able to write, whatever it is given."""
        return self._engine(url, size, read_only=read_only)

    def limit(self, connection: Connection, seconds: float) -> None:
        """From now on the engine ends by itself what the connection runs for longer; no transaction is open.

        In whole seconds, rounded up, and sent only where it differs from the connection's last one: the calls of one
        gateway have the same time as a rule, so this costs a round trip per connection and not per call.
        """
        whole = max(1, math.ceil(seconds))
        if connection.info.get(LIMIT) != whole:
            if (statement := self.limit_statement(connection, whole)) is not None:
                connection.exec_driver_sql(statement)
                connection.commit()
            connection.info[LIMIT] = whole

    def limit_statement(self, connection: Connection, seconds: int) -> str | None:
        """What sets the limit of every statement after it; None: the engine has no such thing."""
        del connection, seconds
        return None

    def interrupt(self, connection: DBAPIConnection) -> None:
        """Stops what the connection runs, from another thread; may be called when it runs nothing."""

    def diagnose(self, error: BaseException) -> Diagnosis | None:
        """What a driver's error means; None: it does not tell more than SQLAlchemy's class for it."""
        del error
        return None

    def tables(self, inspector: Inspector, schema: str | None, names: Sequence[str]) -> dict[str, Reflected]:
        """Tables and views of one schema by name, in a handful of statements; what is gone is left out."""
        options: dict[str, Any] = {"filter_names": names, "kind": ObjectKind.ANY, "scope": ObjectScope.ANY}
        columns = inspector.get_multi_columns(schema, **options)
        primary = inspector.get_multi_pk_constraint(schema, **options)
        unique = inspector.get_multi_unique_constraints(schema, **options)
        found: dict[str, Reflected] = {}
        for (place, name), described in columns.items():
            keys = unique.get((place, name), [])
            named = {key["name"]: tuple(key["column_names"]) for key in keys if key["name"]}
            key = primary.get((place, name))
            primary_key = tuple(key["constrained_columns"]) if key else ()
            if key and (name_of_key := key.get("name")):
                named[name_of_key] = primary_key
            found[name] = Reflected(described, primary_key, [tuple(k["column_names"]) for k in keys], named)
        return found

    def row_estimates(self, inspector: Inspector, schema: str | None) -> dict[str, int]:
        """How many rows the engine's statistics say that which table has; asks no table itself."""
        del inspector, schema
        return {}

    def undoes(self, connection: Connection, table: sa.Table) -> bool:
        """Whether what is written to the table can be rolled back."""
        del connection, table
        return True

    def settle(self, connection: Connection) -> None:
        """Checks what is otherwise checked when the transaction is committed."""

    def complaint(self, error: BaseException) -> str | None:
        """What the engine says about the text of a statement; None: what it says could hold values, too."""
        del error
        return None

    def comments(self, inspector: Inspector, schema: str | None) -> dict[str, str]:
        """What the database says about which of its tables and views."""
        try:
            found = inspector.get_multi_table_comment(schema, kind=ObjectKind.ANY, scope=ObjectScope.ANY)
        except NotImplementedError:
            return {}
        return {name: comment["text"] for (_, name), comment in found.items() if comment["text"]}

    def foreign_keys(
        self, inspector: Inspector, schema: str | None
    ) -> Iterable[tuple[str, ReflectedForeignKeyConstraint]]:
        """Every foreign key of a schema, with the table that has it; no referred schema is the default one."""
        found = inspector.get_multi_foreign_keys(schema, scope=ObjectScope.ANY)
        return [(name, key) for (_, name), keys in found.items() for key in keys]

    def json_text(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[str] | None:
        """What stands at a path in a JSON document, as text; None: the engine has no such thing here."""
        del document, path
        return None

    def json_number(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[Decimal] | None:
        """The same as a number; null where there is none."""
        del document, path
        return None

    def search(self, text: sa.ColumnElement[Any], words: sa.ColumnElement[str]) -> sa.ColumnElement[bool] | None:
        """Whether a full-text search for the words finds the text; None: the engine has no such thing here."""
        del text, words
        return None

    def explain(self, connection: Connection, select: sa.Select[Any], values: Mapping[str, object]) -> list[str] | None:
        """How the engine would run the statement, line by line; None: it does not tell."""
        del connection, select, values
        return None

    def estimate(self, connection: Connection, select: sa.Select[Any], values: Mapping[str, object]) -> int | None:
        """About how many rows the statement has, without running it; None: the engine does not know."""
        del connection, select, values
        return None

    def type_names(self, known: dict[str, Any]) -> dict[str, Any]:
        """The types that columns may be declared with, by name: those that SQLAlchemy knows, and more."""
        return known

    def exact(self, figure: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """An exact sum or average of a grouped query, as it is compared and sorted."""
        return sa.type_coerce(figure, self.column_type(sa.Numeric()))

    @property
    def exact_conversion(self) -> Conversion:
        """How such figures come in and go out."""
        return self.conversion(sa.Numeric())

    def column_type(self, reflected: TypeEngine[Any]) -> TypeEngine[Any]:
        """The type that values of a column are bound and fetched with."""
        return reflected

    def conversion(self, reflected: TypeEngine[Any]) -> Conversion:
        """How values of a column look outside."""
        if isinstance(reflected, sa.ARRAY):
            return array_of(self.conversion(cast("TypeEngine[Any]", reflected.item_type)))
        if isinstance(reflected, sa.DateTime) and reflected.timezone:
            return self.zoned
        return conversion_for(reflected, self.conversions)

    def _engine(self, url: URL, size: int, *, read_only: bool, **options: Any) -> Engine:
        """Reads run in autocommit: a single SELECT needs no transaction, and saves its round trips."""
        engine = sa.create_engine(
            url,
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=5,
            hide_parameters=True,
            **({"isolation_level": "AUTOCOMMIT"} if read_only else {}),
            **options,
        )
        dialect: Any = engine.dialect
        dialect.ischema_names = self.type_names(getattr(dialect, "ischema_names", {}))
        return engine


def json_path(path: Sequence[str]) -> str:
    """As SQLite, MariaDB and MySQL write it. Raises InvalidArguments for what their paths cannot name."""
    for key in path:
        if '"' in key or "\\" in key:
            raise InvalidArguments(f"{key[:40]} cannot stand in a JSON path: it holds a quote or a backslash.")
    return "$" + "".join(f"[{key}]" if key.isascii() and key.isdigit() else f'."{key}"' for key in path)


def dialect_of(url: URL) -> Dialect:
    """The dialect for a database's URL."""
    module = MODULES.get(url.get_backend_name())
    return Dialect() if module is None else cast("Dialect", importlib.import_module(module).DIALECT)
