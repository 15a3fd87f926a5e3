"""Filter texts of every kind: a condition with bound values, or the filter's own error."""

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite
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

from isthmus.errors import NotFound
from isthmus.messages import Principal
from isthmus_db_worker.filter_syntax import FilterError
from isthmus_db_worker.filters import compile_filter, compile_rows
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import CONVERSIONS, conversion_for

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
TABLE = sa.Table("things", sa.MetaData(), *(sa.Column(name, kind) for name, kind in KINDS.items()))
COLUMNS = {
    name: Column(name, str(kind), True, None, "", "", conversion_for(kind, CONVERSIONS), TABLE.c[name])
    for name, kind in KINDS.items()
}
ALLOWED = (
    BinaryExpression, BindParameter, BooleanClauseList, Cast, ClauseList, ExpressionClauseList, False_, Grouping, Null,
    True_, UnaryExpression, sa.Column, sa.TypeClause,
)  # fmt: skip
OPERATORS = {
    operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge, operators.in_op,
    operators.not_in_op, operators.between_op, operators.not_between_op, operators.like_op, operators.not_like_op,
    operators.ilike_op, operators.not_ilike_op, operators.is_, operators.is_not, operators.and_, operators.or_,
}  # fmt: skip


def find(name: str) -> Column:
    try:
        return COLUMNS[name]
    except KeyError:
        raise NotFound(f"There is no column {name[:64]}.") from None


def find_for_grants(name: str) -> Column:
    try:
        return COLUMNS[name]
    except KeyError:
        raise FilterError(f"There is no column {name}.") from None


def check(condition: ClauseElement) -> None:
    """Nothing but what filters are made of, and every value bound."""
    for element in sa.sql.visitors.iterate(condition):
        assert isinstance(element, ALLOWED), type(element)
        if isinstance(element, BinaryExpression):
            assert element.operator in OPERATORS
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        condition.compile(dialect=dialect)


WORDS = [
    "id", "name", "total", "paid", "due", "data", "order", "select", '"id"', "things", "and", "or", "not", "in", "like",
    "ilike", "between", "is", "null", "true", "false", "=", "<>", "!=", "<", "<=", ">", ">=", "(", ")", ",", ".", "-",
    "+", "*", "/", "||", "::", ";", "--", "/*", "*/", "'", '"', "`", "[", "]", "{", "}", "{user.id}", "@x", ":x", "?",
    "$1", "%s", "1", "2.5", "1e400", "-7", "9" * 30, "'a'", "'it''s'", "'2024-01-01'", "''", "x'00'", "E'\\n'", "0x1F",
    "from", "where", "union", "exists", "cast", "case", "when", "then", "end", "as", "any", "all", "interval", "date",
    "escape", "distinct", "over", "lower(", "current_date", "pg_sleep(1)", "collate", "at time zone", "within", "\n",
]  # fmt: skip


@settings(max_examples=600, deadline=None)
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
def test_any_text_is_a_harmless_condition_or_a_filter_error(text: str) -> None:
    try:
        condition = compile_filter(text, find)
    except (FilterError, NotFound) as error:
        message = error.message
    else:
        message = ""
        check(condition)
    assert len(message) < 500


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=10).map(" ".join), st.text(max_size=20))
def test_any_row_filter_is_a_harmless_condition_whatever_the_attributes(text: str, attribute: str) -> None:
    principal = Principal(attribute, "client", "default", {"team": attribute})
    condition = compile_rows((text, "name = {user.id} or name = {user.team}"), find_for_grants, principal)
    assert condition is not None
    check(condition)


def test_what_a_user_is_called_is_never_read_as_syntax() -> None:
    principal = Principal("u' or 1 = 1 --", "client", "default")
    condition = compile_rows(("name = {user.id}",), find, principal)
    assert condition is not None
    compiled = condition.compile(dialect=sqlite.dialect())
    assert str(compiled) == "things.name = ?"
    assert list(compiled.params.values()) == ["u' or 1 = 1 --"]


def test_a_missing_attribute_makes_the_whole_filter_false() -> None:
    for text in ("name = {user.team}", "not name = {user.team}", "id > 0 or name = {user.team}"):
        condition = compile_rows((text,), find, Principal("u", "client", "default"))
        assert condition is not None
        assert str(condition.compile(dialect=postgresql.dialect())) == "false"


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
    assert str(compile_filter(text, find).compile(dialect=sqlite.dialect())) == sql
