"""Filter texts of every kind: a condition with bound values, or the filter's own error."""

import os
from collections.abc import Callable
from typing import Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import mssql, mysql, oracle
from sqlalchemy.dialects.postgresql import array as postgresql_array
from sqlalchemy.dialects.postgresql import dialect as postgresql_sql
from sqlalchemy.dialects.sqlite import dialect as sqlite_sql
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    Cast,
    ClauseElement,
    ClauseList,
    ExpressionClauseList,
    False_,
    Grouping,
    Null,
    True_,
    UnaryExpression,
)
from sqlalchemy.sql.functions import FunctionElement

from isthmus.messages import Principal
from isthmus_db_worker.dialects import Dialect, mariadb, postgresql, sqlite
from isthmus_db_worker.filter_syntax import FilterError, read
from isthmus_db_worker.filters import Condition, compile_filter, compile_rows
from isthmus_db_worker.parameters import Inputs, Parameters
from isthmus_db_worker.tables import Column
from isthmus_db_worker.views import own_columns

EXAMPLES = int(os.environ.get("ISTHMUS_FUZZ", "5000")) // 3
"""For each engine."""
SQL: dict[str, sa.Dialect] = {
    "sqlite": sqlite_sql(),
    "postgresql": postgresql_sql(),
    "mariadb": mysql.dialect(),
    "mssql": mssql.dialect(),
    "oracle": oracle.dialect(),
}

KINDS: dict[str, sa.types.TypeEngine[Any]] = {
    "id": sa.Integer(),
    "name": sa.String(),
    "total": sa.Numeric(10, 2),
    "ratio": sa.Float(),
    "due": sa.Date(),
    "at": sa.DateTime(),
    "paid": sa.Boolean(),
    "data": sa.JSON(),
    "order": sa.Integer(),
    "select": sa.String(),
}
ALLOWED = (
    BinaryExpression, BindParameter, BooleanClauseList, Cast, ClauseList, ExpressionClauseList, False_, Grouping, Null,
    True_, UnaryExpression, sa.Column, sa.TypeClause, FunctionElement, sa.Case, sa.TypeCoerce, postgresql_array,
    mysql.match,
)  # fmt: skip
FUNCTIONS = {
    "json_extract", "json_type", "json_unquote", "jsonb_typeof", "to_tsvector", "websearch_to_tsquery", "lower",
}  # fmt: skip
WRITTEN = {"#>>", "#>", "@@", "MATCH"}
OPERATORS = {
    operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge, operators.in_op,
    operators.not_in_op, operators.between_op, operators.not_between_op, operators.like_op, operators.not_like_op,
    operators.ilike_op, operators.not_ilike_op, operators.is_, operators.is_not, operators.and_, operators.or_,
}  # fmt: skip


DIALECTS: dict[str, Dialect] = {
    "sqlite": sqlite.DIALECT,
    "postgresql": postgresql.DIALECT,
    "mariadb": mariadb.DIALECT,
    "mssql": Dialect(),
    "oracle": Dialect(),
}


def columns(dialect: Dialect) -> Callable[[str], Column]:
    """The columns of one table in that engine."""
    table = sa.Table("things", sa.MetaData(), *(sa.Column(n, dialect.column_type(kind)) for n, kind in KINDS.items()))

    def find(name: str) -> Column:
        if name not in KINDS:
            raise FilterError(f"There is no column {name[:64]}.")
        kind = KINDS[name]
        return Column(name, str(kind), True, None, "", "", dialect.conversion(kind), table.c[name])

    return find


def compiled(text: str, engine: str = "sqlite") -> Condition:
    """The condition of a caller's filter on the columns of one table."""
    filter_, dialect = read(text), DIALECTS[engine]
    parameters = Parameters(Inputs(filter_.literals, {"id": "u_1"}))
    return compile_filter(filter_, own_columns(columns(dialect), dialect), dialect, parameters)


def opened(rows: tuple[str, ...], principal: Principal) -> Condition | None:
    """The condition of row filters."""
    return compile_rows(rows, own_columns(columns(sqlite.DIALECT), sqlite.DIALECT), sqlite.DIALECT, principal)


