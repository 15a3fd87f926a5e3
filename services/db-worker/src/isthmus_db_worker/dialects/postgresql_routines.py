"""Procedures and functions of PostgreSQL: how they are read, and how they are called."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from psycopg.types.string import TextLoader
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Inspector
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.json_forms import present, present_json
from isthmus_db_worker.result_sets import Gathering
from isthmus_db_worker.routines import Bound, Kind, Mode, Parameter, Routine, Value
from isthmus_db_worker.rows import unique_names
from isthmus_db_worker.statements import Row

ROUTINES = """
select p.oid, n.nspname, p.proname, p.prokind = 'p', p.proretset, p.provolatile in ('i', 's'), p.prorettype,
  coalesce(p.proallargtypes, cast(p.proargtypes as oid[])), p.proargnames, cast(p.proargmodes as text[]),
  array(
    select pg_catalog.pg_get_function_arg_default(p.oid, i)
    from generate_series(1, coalesce(cardinality(p.proallargtypes), p.pronargs)) i order by i
  ),
  pg_catalog.pg_get_function_result(p.oid), pg_catalog.obj_description(p.oid, 'pg_proc')
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
where n.nspname = any(:schemas) and n.nspname not in ('pg_catalog', 'information_schema')
  and p.prokind in ('f', 'p') and l.lanname not in ('internal', 'c')
  and pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_function_privilege(p.oid, 'execute')
  and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = cast('pg_catalog.pg_proc' as regclass) and d.objid = p.oid and d.deptype = 'e'
  )
order by n.nspname, p.proname, p.oid
"""
"""Not those of extensions, of the server itself, and in its own languages: what these do is not in their definition."""

TYPES = """
with recursive needed (oid) as (
  select unnest(cast(:types as oid[]))
  union
  select more.oid from needed join pg_catalog.pg_type t on t.oid = needed.oid cross join lateral (
    select t.typelem as oid where t.typcategory = 'A'
    union all select t.typbasetype where t.typtype = 'd'
    union all select a.atttypid from pg_catalog.pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
  ) more
)
select t.oid, n.nspname, t.typname, t.typtype, pg_catalog.format_type(t.oid, null),
  case when t.typcategory = 'A' then t.typelem else 0 end, t.typbasetype,
  array(select cast(e.enumlabel as text) from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder),
  array(
    select cast(a.attname as text) from pg_catalog.pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum
  ),
  array(
    select a.atttypid from pg_catalog.pg_attribute a
    where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum
  )
from needed join pg_catalog.pg_type t on t.oid = needed.oid join pg_catalog.pg_namespace n on n.oid = t.typnamespace
"""
"""The types, and those that they are made of."""

VOID, RECORD = "void", "record"
REFCURSOR = "refcursor"
RAISED = "P0001"
"""The SQLSTATE of RAISE."""
DOCUMENTS = (114, 3802)
"""The numbers of json and jsonb."""

_MODES: Mapping[str, Mode] = {"i": "in", "o": "out", "b": "inout", "v": "variadic"}


class Spelled(UserDefinedType[Any]):
    """A type as the server itself writes its name, in quotes where they must be."""

    cache_ok = True

    def __init__(self, text: str) -> None:
        self.text = text

    def get_col_spec(self, **options: Any) -> str:
        """Percent signs mean something to the driver."""
        return self.text.replace("%", "%%")


class Invocation(FunctionElement[Any]):
    """A routine with its arguments. SQLAlchemy's own functions know some names, and write those in their own way."""

    inherit_cache = False

    def __init__(self, routine: Routine, *arguments: sa.ColumnElement[Any]) -> None:
        super().__init__(*arguments)
        self.routine = routine


@compiles(Invocation)
def _write_invocation(element: Invocation, compiler: SQLCompiler, **options: Any) -> str:
    quote = compiler.preparer.quote_identifier
    arguments = ", ".join(compiler.process(argument, **options) for argument in element.clauses)
    return f"{quote(element.routine.schema)}.{quote(element.routine.name)}({arguments})"


class Argument(sa.ColumnElement[Any]):
    """An argument with its name, or one that is a list of them."""

    inherit_cache = False

    def __init__(self, parameter: Parameter, value: sa.ColumnElement[Any], *, named: bool) -> None:
        self.parameter = parameter
        self.value = value
        self.named = named
        self.type = value.type


