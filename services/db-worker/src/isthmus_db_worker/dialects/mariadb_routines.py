"""Procedures and functions of MariaDB and MySQL: how they are read, and how they are called."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pymysql
import sqlalchemy as sa
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import SSCursor
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Inspector
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from isthmus_db_worker.dialects import Dialect, Incomparable
from isthmus_db_worker.json_forms import present
from isthmus_db_worker.result_sets import Gathering, Present
from isthmus_db_worker.routines import Bound, Mode, Parameter, Routine, Value
from isthmus_db_worker.rows import unique_names
from isthmus_db_worker.statements import Row
from isthmus_db_worker.values import JsonValue

ROUTINES = """
select routine_schema, routine_type, specific_name, routine_name, dtd_identifier, routine_comment, sql_data_access
from information_schema.routines
where routine_schema in :schemas and routine_type in ('PROCEDURE', 'FUNCTION')
  and routine_schema not in ('information_schema', 'mysql', 'performance_schema', 'sys')
  and coalesce(routine_definition, '') not regexp 'fetch[[:space:]]+group'
order by routine_schema, routine_name, routine_type
"""
"""Not aggregates, which alone fetch the rows of a group."""
PARAMETERS = """
select specific_schema, routine_type, specific_name, parameter_mode, parameter_name, dtd_identifier
from information_schema.parameters where specific_schema in :schemas and ordinal_position > 0
order by specific_schema, specific_name, ordinal_position
"""

READING = ("READS SQL DATA", "NO SQL")
"""What an author declares of a routine that does not write. The server holds it to that in a read-only transaction."""
SIGNALED = 1644
"""The error number of SIGNAL."""
FETCHED = 64
"""Rows at a time."""

_MODES: Mapping[str, Mode] = {"IN": "in", "OUT": "out", "INOUT": "inout"}


class Invocation(sa.ColumnElement[Any]):
    """A function of arguments that stand in the session's variables."""

    inherit_cache = False

    def __init__(self, routine: Routine, kind: TypeEngine[Any]) -> None:
        self.routine = routine
        self.type = kind


@compiles(Invocation)
def _write_invocation(element: Invocation, compiler: SQLCompiler, **options: Any) -> str:
    quote = compiler.preparer.quote_identifier
    variables = ", ".join(map(_variable, range(len(element.routine.parameters))))
    return f"{quote(element.routine.schema)}.{quote(element.routine.name)}({variables})"


class Assignment(sa.Executable, sa.ClauseElement):
    """SET of a variable for each argument."""

    inherit_cache = False

    def __init__(self, values: Sequence[sa.ColumnElement[Any]]) -> None:
        self.values = values


@compiles(Assignment)
def _write_assignment(element: Assignment, compiler: SQLCompiler, **options: Any) -> str:
    values = (compiler.process(value, **options) for value in element.values)
    return "SET " + ", ".join(f"{_variable(place)} = {value}" for place, value in enumerate(values))