def check(condition: ClauseElement, engine: str) -> None:
    """Nothing but what filters are made of, every value bound, and the engine's dialect can write it."""
    for element in sa.sql.visitors.iterate(condition):
        assert isinstance(element, ALLOWED), type(element)
        if isinstance(element, FunctionElement):
            assert str(cast("Any", element).name) in FUNCTIONS
        elif isinstance(element, BinaryExpression):
            written = getattr(element.operator, "opstring", "")
            assert element.operator in OPERATORS or written in WRITTEN, element.operator
    condition.compile(dialect=SQL[engine])


WORDS = [
    "id", "name", "total", "paid", "due", "data", "order", "select", '"id"', "things", "and", "or", "not", "in", "like",
    "ilike", "between", "is", "null", "true", "false", "=", "<>", "!=", "<", "<=", ">", ">=", "(", ")", ",", ".", "-",
    "+", "*", "/", "||", "::", ";", "--", "/*", "*/", "'", '"', "`", "[", "]", "{", "}", "{user.id}", "@x", ":x", "?",
    "$1", "%s", "1", "2.5", "1e400", "-7", "9" * 30, "'a'", "'it''s'", "'2024-01-01'", "''", "x'00'", "E'\\n'", "0x1F",
    "from", "where", "union", "exists", "cast", "case", "when", "then", "end", "as", "any", "all", "interval", "date",
    "contains", "starts with", "ends with", "matches", "now()", "current_timestamp - interval '3 days'", "data.a.0.b",
    "data->'a'->>'b'", "things.id", "->", "->>", "interval '1 month'", "{user.team}", "{", "'{user.id}'",
    "escape", "distinct", "over", "lower(", "current_date", "pg_sleep(1)", "collate", "at time zone", "within", "\n",
]  # fmt: skip


@pytest.mark.parametrize("engine", DIALECTS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), st.text(max_size=60)))
@example("id = " + "9" * 5000)
@example("(" * 8000)
@example("not " * 2000 + "paid")
@example("id = 1" + " and id = 1" * 400)
@example("id is null" + " is null" * 800)
@example("id" + " = 1" * 1500)
@example("id in (" * 40 + "1" + ")" * 40)
@example("total = 1e999999999")
@example("id = 1e999999999 and ratio = -1e999999999")
@example("name = '\x00'")
@example("name = '\ud800'")
def test_any_text_is_a_harmless_condition_or_a_filter_error(engine: str, text: str) -> None:
    try:
        condition = compiled(text, engine)
    except FilterError as error:
        message = error.message
    else:
        message = ""
        check(condition, engine)
    assert len(message) < 500


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=10).map(" ".join), st.text(max_size=20))
def test_any_row_filter_is_a_harmless_condition_whatever_the_attributes(text: str, attribute: str) -> None:
    principal = Principal(attribute, "client", "default", {"team": attribute})
    condition = opened((text, "name = {user.id} or name = {user.team}"), principal)
    assert condition is not None
    check(condition, "sqlite")


def test_what_a_user_is_called_is_never_read_as_syntax() -> None:
    principal = Principal("u' or 1 = 1 --", "client", "default")
    condition = opened(("name = {user.id}",), principal)
    assert condition is not None
    written = condition.compile(dialect=SQL["sqlite"])
    assert str(written) == "things.name = ?"
    assert list(written.params.values()) == ["u' or 1 = 1 --"]


def test_a_missing_attribute_makes_the_whole_filter_false() -> None:
    for text in ("name = {user.team}", "not name = {user.team}", "id > 0 or name = {user.team}"):
        condition = opened((text,), Principal("u", "client", "default"))
        assert condition is not None
        assert str(condition.compile(dialect=SQL["postgresql"])) == "false"


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("id = 1", "things.id = ?"),
        ("id = 1 and (name = 'a' or not paid)", "things.id = ? AND (things.name = ? OR things.paid != ?)"),
        ("not (id = 1 or id = 2)", "NOT (things.id = ? OR things.id = ?)"),
        ("id = 1 or id = 2 and id = 3", "things.id = ? OR things.id = ? AND things.id = ?"),
        ("name like 'a%'", "things.name LIKE ? ESCAPE '\\'"),
        ("order = 1 and select = 'x'", 'things."order" = ? AND things."select" = ?'),
        ("data is null", "things.data IS NULL"),
        ("5 > id", "things.id < ?"),
    ],
)
def test_precedence_is_that_of_sql_and_values_are_bound(text: str, sql: str) -> None:
    assert str(compiled(text).compile(dialect=SQL["sqlite"])) == sql