@compiles(Argument)
def _write_argument(element: Argument, compiler: SQLCompiler, **options: Any) -> str:
    variadic = "VARIADIC " if element.parameter.mode == "variadic" else ""
    name = f"{compiler.preparer.quote_identifier(element.parameter.name)} => " if element.named else ""
    return variadic + name + compiler.process(element.value, **options)


class Procedure(sa.Executable, sa.ClauseElement):
    """CALL of a procedure."""

    inherit_cache = False

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation


@compiles(Procedure)
def _write_procedure(element: Procedure, compiler: SQLCompiler, **options: Any) -> str:
    return f"CALL {compiler.process(element.invocation, **options)}"


@dataclass(frozen=True)
class Type:
    """A row of TYPES."""

    schema: str
    name: str
    kind: str
    """`b`, `c`, `d`, `e`, `p` …, as pg_type has it."""
    text: str
    item: int
    below: int
    words: Sequence[str]
    columns: Sequence[str]
    column_types: Sequence[int]


class Types:
    """What values of the server's types are to us."""

    def __init__(self, dialect: Dialect, known: Mapping[str, Any], types: Mapping[int, Type]) -> None:
        self._dialect = dialect
        self._known = known
        self._types = types

    def __getitem__(self, number: int) -> Type:
        return self._types[number]

    def value(self, name: str, number: int) -> Value:
        """Something of that type."""
        kind = self._kind(number)
        text = self._types[number].text
        return Value(name, text, self._dialect.conversion(kind), self._dialect.column_type(kind))

    def is_pseudo(self, number: int) -> bool:
        """Whether no value can have it."""
        return self._types[number].kind == "p"

    def _kind(self, number: int) -> TypeEngine[Any]:
        """As SQLAlchemy's inspector would have it."""
        found = self._types[number]
        if found.item:
            return postgresql.ARRAY(self._kind(found.item))
        if found.kind == "d":
            return self._kind(found.below)
        if found.kind == "e":
            return postgresql.ENUM(*found.words, name=found.name, schema=found.schema)
        known = self._known.get(found.text)
        if known is None:
            return Spelled(found.text)
        if issubclass(known, sa.DateTime | sa.Time):
            return known(timezone=found.text.endswith("with time zone"))
        return known(varying=True) if found.text == "bit varying" else known()


class PostgresqlRoutines:
    """What PostgreSQL does with routines."""

    commits = False

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def read(self, inspector: Inspector, schemas: Mapping[str, str]) -> list[Routine]:
        """In two statements."""
        connection = cast("Connection", inspector.bind)
        rows = [tuple(row) for row in connection.execute(sa.text(ROUTINES), {"schemas": list(schemas)})]
        numbers = {number for row in rows for number in (row[6], *row[7])}
        types = {row[0]: Type(*row[1:]) for row in connection.execute(sa.text(TYPES), {"types": sorted(numbers)})}
        known: Any = inspector.dialect
        read = Types(self._dialect, known.ischema_names, types)
        found = [_routine(read, schemas[str(row[1])], *row[1:]) for row in rows]
        return [routine for routine in found if routine is not None]

    def call(
        self, connection: Connection, routine: Routine, bound: Bound, gathering: Gathering, *, read_only: bool
    ) -> None:
        """The connection must be thrown away afterwards, and with it the read-only transaction."""
        if read_only:
            connection.exec_driver_sql("begin transaction read only")
        driver = cast("psycopg.Connection", connection.connection.dbapi_connection)
        for name in ("json", "jsonb"):
            driver.adapters.register_loader(name, TextLoader)
        invocation = Invocation(routine, *_arguments(routine, bound))
        rows = self._run(connection, routine, invocation, gathering.limit)
        outputs = routine.outputs
        plain = [place for place, value in enumerate(outputs) if value.type != REFCURSOR]
        names = [outputs[place].name or "result" for place in plain]
        presents = [outputs[place].conversion.present for place in plain]
        if plain and routine.kind == "table function":
            gathering.add(names, presents, [[row[place] for place in plain] for row in rows])
        elif plain and rows:
            gathering.output(names, presents, [rows[0][place] for place in plain])
        cursors = [row[place] for row in rows for place in range(len(outputs)) if place not in plain]
        for cursor in cursors:
            if cursor is not None:
                _fetch(connection, str(cursor), gathering)

    def raised(self, error: BaseException) -> str | None:
        """What follows RAISE EXCEPTION, where it gives no other SQLSTATE."""
        if isinstance(error, psycopg.Error) and error.sqlstate == RAISED:
            return error.diag.message_primary
        return None

    def _run(self, connection: Connection, routine: Routine, invocation: Invocation, limit: int) -> Sequence[Row]:
        """All rows, one more of a set than it may have."""
        if routine.kind == "procedure":
            with closing(connection.execute(Procedure(invocation))) as result:
                return [tuple(row) for row in result] if result.returns_rows else []
        if not routine.outputs:
            connection.execute(sa.select(sa.cast(invocation, sa.Text())))
            return []
        columns = [sa.column(f"c{place}", value.sql) for place, value in enumerate(routine.outputs)]
        called = invocation.table_valued(*columns, name="called").render_derived()
        select = sa.select(*called.c)
        return [tuple(row) for row in connection.execute(select.limit(limit + 1))]