class MariadbRoutines:
    """What MariaDB and MySQL do with routines."""

    commits = True

    def __init__(self, dialect: Dialect, type_of: Callable[[Mapping[str, type[Any]], str], TypeEngine[Any]]) -> None:
        """`type_of` reads a type as the server writes it, by the names of those that are known."""
        self._dialect = dialect
        self._type_of = type_of

    def read(self, inspector: Inspector, schemas: Mapping[str, str]) -> list[Routine]:
        """In two statements."""
        connection = cast("Connection", inspector.bind)
        known: Any = inspector.dialect

        def value(name: str, text: str) -> Value:
            kind = self._type_of(known.ischema_names, text)
            return Value(name, text, self._dialect.conversion(kind), self._dialect.column_type(kind))

        def ask(query: str) -> Sequence[Sequence[Any]]:
            listed = sa.text(query).bindparams(sa.bindparam("schemas", expanding=True))
            return [tuple(row) for row in connection.execute(listed, {"schemas": list(schemas)})]

        parameters: defaultdict[tuple[str, str, str], list[Parameter]] = defaultdict(list)
        for schema, kind, routine, mode, name, text in ask(PARAMETERS):
            described = value(name, text)
            parameters[schema, kind, routine].append(
                Parameter(name, text, described.conversion, described.sql, _MODES[mode or "IN"])
            )
        return [
            Routine(
                key=schemas[schema] + name,
                full=f"{schema}.{name}",
                schema=schema,
                name=name,
                kind="procedure" if kind == "PROCEDURE" else "function",
                parameters=tuple(parameters[schema, kind, specific]),
                returned=() if kind == "PROCEDURE" else (value("", returned),),
                returns="" if kind == "PROCEDURE" else returned,
                comment=comment or "",
                reads=access in READING,
            )
            for schema, kind, specific, name, returned, comment, access in ask(ROUTINES)
        ]

    def call(
        self, connection: Connection, routine: Routine, bound: Bound, gathering: Gathering, *, read_only: bool
    ) -> None:
        """The connection must be thrown away afterwards, and with it the read-only transaction.

        A function cannot end that. A procedure could, and begin one that writes; so there it is one of XA, which ends
        by its name alone.
        """
        if read_only:
            xa = routine.kind == "procedure"
            connection.exec_driver_sql(f"XA START '{uuid4().hex}'" if xa else "START TRANSACTION READ ONLY")
        if routine.parameters:
            connection.execute(Assignment([_bound(p, bound.get(p.name)) for p in routine.parameters]))
        outputs = routine.outputs
        if routine.kind == "procedure":
            self._call(connection, routine, gathering)
            places = {parameter.name: place for place, parameter in enumerate(routine.parameters)}
            values = [_fetched(_variable(places[value.name]), value.sql) for value in outputs]
        else:
            values = [Invocation(routine, outputs[0].sql)]
        if values:
            row = connection.execute(sa.select(*values)).one()
            names = [value.name or "result" for value in outputs]
            gathering.output(names, [value.conversion.present for value in outputs], tuple(row))

    def raised(self, error: BaseException) -> str | None:
        """The text of SIGNAL."""
        if isinstance(error, pymysql.Error) and error.args and error.args[0] == SIGNALED:
            return str(error.args[-1])
        return None

    def _call(self, connection: Connection, routine: Routine, gathering: Gathering) -> None:
        """Every set of rows, as it comes; what has no place is read past."""
        quote = connection.dialect.identifier_preparer.quote_identifier
        variables = ", ".join(map(_variable, range(len(routine.parameters))))
        with closing(connection.connection.cursor(SSCursor)) as cursor:
            cursor.execute(f"CALL {quote(routine.schema)}.{quote(routine.name)}({variables})", ())
            more: object = True
            while more:
                if cursor.description:
                    names = unique_names(str(column[0]) for column in cursor.description)
                    presents = [_PRESENTS.get(cast("int", column[1]), present) for column in cursor.description]
                    rows = _rows(cast("SSCursor", cursor))
                    gathering.add(names, presents, rows)
                    for _ in rows:  # the driver learns of a next set behind the last row of this one
                        pass
                more = cast("SSCursor", cursor).nextset()


def _rows(cursor: SSCursor) -> Iterator[Row]:
    while batch := cursor.fetchmany(FETCHED):
        yield from cast("Sequence[Row]", batch)


def _variable(place: int) -> str:
    return f"@isthmus_{place}"


def _bound(parameter: Parameter, value: object) -> sa.ColumnElement[Any]:
    return sa.null() if value is None else sa.bindparam(None, value, parameter.sql, unique=True)


def _fetched(variable: str, kind: TypeEngine[Any]) -> sa.ColumnElement[Any]:
    """A variable holds a number, text or bytes, whatever was assigned to it."""
    found: sa.ColumnElement[Any] = sa.literal_column(variable)
    if isinstance(kind, sa.DateTime):
        return sa.cast(found, mysql.DATETIME(fsp=6))
    if isinstance(kind, sa.Date):
        return sa.cast(found, sa.Date())
    return sa.type_coerce(found, kind) if isinstance(kind, Incomparable) else found


def _present_bits(value: object) -> JsonValue:
    return present(int.from_bytes(value, "big") if isinstance(value, bytes) else value)


def _present_utc(value: object) -> JsonValue:
    return present(value.replace(tzinfo=UTC) if isinstance(value, datetime) else value)


_PRESENTS: Mapping[int, Present] = {FIELD_TYPE.BIT: _present_bits, FIELD_TYPE.TIMESTAMP: _present_utc}
"""By the type of a column that a procedure selects, of which no more is known."""
