"""MariaDB and MySQL, through PyMySQL."""

import re
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import pymysql
import sqlalchemy as sa
from pymysql.constants import CR, FIELD_TYPE
from pymysql.converters import conversions as pymysql_conversions
from sqlalchemy import event
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, Engine, Inspector
from sqlalchemy.engine.interfaces import DBAPIConnection, ReflectedColumn, ReflectedForeignKeyConstraint
from sqlalchemy.sql import operators
from sqlalchemy.types import TypeEngine, UserDefinedType

from isthmus_db_worker import values
from isthmus_db_worker.dialects import (
    Diagnosis,
    Dialect,
    Explanation,
    Failure,
    Incomparable,
    Named,
    Reflected,
    Untyped,
    json_path,
    named,
)
from isthmus_db_worker.dialects.mariadb_routines import MariadbRoutines
from isthmus_db_worker.json_forms import as_is, present
from isthmus_db_worker.values import Conversion, JsonValue

CONNECT_SECONDS = 5
CANCEL_SECONDS = 5
IDLE_SECONDS = 60
"""No transaction stays open for longer with nothing to do: it may hold locks for a worker that stands still."""

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)

SQL_MODE = "TRADITIONAL,NO_AUTO_VALUE_ON_ZERO"
"""Whatever does not fit is an error, and a key of 0 is 0."""

FAILURES = {
    Failure.UNREACHABLE: (
        0, 1021, 1040, 1041, 1045, 1049, 1053, 1077, 1114, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1698,
        1820, 1862, 1927, 2000, 2002, 2003, 2005, 2006, 2013, 2014, 2026, 2055, 4031,
    ),
    Failure.BUSY: (1020, 1205, 1213),
    Failure.STOPPED: (1317, 1969, 3024),
    Failure.FORBIDDEN: (1044, 1142, 1143, 1227, 1290, 1370, 1836),
    Failure.READ_ONLY: (1792,),
    Failure.ENDS: (1399,),
    Failure.CHANGED: (1051, 1054, 1146, 1356, 1412),
    Failure.VALUE: (
        1153, 1264, 1265, 1267, 1292, 1300, 1366, 1367, 1406, 1411, 1416, 1441, 1690, 3140, 3141, 3156, 3854, 4078,
        4079,
    ),
    Failure.UNSEARCHABLE: (1191,),
    Failure.TAKEN: (1022, 1062, 1169, 1586),
    Failure.REFERENCE: (1216, 1217, 1451, 1452),
    Failure.MISSING: (1048, 1121, 1364, 1566),
    Failure.RULE: (1369, 1644, 1906, 3819, 4025),
}  # fmt: skip
"""By error number; 0 is PyMySQL's for a connection that is closed."""
_FAILURE_OF = {number: failure for failure, numbers in FAILURES.items() for number in numbers}

PRIMARY = "PRIMARY"
"""What every primary key is called."""
COLUMNS = """
select table_name, column_name, column_type, is_nullable, column_default, extra, generation_expression, column_comment
from information_schema.columns where table_schema = :schema and table_name in :names
order by table_name, ordinal_position
"""
KEYS = """
select table_name, index_name, column_name from information_schema.statistics
where table_schema = :schema and table_name in :names and non_unique = 0 order by table_name, index_name, seq_in_index
"""
CHECKS = """
select table_name, check_clause from information_schema.check_constraints
where constraint_schema = :schema and table_name in :names
"""

COMPLAINTS = (1052, 1054, 1055, 1056, 1060, 1066, 1111, 1140, 1222, 1235, 1241, 1247, 1248, 1305, 1582, 1630, 4015)
"""Errors about names, the grouping and the number of columns. That of the syntax repeats the statement."""

_NAMING = (1451, 1452, 3819, 4025)
"""Errors about a constraint that name it."""
_DATABASE = re.compile(r"^FUNCTION [^ ]*\.")
_QUOTED = re.compile(r"'([^']*)'")
_CONSTRAINT = re.compile(r"constraint [`']([^`']+)[`']", re.IGNORECASE)
_JSON_CHECK = re.compile(r"json_valid\(`(.+)`\)", re.IGNORECASE)
_INCOMPLETE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,6})?)?")
_TYPE = re.compile(r"(\w+)(?:\((.*)\))?(.*)", re.DOTALL)
_WORD = re.compile(r"'(?:[^']|'')*'")
_NUMBER = re.compile(r"\d+")
_TIME = re.compile(r"-?\d{1,3}:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?")


