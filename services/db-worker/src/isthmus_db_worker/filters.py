"""Filters: from their tree to a SQLAlchemy condition in which every value is bound."""

import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlglot import exp

from isthmus.errors import NotAllowed
from isthmus.messages import Principal
from isthmus_db_worker.filter_syntax import ALLOWED, FilterError, parse
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import BOOLEAN

logger = logging.getLogger("isthmus.db")

LONGEST_LIST = 1000

Condition = ColumnElement[bool]
Find = Callable[[str], Column]
"""A caller's column by name; raises a ToolError for one that is not there or must not be filtered by."""

_COMPARISONS: dict[type[exp.Expr], Callable[[Any, Any], Condition]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
}
_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}


class _Missing(Exception):
    """The user has no such attribute, or one that the column cannot hold."""


class _Attribute(str):
    """A user's attribute, as opposed to what the filter's author wrote."""

    __slots__ = ()


def compile_filter(text: str, find: Find) -> Condition:
    """The condition that a caller's filter stands for. Raises FilterError, and what `find` raises."""
    return _Compiler(find, None).condition(parse(text))


def compile_rows(rows: tuple[str, ...], find: Find, principal: Principal) -> Condition | None:
    """The condition of a grant's row filters, any of which opens a row; None: every row.

    A filter that needs an attribute that the user lacks opens none. Neither does one that does not fit the table; if
    all are like that, NotAllowed says so.
    """
    if not rows:
        return None
    attributes = {**principal.attributes, "id": principal.id}
    conditions: list[Condition] = []
    for text in rows:
        try:
            conditions.append(_Compiler(find, attributes).condition(parse(text, placeholders=True)))
        except _Missing:
            conditions.append(sa.false())
        except FilterError as error:
            logger.warning("a row filter does not fit its table: %s", error.message)
    if not conditions:
        raise NotAllowed("The row filter of your role does not fit this table; tell those who manage the roles.")
    return sa.or_(*conditions)


