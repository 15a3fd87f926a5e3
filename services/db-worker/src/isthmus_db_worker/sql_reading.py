"""SQL that callers write: one query, read by sqlglot, in which every table is replaced by what the caller sees of it.

What runs is written anew from the tree that was checked, so nothing runs that was not understood. A table becomes a
subquery of the caller's columns and rows, with a constant where values are masked: nothing else of it exists for the
query, wherever it is used. Names of WITH become names of our own, so that none of them can stand for a table.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa
import sqlglot
from sqlalchemy.engine import URL
from sqlalchemy.sql import visitors
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from isthmus.errors import InvalidArguments, near
from isthmus_db_worker.sql_rules import FUNCTIONS, MADE, NAMES, PARTS, QUERY, TABLES
from isthmus_db_worker.values import MASK
from isthmus_db_worker.views import View

LONGEST = 20_000
"""Characters."""
DEEPEST = 100
"""Nodes within each other."""

DIALECTS = {"postgresql": "postgres", "mariadb": "mysql", "mysql": "mysql", "sqlite": "sqlite", "mssql": "tsql"}
"""What sqlglot calls them, where that is another word."""

_WORD = re.compile(r"\w+")
_ODD = re.compile(r"[\\\"'`\x00-\x1f\x7f]")

ONE_QUERY = "Write one query that begins with SELECT or WITH."


@dataclass(frozen=True)
class Sql:
    """A query as it was read."""

    tree: exp.Query
    dialect: str
    """sqlglot's name for it."""
    free: bool = False
    """Whether it is from the configuration, so that only its values are the caller's."""

    def placeholders(self) -> set[str]:
        """The names of its parameters."""
        return {str(node.this) for node in self.tree.find_all(exp.Placeholder) if node.this}


def read_sql(text: str, url: URL, *, free: bool = False) -> Sql:
    """The query in the dialect of the database. `free` is for those who configure it: any function will do.

    Raises InvalidArguments with the place, or with what is not allowed.
    """
    engine = url.get_backend_name()
    dialect = DIALECTS.get(engine, engine)
    if len(text) > LONGEST:
        raise InvalidArguments(f"The query has {len(text):,} characters; at most {LONGEST:,} are allowed.")
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except SqlglotError as error:
        raise InvalidArguments(_sentence(error)) from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):  # sqlglot is not made for any text
        raise InvalidArguments(f"The query cannot be read. {ONE_QUERY}") from None
    if len(trees) != 1 or not isinstance(tree := trees[0], exp.Query):
        raise InvalidArguments(ONE_QUERY)
    if isinstance(tree, exp.Subquery):
        tree = tree.unnest()
    for fetch in list(tree.find_all(exp.Fetch)):
        if any((fetch.args.get("limit_options") or fetch).args.get(name) for name in ("percent", "with_ties")):
            raise InvalidArguments("FETCH with PERCENT or WITH TIES is not allowed; use LIMIT.")
        fetch.replace(exp.Limit(expression=fetch.args.get("count") or exp.Literal.number(1)))
    _check(tree, free=free)
    return Sql(cast("exp.Query", tree), dialect, free)


