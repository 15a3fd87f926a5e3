"""Tables as the database describes them, read through SQLAlchemy's inspector."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.engine import Inspector
from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedForeignKeyConstraint
from sqlalchemy.exc import CompileError, DBAPIError, UnsupportedCompilationError

from isthmus.errors import SourceUnavailable
from isthmus_db_worker.dialects import Dialect, Failure, Reflected
from isthmus_db_worker.parameters import Parameters, Pick
from isthmus_db_worker.semantics import Metric
from isthmus_db_worker.values import Conversion

INDESCRIBABLE = (Failure.CHANGED, Failure.FORBIDDEN, Failure.OTHER)
"""What it means that the database fails to describe a table, and not that it fails altogether."""

EFFECTS = ("CASCADE", "SET NULL", "SET DEFAULT")
"""What deleting a row may do to those that point at it."""


@dataclass(frozen=True)
class TableName:
    """A table or view, before anything else is known of it."""

    key: str
    """What callers and grants call it: `table` in the default schema, else `schema.table`."""
    full: str
    """`schema.table`, with the default schema's name too."""
    schema: str | None
    """None: the default schema."""
    name: str
    kind: str
    """`table` or `view`."""
    comment: str
    """What the configuration says about it, else what the database does."""
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: str
    """As the database writes it, such as `NUMERIC(10, 2)`."""
    nullable: bool
    default: str | None
    comment: str
    generated: str
    """`always` (it cannot be written), `by default` (the database gives a value when there is none) or empty."""
    conversion: Conversion
    sql: sa.ColumnElement[Any]
    """What stands for it in a statement."""
    number: sa.ColumnElement[Any] | None = None
    """The same read as a number, for what is text otherwise but may well hold one."""
    synonyms: tuple[str, ...] = ()

    def bind(self, value: object) -> sa.ColumnElement[Any]:
        """The value as a parameter that always has it."""
        return self._met(sa.bindparam(None, value, self.sql.type, unique=True))

    def parameter(self, parameters: Parameters, pick: Pick) -> sa.ColumnElement[Any]:
        """A parameter for values of the column."""
        return self._met(parameters.add(self.sql.type, pick))

    def named(self, name: str) -> sa.ColumnElement[Any]:
        """A parameter of that name for values of the column."""
        return self._met(sa.bindparam(name, type_=self.sql.type))

    def _met(self, parameter: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """A float becomes no more exact than those in the column, so that the two can meet."""
        return sa.cast(parameter, self.sql.type) if isinstance(self.sql.type, sa.Float) else parameter


@dataclass(frozen=True)
class ForeignKey:
    """These columns point at those of another table."""

    table: str
    """The key of the table that has the foreign key."""
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    on_delete: str = ""
    """What deleting the other row does to this one: `CASCADE`, `SET NULL`, `SET DEFAULT`; empty: it is forbidden."""
    name: str = ""
    """What the database calls it, if it does."""


@dataclass(frozen=True)
class Table:
    """All that the tools need to know of a table."""

    name: TableName
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    unique_keys: tuple[tuple[str, ...], ...]
    constraints: dict[str, tuple[str, ...]]
    """Name of a primary or unique key → its columns."""
    sql: sa.Table
    version: Column | None = None
    """What changes whenever a row does: a column of its own that the configuration names, or one of the engine's."""
    metrics: Mapping[str, Metric] = field(default_factory=dict[str, Metric])

    @property
    def key(self) -> str:
        return self.name.key

    @property
    def row_key(self) -> tuple[str, ...]:
        """Columns that tell one row from every other: the primary key, else a unique key without nulls, else none."""
        if self.primary_key:
            return self.primary_key
        strict = [key for key in self.unique_keys if not any(self.columns[name].nullable for name in key)]
        return min(strict, key=len, default=())

    @property
    def handle(self) -> list[Column]:
        """The columns of that key, if their values can be compared; else none."""
        columns = [self.columns[name] for name in self.row_key]
        return columns if all(column.conversion.comparable for column in columns) else []


def read_schemas(inspector: Inspector, configured: Sequence[str]) -> list[str | None]:
    """The schemas to serve, None for the default one. Raises SourceUnavailable for one that is not there."""
    if not configured:
        return [None]
    known = set(inspector.get_schema_names())
    for name in configured:
        if name not in known:
            raise SourceUnavailable(f"The configuration names the schema {name}, which is not in the database.")
    default = inspector.default_schema_name
    return [None if name == default else name for name in dict.fromkeys(configured)]


def read_names(inspector: Inspector, dialect: Dialect, schemas: Sequence[str]) -> dict[str, TableName]:
    """Every table and view of the configured schemas, by key."""
    names: dict[str, TableName] = {}
    for schema in read_schemas(inspector, schemas):
        comments = dialect.comments(inspector, schema)
        found = [(name, "table") for name in inspector.get_table_names(schema)]
        found += [(name, "view") for name in inspector.get_view_names(schema)]
        if dialect.has_materialized_views:
            found += [(name, "view") for name in inspector.get_materialized_view_names(schema)]
        for name, kind in found:
            key = table_key(schema, name)
            full = table_key(schema or inspector.default_schema_name, name)
            names.setdefault(key, TableName(key, full, schema, name, kind, comments.get(name, "")))
    return names


def read_table(inspector: Inspector, dialect: Dialect, name: TableName) -> Table | None:
    """One table with its columns and keys; None when it is gone."""
    return _read_tables(inspector, dialect, [name]).get(name.key)


def read_tables(inspector: Inspector, dialect: Dialect, names: Sequence[TableName]) -> dict[str, Table]:
    """Tables with their columns and keys, by key: those that are there and can be described.

    What the database cannot describe, such as a view of what is gone, is found by halves and costs only itself.
    """
    try:
        return _read_tables(inspector, dialect, names)
    except DBAPIError as error:
        diagnosis = dialect.diagnose(cast("BaseException", error.orig))
        if diagnosis is None or diagnosis.failure not in INDESCRIBABLE:
            raise
    if len(names) == 1:
        return {}
    middle = len(names) // 2
    return read_tables(inspector, dialect, names[:middle]) | read_tables(inspector, dialect, names[middle:])


def _read_tables(inspector: Inspector, dialect: Dialect, names: Sequence[TableName]) -> dict[str, Table]:
    by_schema: defaultdict[str | None, dict[str, TableName]] = defaultdict(dict)
    for name in names:
        by_schema[name.schema][name.name] = name
    found: dict[str, Table] = {}
    for schema, wanted in by_schema.items():
        for name, reflected in dialect.tables(inspector, schema, list(wanted)).items():
            found[wanted[name].key] = _table(inspector, dialect, wanted[name], reflected)
    return found


def _table(inspector: Inspector, dialect: Dialect, name: TableName, reflected: Reflected) -> Table:
    table = sa.Table(name.name, sa.MetaData(), schema=name.schema)
    columns: dict[str, Column] = {}
    for found in reflected.columns:
        column = _column(found, inspector, dialect, primary_key=found["name"] in reflected.primary_key)
        table.append_column(cast("sa.Column[Any]", column.sql))
        columns[column.name] = column
    version = None
    if (system := dialect.system_version) is not None and name.kind == "table" and system["name"] not in columns:
        version = _column(system, inspector, dialect, primary_key=False)
        table.append_column(cast("sa.Column[Any]", version.sql))
    unique_keys, constraints = tuple(reflected.unique_keys), dict(reflected.constraints)
    return Table(name, columns, reflected.primary_key, unique_keys, constraints, table, version)


def _column(found: ReflectedColumn, inspector: Inspector, dialect: Dialect, *, primary_key: bool) -> Column:
    kind = found["type"]
    default = found.get("default")
    always = "computed" in found or bool(found.get("identity", {}).get("always"))
    given = default is not None or "identity" in found or "computed" in found
    numbers = primary_key and ("identity" in found or str(default).startswith("nextval("))
    numbered = cast("bool | Literal['auto']", found.get("autoincrement", "auto"))
    by_default = "identity" in found or (numbered is True and default is None)
    try:
        written = str(kind.compile(dialect=inspector.dialect))  # enumerations have names that msgspec does not take
    except (CompileError, UnsupportedCompilationError):
        written = "unknown"
    return Column(
        name=found["name"],
        type=written,
        nullable=found["nullable"],
        default=default,
        comment=found.get("comment") or "",
        generated="always" if always else "by default" if by_default else "",
        conversion=dialect.conversion(kind),
        sql=sa.Column(
            found["name"],
            dialect.column_type(kind),
            primary_key=primary_key,
            autoincrement=numbered,
            nullable=found["nullable"] and not primary_key,
            server_default=sa.Identity() if numbers else sa.FetchedValue() if given else None,
        ),
    )


def read_estimates(inspector: Inspector, dialect: Dialect, schemas: Sequence[str]) -> dict[str, int]:
    """How many rows the engine believes that which table has, by key."""
    return {
        table_key(schema, name): rows
        for schema in read_schemas(inspector, schemas)
        for name, rows in dialect.row_estimates(inspector, schema).items()
    }


def read_references(inspector: Inspector, dialect: Dialect, schemas: Sequence[str]) -> tuple[ForeignKey, ...]:
    """Every foreign key between tables of the configured schemas."""
    default = inspector.default_schema_name
    served = read_schemas(inspector, schemas)
    references: list[ForeignKey] = []
    for schema in served:
        for name, key in dialect.foreign_keys(inspector, schema):
            to_schema = None if key["referred_schema"] == default else key["referred_schema"]
            if to_schema not in served:
                continue
            references.append(
                ForeignKey(
                    table=table_key(schema, name),
                    columns=tuple(key["constrained_columns"]),
                    to_table=table_key(to_schema, key["referred_table"]),
                    to_columns=tuple(key["referred_columns"]),
                    on_delete=_effect(key),
                    name=key["name"] or "",
                )
            )
    return tuple(references)


def _effect(key: ReflectedForeignKeyConstraint) -> str:
    rule = str(key.get("options", {}).get("ondelete", "")).upper()
    return rule if rule in EFFECTS else ""


def table_key(schema: str | None, name: str) -> str:
    """What callers and grants call the table."""
    return name if schema is None else f"{schema}.{name}"