class Single(UserDefinedType[float]):
    """FLOAT, of which the server shows six digits unless it is asked for a double."""

    cache_ok = True

    def column_expression(self, colexpr: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
        """As exact as it is stored."""
        return colexpr.op("+")(sa.literal_column("0e0"))

    def bind_processor(self, dialect: sa.Dialect) -> Callable[..., float | None]:
        """What the column would make of the value, so that the two can meet."""
        del dialect
        return _stored_single


class Shape(Incomparable):
    """A geometry, in the words of WKT."""

    cache_ok = True

    def column_expression(self, colexpr: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
        """As text."""
        return sa.func.ST_AsText(colexpr)

    def bind_expression(self, bindvalue: sa.BindParameter[str]) -> sa.ColumnElement[str]:
        """From text."""
        return sa.func.ST_GeomFromText(bindvalue)


NAMES = named(
    Shape, "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection",
)  # fmt: skip


class Bits(UserDefinedType[int]):
    """BIT, which comes as bytes."""

    cache_ok = True

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[..., int | None]:
        """The number that the bits are."""
        del dialect, coltype
        return _bits


class Words(UserDefinedType[str]):
    """ENUM and SET: compared as text, so sorted as text too, and not by the places of their words."""

    cache_ok = True

    class comparator_factory(UserDefinedType.Comparator[str]):  # noqa: N801  (SQLAlchemy's name for it)
        """The column as text, where one word may come before another."""

        def operate(self, op: operators.OperatorType, *other: Any, **options: Any) -> sa.ColumnElement[Any]:
            if op in _ORDERING:
                return op(sa.cast(self.expr, sa.String()), *other, **options)
            return super().operate(op, *other, **options)


_ORDERING = {
    operators.asc_op, operators.desc_op, operators.lt, operators.le, operators.gt, operators.ge, operators.between_op,
    operators.not_between_op,
}  # fmt: skip

PLAIN: tuple[type[TypeEngine[Any]], ...] = (
    sa.Integer, sa.Numeric, sa.DateTime, sa.Date, sa.String, sa.LargeBinary, sa.BINARY, sa.VARBINARY,
)  # fmt: skip
"""The types whose values SQLAlchemy leaves as they are, or mends."""


def _single(value: float) -> float:
    """The nearest value with single precision."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _bits(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")


def _stored_single(value: float | None) -> float | None:
    return None if value is None else _single(value)


def _present_single(value: object) -> JsonValue:
    """The fewest digits that mean the stored value."""
    if not isinstance(value, float):
        return present(value)
    return next((short for digits in range(6, 10) if _single(short := float(f"{value:.{digits}g}")) == value), value)


def _parse_time(value: JsonValue) -> str:
    """From -838:59:59 to 838:59:59."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError
    return value


def _or_incomplete(parse: Callable[[JsonValue], object]) -> Callable[[JsonValue], object]:
    """Takes dates with a year, month or day of zero, too, which Python has not."""

    def read(value: JsonValue) -> object:
        try:
            return parse(value)
        except ValueError:
            if isinstance(value, str) and _INCOMPLETE.fullmatch(value):
                return value
            raise

    return read


def _present_utc(value: object) -> JsonValue:
    return present(value.replace(tzinfo=UTC) if isinstance(value, datetime) else value)


def _present_boolean(value: object) -> JsonValue:
    return bool(value) if value in (0, 1) else present(value)


def _some_of(allowed: Sequence[str]) -> Conversion:
    """A SET: words in the order of its definition, with commas between them in the database."""

    def parse(value: JsonValue) -> str:
        words = cast("list[object]", value) if isinstance(value, list) else str(value).split(",") if value else []
        if not all(word in allowed for word in words):
            raise ValueError
        return ",".join(word for word in allowed if word in words)

    def present_words(value: object) -> JsonValue:
        return value.split(",") if isinstance(value, str) and value else [] if value == "" else present(value)

    return Conversion(f"a list of {', '.join(allowed)}", parse, present_words)


BOOLEAN = Conversion(values.BOOLEAN.noun, values.BOOLEAN.parse, _present_boolean)


class MariadbDialect(Dialect):
    """MariaDB and MySQL."""

    conversions: Sequence[tuple[type[TypeEngine[Any]], Conversion]] = (
        (mysql.YEAR, values.INTEGER),
        (mysql.BIT, values.UNSIGNED),
        (mysql.FLOAT, Conversion(values.FLOAT.noun, values.FLOAT.parse, _present_single)),
        (sa.TIMESTAMP, Conversion(values.ZONED.noun, values.MOMENT.parse, _present_utc)),
        (sa.DateTime, replace(values.MOMENT, parse=_or_incomplete(values.MOMENT.parse))),
        (sa.Date, replace(values.DATE, parse=_or_incomplete(values.DATE.parse))),
        (Shape, Conversion("a shape such as 'POINT(1 2)'", values.TEXT.parse, comparable=False)),
        (sa.String, replace(values.TEXT, present=as_is)),
        (sa.Time, Conversion(values.TIME.noun, _parse_time)),
        (sa.Uuid, Conversion(values.IDENTIFIER.noun, lambda value: str(UUID(str(value))))),
        (sa.JSON, values.JSON_TEXT),
        *((kind, values.BYTES) for kind in (
            sa.BINARY, sa.VARBINARY, mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB,
        )),
        *values.CONVERSIONS,
    )  # fmt: skip
    errors: tuple[type[Exception], ...] = (pymysql.Error,)

    @property
    def routines(self) -> MariadbRoutines:
        """Those that SQL is made of."""
        return MariadbRoutines(self, _type)

    def create_engine(self, url: URL, size: int, *, read_only: bool) -> Engine:
        """The server itself refuses to write on a read-only connection."""
        engine = self._engine(url, size, read_only=read_only)

        def connect(dialect: object, entry: object, arguments: object, parameters: dict[str, Any]) -> Connection:
            del dialect, entry, arguments
            connection = Connection(**parameters)
            _set_up(connection, read_only=read_only)
            return connection

        event.listen(engine, "do_connect", connect)
        return engine

    def limit_statement(self, connection: sa.Connection, seconds: int) -> str:
        """For reads and writes in MariaDB; MySQL has a limit for SELECT alone."""
        if getattr(connection.dialect, "is_mariadb", False):
            return f"SET SESSION max_statement_time = {seconds}"
        return f"SET SESSION max_execution_time = {seconds * 1000}"

    def interrupt(self, connection: DBAPIConnection) -> None:
        """Asks the server over a connection of its own; a server that is gone has stopped anyway."""
        busy = cast("Connection", connection)
        with suppress(pymysql.Error), Connection(**{**busy.parameters, "read_timeout": CANCEL_SECONDS}) as other:
            other.cursor().execute(f"KILL QUERY {busy.thread_id()}")

    def diagnose(self, error: BaseException) -> Diagnosis | None:
        """By error number; the driver refuses values without one."""
        if not isinstance(error, pymysql.Error):
            return None
        number, *words = error.args or (None,)
        if not isinstance(number, int):
            return Diagnosis(Failure.VALUE)
        failure = _FAILURE_OF.get(number, Failure.OTHER)
        quoted = _QUOTED.findall(str(words[0])) if words else []
        if failure is Failure.TAKEN and quoted:
            return Diagnosis(failure, constraint=quoted[-1].rpartition(".")[2])
        if failure is Failure.MISSING and quoted:
            return Diagnosis(failure, (quoted[0],))
        named = _CONSTRAINT.search(str(words[0])) if words and number in _NAMING else None
        return Diagnosis(failure, constraint=named.group(1) if named else None)

    def undoes(self, connection: sa.Connection, table: sa.Table) -> bool:
        """InnoDB's can; MyISAM, Aria and others keep what is written."""
        query = (
            "select transactions = 'YES' from information_schema.tables t "
            "join information_schema.engines e on e.engine = t.engine "
            "where table_schema = coalesce(:schema, database()) and table_name = :name"
        )
        return bool(connection.execute(sa.text(query), {"schema": table.schema, "name": table.name}).scalar())

    def tables(self, inspector: Inspector, schema: str | None, names: Sequence[str]) -> dict[str, Reflected]:
        """From the information schema, where SQLAlchemy would ask for one table after the other.

        An account that may only read a view learns its columns here as well, which SHOW CREATE does not tell it.
        """
        columns: defaultdict[str, list[ReflectedColumn]] = defaultdict(list)
        known = cast("mysql.dialect", inspector.dialect).ischema_names  # pyright: ignore
        for table, *described in _ask(inspector, COLUMNS, schema, names=list(names)):
            columns[table].append(_column(known, *described))
        _mark_json(inspector, schema, columns)
        keys: defaultdict[str, defaultdict[str, list[str | None]]] = defaultdict(lambda: defaultdict(list))
        for table, key, column in _ask(inspector, KEYS, schema, names=list(names)):
            keys[table][key].append(column)
        found: dict[str, Reflected] = {}
        for table, described in columns.items():
            whole = {name: tuple(filter(None, key)) for name, key in sorted(keys[table].items())}
            complete = {name: key for name, key in whole.items() if len(key) == len(keys[table][name])}
            unique = [key for name, key in complete.items() if name != PRIMARY]
            found[table] = Reflected(described, complete.get(PRIMARY, ()), unique, complete)
        return found

    def complaint(self, error: BaseException) -> str | None:
        """By error number."""
        if not isinstance(error, pymysql.Error) or not error.args or error.args[0] not in COMPLAINTS:
            return None
        return _DATABASE.sub("FUNCTION ", str(error.args[-1]))

    def row_estimates(self, inspector: Inspector, schema: str | None) -> dict[str, int]:
        """As the engine's statistics have them: InnoDB's may be wrong by half."""
        query = (
            "select table_name, table_rows from information_schema.tables where table_schema = :schema "
            "and table_rows is not null and table_type = 'BASE TABLE'"
        )
        return {str(name): int(rows) for name, rows in _ask(inspector, query, schema)}

    def comments(self, inspector: Inspector, schema: str | None) -> dict[str, str]:
        """All in one question, where SQLAlchemy would ask for one table after the other."""
        query = (
            "select table_name, table_comment from information_schema.tables where table_schema = :schema "
            "and table_type <> 'VIEW' and table_comment <> ''"
        )
        return {str(row[0]): str(row[1]) for row in _ask(inspector, query, schema)}

    def foreign_keys(
        self, inspector: Inspector, schema: str | None
    ) -> Iterable[tuple[str, ReflectedForeignKeyConstraint]]:
        """All in one question, as with comments."""
        query = (
            "select k.table_name, k.constraint_name, column_name, referenced_table_schema, k.referenced_table_name, "
            "referenced_column_name, delete_rule from information_schema.key_column_usage k "
            "join information_schema.referential_constraints r on r.constraint_schema = k.constraint_schema "
            "and r.table_name = k.table_name and r.constraint_name = k.constraint_name "
            "where k.table_schema = :schema and k.referenced_table_name is not null "
            "order by k.table_name, k.constraint_name, ordinal_position"
        )
        keys: dict[tuple[str, str], ReflectedForeignKeyConstraint] = {}
        for table, name, column, to_schema, to_table, to_column, effect in _ask(inspector, query, schema):
            empty = ReflectedForeignKeyConstraint(
                name=name, constrained_columns=[], referred_schema=to_schema, referred_table=to_table,
                referred_columns=[], options={"ondelete": effect},
            )  # fmt: skip
            key = keys.setdefault((table, name), empty)
            key["constrained_columns"].append(column)
            key["referred_columns"].append(to_column)
        return [(table, key) for (table, _), key in keys.items()]

    def json_text(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[str]:
        """JSON_EXTRACT without the quotes around a text; a JSON null is null."""
        found = sa.func.json_extract(document, json_path(path))
        return sa.case(
            (sa.func.json_type(found) != "NULL", sa.type_coerce(sa.func.json_unquote(found), sa.Text())), else_=None
        )

    def json_number(self, document: sa.ColumnElement[Any], path: Sequence[str]) -> sa.ColumnElement[Decimal]:
        """With ten digits behind the point."""
        found = sa.func.json_extract(document, json_path(path))
        is_number = sa.func.json_type(found).in_(["INTEGER", "DOUBLE", "DECIMAL", "UNSIGNED INTEGER"])
        return sa.case((is_number, sa.cast(sa.func.json_unquote(found), sa.Numeric(40, 10))))

    def search(self, text: sa.ColumnElement[Any], words: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
        """Natural language mode; the engine refuses a column without a FULLTEXT index."""
        return mysql.match(text, against=words)

    def explain(self, connection: sa.Connection, select: sa.Select[Any], values: Mapping[str, object]) -> list[str]:
        """As JSON, not run."""
        return str(connection.execute(Explanation(select, "FORMAT=JSON"), values).scalar_one()).splitlines()

    def estimate(self, connection: sa.Connection, select: sa.Select[Any], values: Mapping[str, object]) -> int | None:
        """What the optimizer expects to look at in every table, times the share that it expects to keep."""
        estimated = 1.0
        for row in connection.execute(Explanation(select, "EXTENDED"), values).mappings():
            if row["rows"] is None:
                return None
            estimated *= float(row["rows"]) * float(row["filtered"] or 100) / 100
        return round(estimated)

    def type_names(self, known: dict[str, Any]) -> dict[str, Any]:
        """With those that are text to us."""
        return {**known, **NAMES}

    def column_type(self, reflected: TypeEngine[Any]) -> TypeEngine[Any]:
        """What PyMySQL gives and takes is right as it is, but for a few."""
        if isinstance(reflected, mysql.ENUM | mysql.SET):
            return Words()
        if isinstance(reflected, mysql.FLOAT):
            return Single()
        if isinstance(reflected, mysql.BIT):
            return Bits()
        if isinstance(reflected, Shape):
            return reflected
        return reflected if isinstance(reflected, PLAIN) and not isinstance(reflected, sa.Float) else Untyped()

    def conversion(self, reflected: TypeEngine[Any]) -> Conversion:
        """What one type alone does not tell."""
        if _is_boolean(reflected):
            return BOOLEAN
        if isinstance(reflected, mysql.SET):
            return _some_of(reflected.values)
        if isinstance(reflected, sa.Integer) and getattr(reflected, "unsigned", False):
            return values.UNSIGNED
        return super().conversion(reflected)


class Connection(pymysql.connections.Connection):  # pyright: ignore[reportMissingTypeArgument]  (generic in the stubs)
    """A connection that knows how another one like it is opened."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters: Mapping[str, Any] = parameters
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "sql_mode": SQL_MODE,
            "conv": _CONVERSIONS,
            "ssl_disabled": _is_local(parameters),
            **parameters,
        }
        if isinstance(password := options.get("password"), str):
            options["password"] = password.encode()
        super().__init__(**options)

    def connect(self, sock: socket.socket | None = None) -> None:
        """Over a socket that is closed when nobody answers, and that notices a peer that vanished."""
        if sock is None:
            try:
                sock = self._open()
            except OSError as error:
                raise pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, f"nobody answers ({error})") from error
        super().connect(sock)

    def _open(self) -> socket.socket:
        if self.unix_socket is None:
            source = None if self.bind_address is None else (str(self.bind_address), 0)
            opened = socket.create_connection((self.host, self.port), CONNECT_SECONDS, source)
            for level, option, value in KEEPALIVE:
                opened.setsockopt(level, option, value)
            return opened
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(CONNECT_SECONDS)
        try:
            opened.connect(str(self.unix_socket))
        except OSError:
            opened.close()
            raise
        self._secure = True
        return opened


_CONVERSIONS = {kind: convert for kind, convert in pymysql_conversions.items() if kind != FIELD_TYPE.TIME}
"""Times stay text: they go beyond a day, and below nothing."""


def _is_local(parameters: Mapping[str, object]) -> bool:
    """Whether TLS is of no use: over a socket of this machine. To get it ready takes 30 ms."""
    return "unix_socket" in parameters and not any(name.startswith("ssl") for name in parameters)


def _set_up(connection: Connection, *, read_only: bool) -> None:
    idle = f", idle_transaction_timeout = {IDLE_SECONDS}" if "MariaDB" in connection.get_server_info() else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION time_zone = '+00:00'{idle}")
        if read_only:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")


def _is_boolean(kind: TypeEngine[Any]) -> bool:
    """BOOL is another word for TINYINT(1)."""
    return (isinstance(kind, mysql.TINYINT) and kind.display_width == 1) or (
        isinstance(kind, mysql.BIT) and kind.length == 1
    )


def _column(
    known: Mapping[str, type[Any]], name: str, kind: str, nullable: str, default: str | None, extra: str,
    expression: str | None, comment: str,
) -> ReflectedColumn:  # fmt: skip
    """One row of COLUMNS."""
    type_ = _type(known, kind)
    column = ReflectedColumn(
        name=name,
        type=type_,
        nullable=nullable == "YES",
        default=None if default == "NULL" else default,
        comment=comment or None,
    )
    if isinstance(type_, sa.Integer):
        column["autoincrement"] = "auto_increment" in extra
    if expression:
        column["computed"] = {"sqltext": expression}
    return column


def _type(known: Mapping[str, type[Any]], text: str) -> TypeEngine[Any]:
    """The type that the server writes as `decimal(10,2) unsigned`. The width of an integer says nothing, but that of a
    boolean."""
    match = cast("re.Match[str]", _TYPE.match(text))
    word, inner, rest = match.group(1), match.group(2), match.group(3)
    kind = known.get(word) or named(Named, word)[word]
    if issubclass(kind, mysql.ENUM | mysql.SET):
        words = [part[1:-1].replace("''", "'") for part in _WORD.findall(inner or "")]
        bitwise = {"retrieve_as_bitwise": True} if issubclass(kind, mysql.SET) and "" in words else {}
        return kind(*words, **bitwise)
    numbers = [int(number) for number in _NUMBER.findall(inner or "")]
    if issubclass(kind, sa.DateTime | sa.Time):
        return cast("Callable[..., TypeEngine[Any]]", kind)(fsp=numbers[0] if numbers else None)
    options = {word: True for word in ("unsigned", "zerofill") if word in rest}
    found = kind(*numbers, **options)
    if isinstance(found, sa.Integer) and not _is_boolean(found):
        cast("mysql.INTEGER", found).display_width = None
    return found


def _mark_json(inspector: Inspector, schema: str | None, columns: Mapping[str, list[ReflectedColumn]]) -> None:
    """MariaDB's JSON is a long text with a check."""
    texts = {table for table, found in columns.items() if any(isinstance(c["type"], mysql.LONGTEXT) for c in found)}
    if not texts or not getattr(inspector.dialect, "is_mariadb", False):
        return
    checked: set[tuple[str, str]] = set()
    for table, clause in _ask(inspector, CHECKS, schema, names=sorted(texts)):
        if check := _JSON_CHECK.fullmatch(str(clause)):
            checked.add((table, check.group(1).replace("``", "`")))
    for table, found in columns.items():
        for column in found:
            if (table, column["name"]) in checked:
                column["type"] = mysql.JSON()


def _ask(inspector: Inspector, query: str, schema: str | None, **parameters: list[str]) -> Sequence[Sequence[Any]]:
    """The rows; a parameter is a list for `in`."""
    connection = cast("sa.Connection", inspector.bind)
    bound = {"schema": schema or inspector.default_schema_name, **parameters}
    lists = [cast("sa.BindParameter[Any]", sa.bindparam(name, expanding=True)) for name in parameters]
    return [tuple(row) for row in connection.execute(sa.text(query).bindparams(*lists), bound)]


DIALECT = MariadbDialect()