def write_sql(
    sql: Sql, view: Callable[[str], View], parameters: Mapping[str, object], dialect: sa.Dialect, limit: int
) -> sa.TextClause:
    """The query with views of tables in place of their names, one row more than so many, and its parameters bound.

    `view` finds a table by the name that the query has for it; it raises what the caller is told.
    """
    prefix = f"b{secrets.token_hex(4)}_"
    tree = sql.tree.copy()
    bound: dict[str, sa.BindParameter[Any]] = {}
    marks: dict[str, str] = {}

    def bind(value: object, kind: sa.types.TypeEngine[Any] | None = None) -> str:
        name = f"{prefix}{len(bound)}"
        bound[name] = sa.bindparam(name, value, kind)
        return name

    def mark(text: str) -> exp.Expr:
        """Stands for text that sqlglot must not touch."""
        name = f"{prefix}m{len(marks)}_"
        marks[name] = text
        return exp.to_identifier(name)

    seen: list[View] = []

    def table(name: str) -> exp.Expr:
        seen.append(view(name))
        return mark(f"({_seen(seen[-1], dialect, bind, fence=not sql.free)})")

    _limit(tree, limit, parameters)
    resolver = _Resolver(sql.dialect, prefix, table)
    resolver.visit(tree, {})
    if not sql.free:
        resolver.check_columns(seen)
    for node in list(tree.find_all(exp.Placeholder)):
        name = str(node.this or "")
        if name not in parameters:
            raise InvalidArguments(f"The parameter :{name[:60]} has no value; give it in parameters.")
        node.replace(exp.Var(this=mark(f":{bind(*_bound(parameters[name], sql.dialect))}").name))
    try:
        text = _escaped(tree.sql(dialect=sql.dialect, comments=False, unsupported_level=ErrorLevel.RAISE))
    except UnsupportedError:
        raise InvalidArguments("The database has no such syntax; write the query in its own SQL.") from None
    for name, marked in marks.items():
        text = text.replace(name, marked)
    return sa.text(text).bindparams(*bound.values())


class _Resolver:
    """Finds the tables of a query: names that no WITH around them has."""

    def __init__(self, dialect: str, prefix: str, table: Callable[[str], exp.Expr]) -> None:
        self._dialect = dialect
        self._prefix = prefix
        self._table = table
        self._named = 0
        self._given: set[str] = set()
        self._used: dict[str, str] = {}

    def check_columns(self, views: Iterable[View]) -> None:
        """Every name of a column is one of these tables' or one that the query gives: engines take others for words of
        theirs, such as `user`, and `t.to_json` for a function. Raises InvalidArguments with the nearest."""
        columns = {column for view in views for column in view.columns}
        known = {name.lower() for name in (*columns, *self._given)}
        for name in self._used.values():
            if name.lower() not in known:
                raise InvalidArguments(
                    f"The query names a column that is not there: {name[:64]}.{near(name, columns or self._given)}"
                )

    def visit(self, node: exp.Expr, known: Mapping[str, str]) -> None:
        """Replaces tables below the node; `known` are the names of WITH around it, and ours for them."""
        if (around := node.args.get("with_")) is not None:
            known = self._with(around, known)
        if isinstance(node, exp.Table):
            self._replace(node, known)
        for child in list(node.iter_expressions()):
            if not isinstance(child, exp.With):
                self.visit(child, known)
        match node:
            case exp.Column():
                self._column(node)
            case exp.RegexpLike() if self._dialect == "mysql":  # which is for MySQL alone; this is for MariaDB, too
                place = exp.Anonymous(this="REGEXP_INSTR", expressions=[node.this, node.expression])
                node.replace(exp.paren(exp.GT(this=place, expression=exp.Literal.number(0))))
            case exp.Alias():
                self._given.add(node.alias)
            case exp.TableAlias():
                self._given |= {each.name for each in (node.this, *node.columns) if each is not None}
            case _:
                pass

    def _column(self, node: exp.Column) -> None:
        node.set("db", None)
        node.set("catalog", None)
        name = node.this
        if not isinstance(name, exp.Identifier):
            return
        self._used.setdefault(name.name, name.name)
        if self._dialect == "postgres" and not name.quoted:  # else it takes `user` for a function
            node.set("this", exp.to_identifier(self._folded(name), quoted=True))
        elif self._dialect == "sqlite" and name.quoted and "`" not in name.name and '"' not in name.name:
            node.set("this", exp.Var(this=f"`{name.name}`"))  # else it takes "…" for a text where no column has it

    def _with(self, around: exp.Expr, known: Mapping[str, str]) -> Mapping[str, str]:
        ours = dict(known)
        for cte in cast("list[exp.CTE]", around.expressions):
            self._named += 1
            name = f"{self._prefix}w{self._named}"
            if around.args.get("recursive"):
                ours[self._folded(cte.args["alias"].this)] = name
            self.visit(cte.this, dict(ours))
            ours[self._folded(cte.args["alias"].this)] = name
            self._given |= {each.name for each in cte.args["alias"].columns}
            cte.args["alias"].set("this", exp.to_identifier(name))
        return ours

    def _replace(self, node: exp.Table, known: Mapping[str, str]) -> None:
        if isinstance(node.this, exp.Func):
            self._given |= {*MADE, _called(node.this)}
            return
        alias = node.args.get("alias")
        if alias is None or not alias.this:
            alias = exp.TableAlias(this=node.this.copy())
        own = known.get(self._folded(node.this)) if not node.args.get("db") else None
        place = exp.to_identifier(own) if own is not None else self._table(self._name(node))
        node.set("this", place)
        node.set("db", None)
        node.set("catalog", None)
        node.set("alias", alias)

    def _name(self, node: exp.Table) -> str:
        if node.args.get("catalog"):
            raise InvalidArguments("Tables of other databases cannot be reached; write schema.table.")
        parts = [part for part in (node.args.get("db"), node.this) if part is not None]
        return ".".join(part.name for part in parts)

    def _folded(self, identifier: exp.Identifier) -> str:
        return normalize_identifiers(identifier.copy(), dialect=self._dialect).name