class _Compiler:
    """One filter; every node that is not named here is refused."""

    def __init__(self, find: Find, attributes: Mapping[str, str] | None) -> None:
        self._find = find
        self._attributes = attributes

    def condition(self, node: exp.Expr) -> Condition:
        """A node that is true or false."""
        match node:
            case exp.And() | exp.Or():
                return self._chain(node)
            case exp.Paren():
                return self.condition(node.this).self_group()
            case exp.Not():
                return sa.not_(self.condition(node.this))
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self._comparison(node)
            case exp.Like() | exp.ILike():
                return self._like(node)
            case exp.In():
                return self._in(node)
            case exp.Between():
                column = self._column(node.this)
                low, high = self._value(column, node.args["low"]), self._value(column, node.args["high"])
                return column.sql.between(low, high)
            case exp.Is():
                return self._is(node)
            case exp.Column():
                column = self._column(node)
                if column.conversion.parse is not BOOLEAN.parse:
                    raise FilterError(f"{column.name} alone is no condition: compare it with something. {ALLOWED}")
                return column.sql == self._bound(column, True)
            case _:
                raise _refused(node)

    def _chain(self, node: exp.Expr) -> Condition:
        """`a and b and c …` hangs to the left, as deep as it is long: taken apart without recursion."""
        kind = type(node)
        parts: list[exp.Expr] = []
        while type(node) is kind:
            parts.append(node.expression)
            node = node.this
        parts.append(node)
        conditions = [self.condition(part) for part in reversed(parts)]
        return sa.and_(*conditions) if kind is exp.And else sa.or_(*conditions)

    def _comparison(self, node: exp.Expr) -> Condition:
        left, right, kind = _bare(node.this), _bare(node.expression), type(node)
        if not isinstance(left, exp.Column):
            left, right, kind = right, left, _MIRRORED.get(kind, kind)
        column = self._column(left)
        if isinstance(right, exp.Column):
            return _COMPARISONS[kind](column.sql, self._column(right).sql)
        return _COMPARISONS[kind](column.sql, self._value(column, right))

    def _like(self, node: exp.Expr) -> Condition:
        column = self._column(node.this)
        pattern = self._literal(column, node.expression)
        if not isinstance(pattern, str):
            raise FilterError(f"like needs a pattern in single quotes, such as {column.name} like 'A%'.")
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            raise FilterError("A pattern must not end with a backslash, which takes the meaning from the next sign.")
        text = sa.bindparam(None, str(pattern), sa.String(), unique=True)
        subject = column.sql if isinstance(column.sql.type, sa.String) else sa.cast(column.sql, sa.String())
        matches = subject.ilike if isinstance(node, exp.ILike) else subject.like
        condition = matches(text, escape="\\")
        return sa.not_(condition) if node.args.get("negate") else condition

    def _in(self, node: exp.Expr) -> Condition:
        column, items = self._column(node.this), cast("list[exp.Expr]", node.expressions)
        if not items:
            raise FilterError(f"in needs a list of values, such as {column.name} in (1, 2).")
        if len(items) > LONGEST_LIST:
            raise FilterError(f"The list of {column.name} has {len(items):,} values; at most {LONGEST_LIST:,} fit.")
        return column.sql.in_([self._value(column, item) for item in items])

    def _is(self, node: exp.Expr) -> Condition:
        column, negate = self._column(node.this, compared=False), bool(node.args.get("negate"))
        match _bare(node.expression):
            case exp.Null():
                return column.sql.is_not(None) if negate else column.sql.is_(None)
            case exp.Boolean(this=bool(wanted)):
                same = sa.and_(column.sql.is_not(None), column.sql == self._bound(column, wanted))
                return sa.not_(same) if negate else same
            case _:
                raise _refused(node)

    def _column(self, node: exp.Expr, *, compared: bool = True) -> Column:
        node = _bare(node)
        if not isinstance(node, exp.Column):
            raise FilterError(f"One side of `{_snippet(node)}` must be a column. {ALLOWED}")
        if node.table:
            raise FilterError(f"`{_snippet(node)}`: columns are named without their table.")
        if not isinstance(node.this, exp.Identifier):
            raise _refused(node)
        column = self._find(node.name)
        if compared and not column.conversion.comparable:
            raise FilterError(f"{column.name} holds {column.type} and can only be compared with is null.")
        return column

    def _value(self, column: Column, node: exp.Expr) -> ColumnElement[Any]:
        return self._bound(column, self._literal(column, node))

    def _literal(self, column: Column, node: exp.Expr) -> object:
        match _bare(node):
            case exp.Literal(this=str(text), args={"is_string": True}):
                return self._attribute(text[6:-1]) if self._is_placeholder(text) else text
            case exp.Literal(this=str(text)):
                return _number(text)
            case exp.Boolean(this=bool(value)):
                return value
            case exp.Null():
                raise FilterError(f"Nothing equals null: write {column.name} is null, or is not null.")
            case exp.Struct(expressions=[exp.Column() as name]) if self._attributes is not None and (
                name.table == "user"
            ):
                return self._attribute(name.name)
            case _:
                raise _refused(node)

    def _is_placeholder(self, text: str) -> bool:
        """`'{user.id}'` in quotes is meant as `{user.id}`: in a row filter nothing else makes sense."""
        if self._attributes is None or "{user." not in text:
            return False
        if not (text.startswith("{user.") and text.endswith("}")):
            raise FilterError("A placeholder must be the whole value.")
        return True

    def _attribute(self, name: str) -> _Attribute:
        if self._attributes is None or name not in self._attributes:
            raise _Missing
        return _Attribute(self._attributes[name])

    def _bound(self, column: Column, value: object) -> ColumnElement[Any]:
        try:
            return column.bind(column.conversion.parse(str(value) if isinstance(value, _Attribute) else value))
        except (ValueError, OverflowError):
            if isinstance(value, _Attribute):
                raise _Missing from None
            if isinstance(column.sql.type, sa.Integer) and isinstance(value, Decimal):
                return sa.bindparam(None, float(value), sa.Float(), unique=True)
            raise FilterError(f"{column.name} is compared with {column.conversion.noun}.") from None


def _number(text: str) -> int | Decimal:
    try:
        return int(text) if text.lstrip("-").isdigit() else Decimal(text)
    except (ArithmeticError, ValueError):
        raise FilterError(f"{text[:40]} is not a number.") from None


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _refused(node: exp.Expr) -> FilterError:
    return FilterError(f"`{_snippet(node)}` is not allowed in a filter. {ALLOWED}")


def _snippet(node: exp.Expr) -> str:
    return node.sql()[:60]