def _routine(
    types: Types, prefix: str, schema: str, name: str, procedure: bool, many: bool, steady: bool, returned: int,
    arguments: Sequence[int], names: Sequence[str] | None, modes: Sequence[str] | None, defaults: Sequence[str | None],
    result: str | None, comment: str | None,
) -> Routine | None:  # fmt: skip
    """A row of ROUTINES; None for a trigger's function and others that no values can be given to or come from."""
    modes = modes or ["i"] * len(arguments)
    names = names or [""] * len(arguments)
    if any(map(types.is_pseudo, arguments)):
        return None
    parameters: list[Parameter] = []
    columns: list[Value] = []
    for place, (number, mode) in enumerate(zip(arguments, modes, strict=True)):
        value = types.value(names[place] or f"${place + 1}", number)
        if mode == "t":
            columns.append(value)
            continue
        parameters.append(
            Parameter(
                value.name, value.type, value.conversion, value.sql, _MODES[mode], defaults[place], bool(names[place])
            )
        )
    out = any(parameter.mode in ("out", "inout") for parameter in parameters)
    type_ = types[returned]
    if not (procedure or out or columns) and type_.text != VOID:
        if type_.kind == "p":
            return None
        columns = [types.value(*column) for column in zip(type_.columns, type_.column_types, strict=True)]
        columns = columns or [types.value("", returned)]
    kind: Kind = "procedure" if procedure else "table function" if many else "function"
    return Routine(
        key=prefix + name,
        full=f"{schema}.{name}",
        schema=schema,
        name=name,
        kind=kind,
        parameters=tuple(parameters),
        returned=tuple(columns),
        returns="" if procedure or out or type_.text == VOID else _one_line(result or ""),
        comment=comment or "",
        reads=steady and not procedure,
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _arguments(routine: Routine, bound: Bound) -> list[sa.ColumnElement[Any]]:
    """In order, and by name after one that is left to its default. A procedure's out arguments are written, too."""
    written: list[sa.ColumnElement[Any]] = []
    gap = False
    for parameter in routine.parameters:
        if parameter.mode == "out" and routine.kind != "procedure":
            continue
        if parameter.name in bound or parameter.mode == "out":
            value = _bound(parameter, bound.get(parameter.name))
        elif parameter.mode == "variadic" and parameter.default is None:
            value = _bound(parameter, [])
        else:
            gap = True
            continue
        written.append(Argument(parameter, value, named=gap))
    return written


def _bound(parameter: Parameter, value: object) -> sa.ColumnElement[Any]:
    given = sa.null() if value is None else sa.bindparam(None, value, parameter.sql, unique=True)
    return sa.cast(given, Spelled(parameter.type))


def _fetch(connection: Connection, cursor: str, gathering: Gathering) -> None:
    """The rows that a cursor stands for."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(cursor)
    with closing(connection.exec_driver_sql(f"fetch forward {gathering.limit + 1} from {quoted}")) as result:
        codes = [column[1] for column in cast("Any", result.cursor).description]
        presents = [present_json if code in DOCUMENTS else present for code in codes]
        gathering.add(unique_names(result.keys()), presents, (tuple(row) for row in result))