def _check(tree: exp.Expr, *, free: bool) -> None:
    for node in tree.walk():
        if node.depth > DEEPEST:
            raise InvalidArguments(f"The query is nested more than {DEEPEST} deep.")
        if isinstance(node, exp.Table):
            _check_table(node, free=free)
        elif isinstance(node, exp.In) and node.args.get("field") is not None:  # a whole table, for SQLite
            raise InvalidArguments("IN takes a list or a SELECT, in parentheses.")
        elif isinstance(node, exp.Into | exp.Lock | exp.Insert | exp.Update | exp.Delete | exp.Merge | exp.Command):
            raise InvalidArguments("A query only reads: INTO, FOR UPDATE and writing statements are not allowed.")
        if not free:
            _check_node(node)


def _check_table(node: exp.Table, *, free: bool) -> None:
    more = [
        name for name, value in node.args.items() if value and name not in ("this", "db", "catalog", "alias", "joins")
    ]
    if more or not isinstance(node.this, exp.Identifier | exp.Func):
        raise InvalidArguments(f"`{node.sql()[:60]}` is not allowed; name the table, and an alias if you need one.")
    if isinstance(node.this, exp.Func) and not free and _called(node.this) not in TABLES:
        raise InvalidArguments(f"{_called(node.this)}(…) is not allowed as a table.")


def _check_node(node: exp.Expr) -> None:
    key = node.key
    if isinstance(node, exp.Anonymous):
        if isinstance(node.parent, exp.Table) or _called(node) in NAMES:
            return
        raise InvalidArguments(f"The function {_called(node)[:60]} is not allowed.")
    if isinstance(node, exp.DataType) and node.this == exp.DType.USERDEFINED:
        raise InvalidArguments(f"The type {node.sql()[:60]} is not allowed.")
    if isinstance(node, exp.Select) and any(node.args.get(name) for name in ("operation_modifiers", "hint", "kind")):
        raise InvalidArguments("Hints to the engine are not allowed.")
    if extra := [name for name, value in node.args.items() if value and name not in PARTS.get(key, (name,))]:
        raise InvalidArguments(f"{extra[0].strip('_').upper()} is not allowed in {key.upper()}.")
    if isinstance(node, exp.Var) and not _WORD.fullmatch(node.name):
        raise InvalidArguments(f"`{node.name[:60]}` is not allowed in a query.")
    if isinstance(node, exp.Identifier | exp.JSONPathKey) and _ODD.search(str(node.this)):
        raise InvalidArguments("Names with a backslash, a quote of their own or a control character are not allowed.")
    if key in QUERY or key in FUNCTIONS or (isinstance(node.parent, exp.Table) and isinstance(node, exp.Func)):
        return
    what = f"The function {_called(node)}" if isinstance(node, exp.Func) else f"`{node.sql()[:60]}`"
    raise InvalidArguments(f"{what} is not allowed in a query.")


def _called(node: exp.Expr) -> str:
    name = node.name if isinstance(node, exp.Anonymous) else cast("exp.Func", node).sql_name()
    return name.lower().removeprefix("exploding_")


def _limit(tree: exp.Query, limit: int, parameters: Mapping[str, object]) -> None:
    """One row more than will be shown, unless the query itself wants fewer."""
    given = tree.args.get("limit")
    if given is not None:
        wanted = given.expression if isinstance(given, exp.Limit) else None
        number = parameters.get(str(wanted.this)) if isinstance(wanted, exp.Placeholder) else None
        if isinstance(wanted, exp.Literal) and str(wanted.this).isdecimal():
            number = int(wanted.this)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise InvalidArguments("LIMIT takes a number here, or a parameter that is one.")
        limit = min(limit, number - 1)
    tree.limit(limit + 1, copy=False)


def _bound(value: object, dialect: str) -> tuple[object, sa.types.TypeEngine[Any] | None]:
    """What is bound for a parameter: text has no type, so that it can stand for what it is compared with."""
    if isinstance(value, datetime) and dialect != "postgres":
        value = (value.astimezone(UTC) if value.tzinfo else value).replace(tzinfo=None)
    if dialect == "sqlite":  # it has neither dates nor decimals
        if isinstance(value, date):
            value = value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
        elif isinstance(value, Decimal):
            value = int(value) if value == value.to_integral_value() and abs(value) < 2**63 else float(value)
    return value, sa.types.NullType() if isinstance(value, str) else None


def _seen(
    view: View, dialect: sa.Dialect, bind: Callable[[object, sa.types.TypeEngine[Any]], str], *, fence: bool
) -> str:
    """What the caller sees of a table, as SQL in which parameters have our names.

    Behind a fence the engine evaluates nothing of the query on rows that are out of reach: an error would tell of them.
    """
    table, ours = view.table.sql, list[str]()
    masked = sa.literal_column(f"'{MASK}'", sa.String())
    columns = [masked.label(name) if name in view.masked else table.c[name] for name in view.columns]
    columns = columns or [sa.null().label("no_column")]
    rows = [condition for condition in (view.reach, view.reading) if condition is not None]

    def named(element: Any, **options: object) -> Any:
        del options
        if not isinstance(element, sa.BindParameter):
            return None
        parameter = cast("sa.BindParameter[Any]", element)
        ours.append(bind(parameter.value, parameter.type))
        return sa.bindparam(ours[-1], parameter.value, parameter.type)

    conditions = [visitors.replacement_traverse(row, {}, named) for row in dict.fromkeys(rows)]
    select = sa.select(*columns).select_from(table).where(*conditions)
    if fence and conditions:
        select = select.offset(sa.literal_column("0"))
        if dialect.name == "sqlite":  # where no limit would be a parameter
            select = select.limit(sa.literal_column("-1"))
    return _escaped(str(select.compile(dialect=dialect)), *ours)


def _escaped(text: str, *kept: str) -> str:
    """With a backslash before each colon that begins no parameter of ours, for SQLAlchemy to take it as it is."""
    return re.sub(rf":(?!(?:{'|'.join(kept)})\b)" if kept else ":", r"\:", text)


def _sentence(error: SqlglotError) -> str:
    found: list[dict[str, object]] = getattr(error, "errors", [])
    if not found:
        return f"The query cannot be read. {ONE_QUERY}"
    near = "".join(str(found[0].get(part) or "") for part in ("start_context", "highlight", "end_context"))
    return (
        f"The query cannot be read at line {found[0].get('line')}, column {found[0].get('col')}, near "
        f"`{near[-60:].strip()}`."
    )
