"""Filters: from their tree to a SQLAlchemy condition in which every value is a parameter."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlglot import exp

from isthmus.errors import NotAllowed
from isthmus.messages import Principal
from isthmus_db_worker.dialects import Dialect
from isthmus_db_worker.filter_syntax import ALLOWED, Attribute, Filter, FilterError, Literal, Moment, Operand, read
from isthmus_db_worker.parameters import Inputs, Parameters
from isthmus_db_worker.tables import Column
from isthmus_db_worker.values import BOOLEAN

logger = logging.getLogger("isthmus.db")

LONGEST_LIST = 1000
LONGEST_PATTERN = 1000
"""Characters."""
WILDCARDS = 50
"""Signs in a pattern that stand for any others."""

Condition = ColumnElement[bool]
Find = Callable[[Operand, Callable[[Column], Condition]], Condition]
"""The condition that a function makes of the caller's column; where its name leads to several rows, that one of them
meets it. Raises a ToolError for a column that is not there or must not be filtered by."""

_COMPARISONS: dict[type[exp.Expr], Callable[[Any, Any], Condition]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
}
_MIRRORED: dict[type[exp.Expr], type[exp.Expr]] = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}


class _Missing(FilterError):
    """The user has no such attribute, or one that the column cannot hold."""


def attributes_of(principal: Principal) -> dict[str, str]:
    """What placeholders stand for."""
    return {**principal.attributes, "id": principal.id}


def compile_filter(given: Filter, find: Find, dialect: Dialect, parameters: Parameters) -> Condition:
    """The condition that a caller's filter stands for. Raises FilterError, and what `find` raises."""
    try:
        return _Compiler(given, find, dialect, parameters).condition(given.tree())
    except RecursionError:
        raise FilterError(f"The filter is nested too deep. {ALLOWED}") from None


def compile_rows(rows: tuple[str, ...], find: Find, dialect: Dialect, principal: Principal) -> Condition | None:
    """The condition of a grant's row filters, any of which opens a row; None: every row.

    A filter that needs an attribute that the user lacks opens none. Neither does one that does not fit the table; if
    all are like that, NotAllowed says so.
    """
    if not rows:
        return None
    attributes = attributes_of(principal)
    conditions: list[Condition] = []
    for text in rows:
        try:
            given = _read_rows(text)
            parameters = Parameters(Inputs(given.literals, attributes))
            conditions.append(compile_filter(given, find, dialect, parameters))
        except _Missing:
            conditions.append(sa.false())
        except FilterError as error:
            logger.warning("a row filter does not fit its table: %s", error.message)
    if not conditions:
        raise NotAllowed("The row filter of your role does not fit this table; tell those who manage the roles.")
    return sa.or_(*conditions)


def _read_rows(text: str) -> Filter:
    """A row filter, in which a placeholder within a text can only be a mistake."""
    given = read(text)
    if any(isinstance(literal.value, str) and "{user." in literal.value for literal in given.literals):
        raise FilterError("A placeholder must be the whole value.")
    return given


class _Compiler:
    """One filter; every node that is not named here is refused."""

    def __init__(self, given: Filter, find: Find, dialect: Dialect, parameters: Parameters) -> None:
        self._given = given
        self._find = find
        self._dialect = dialect
        self._parameters = parameters

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
                return self._on(node.this, lambda column: self._like(column, node))
            case exp.In():
                return self._on(node.this, lambda column: self._in(column, node))
            case exp.Between():
                return self._on(node.this, lambda column: self._between(column, node))
            case exp.Is():
                return self._on(node.this, lambda column: self._is(column, node), compared=False)
            case exp.Column():
                return self._on(node, self._alone)
            case _:
                raise self._refused(node)

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
        if isinstance(right, exp.Column):
            return self._on(left, lambda a: self._on(right, lambda b: _COMPARISONS[kind](a.sql, b.sql)))

        def compared(column: Column) -> Condition:
            column = self._as_compared(column, [right])
            return _COMPARISONS[kind](column.sql, self._value(column, right))

        return self._on(left, compared)

    def _between(self, column: Column, node: exp.Expr) -> Condition:
        low, high = cast("exp.Expr", node.args["low"]), cast("exp.Expr", node.args["high"])
        column = self._as_compared(column, [low, high])
        return column.sql.between(self._value(column, low), self._value(column, high))

    def _like(self, column: Column, node: exp.Expr) -> Condition:
        literal, place = self._literal(column, node.expression)
        if not isinstance(literal.value, str | Attribute):
            raise FilterError(f"like needs a pattern in single quotes, such as {column.name} like 'A%'.")
        pattern = self._parameters.add(sa.String(), lambda inputs: _pattern(inputs, place))
        if literal.meaning == "matches":
            condition = self._dialect.search(column.sql, pattern)
            if condition is None:
                raise FilterError("This engine has no full-text search here; use contains instead of matches.")
        else:
            text = column.sql if isinstance(column.sql.type, sa.String) else sa.cast(column.sql, sa.String())
            loose = isinstance(node, exp.ILike) or literal.meaning != ""
            condition = text.ilike(pattern, escape="\\") if loose else text.like(pattern, escape="\\")
        return sa.not_(condition) if node.args.get("negate") else condition

    def _in(self, column: Column, node: exp.Expr) -> Condition:
        items = cast("list[exp.Expr]", node.expressions)
        if not items:
            raise FilterError(f"in needs a list of values, such as {column.name} in (1, 2).")
        if len(items) > LONGEST_LIST:
            raise FilterError(f"The list of {column.name} has {len(items):,} values; at most {LONGEST_LIST:,} fit.")
        column = self._as_compared(column, items)
        return column.sql.in_([self._value(column, item) for item in items])

    def _is(self, column: Column, node: exp.Expr) -> Condition:
        negate = bool(node.args.get("negate"))
        match _bare(node.expression):
            case exp.Null():
                return column.sql.is_not(None) if negate else column.sql.is_(None)
            case exp.Boolean(this=bool(wanted)):
                same = sa.and_(column.sql.is_not(None), column.sql == self._constant(column, wanted))
                return sa.not_(same) if negate else same
            case _:
                raise self._refused(node)

    def _alone(self, column: Column) -> Condition:
        if column.conversion.parse is not BOOLEAN.parse:
            raise FilterError(f"{column.name} alone is no condition: compare it with something. {ALLOWED}")
        return column.sql == self._constant(column, True)

    def _on(self, node: exp.Expr, build: Callable[[Column], Condition], *, compared: bool = True) -> Condition:
        node = _bare(node)
        if (operand := self._given.operand(node)) is None:
            raise FilterError(f"One side of `{self._given.snippet(node)}` must be a column. {ALLOWED}")

        def checked(column: Column) -> Condition:
            if compared and not column.conversion.comparable:
                raise FilterError(f"{column.name} holds {column.type} and can only be compared with is null.")
            return build(column)

        return self._find(operand, checked)

    def _as_compared(self, column: Column, nodes: list[exp.Expr]) -> Column:
        """What a JSON path leads to is a number where it is compared with numbers."""
        bare = [_bare(node) for node in nodes]
        if column.number is None or any(isinstance(node, exp.Boolean | exp.Null) for node in bare):
            return column
        values = [self._literal(column, node)[0].value for node in bare]
        if any(isinstance(value, str | Attribute | Moment) for value in values):
            return column
        return replace(column, sql=column.number, conversion=self._dialect.conversion(sa.Numeric()), number=None)

    def _value(self, column: Column, node: exp.Expr) -> ColumnElement[Any]:
        """A value as a parameter; one that is not exact in the column's type may still be compared with it."""
        if isinstance(bare := _bare(node), exp.Boolean):
            return self._constant(column, bare.this)
        literal, place = self._literal(column, node)
        if literal.meaning:
            raise self._refused(node)
        number = not isinstance(literal.value, str | Attribute | Moment)
        if number and isinstance(column.sql.type, sa.Integer) and not _fits(column, literal.value):
            return self._parameters.add(sa.Float(), lambda inputs: float(str(inputs.literals[place].value)))

        def pick(inputs: Inputs) -> object:
            try:
                return _parse(column, inputs.literals[place], inputs.attributes)
            except (ValueError, ArithmeticError):
                raise _misfit(column) from None

        return column.parameter(self._parameters, pick)

    def _constant(self, column: Column, value: object) -> ColumnElement[Any]:
        """What belongs to the filter's shape."""
        try:
            return column.bind(column.conversion.parse(value))
        except (ValueError, ArithmeticError):
            raise _misfit(column) from None

    def _literal(self, column: Column, node: exp.Expr) -> tuple[Literal, int]:
        """The literal and its place."""
        match _bare(node):
            case exp.Literal(this=str(text)):
                return self._given.literals[int(text)], int(text)
            case exp.Null():
                raise FilterError(f"Nothing equals null: write {column.name} is null, or is not null.")
            case _:
                raise self._refused(node)

    def _refused(self, node: exp.Expr) -> FilterError:
        return FilterError(f"`{self._given.snippet(node)}` is not allowed in a filter. {ALLOWED}")


def _fits(column: Column, value: object) -> bool:
    try:
        column.conversion.parse(value)
    except (ValueError, ArithmeticError):
        return False
    return True


def _parse(column: Column, literal: Literal, attributes: Mapping[str, str]) -> object:
    """What is bound. Raises ValueError when it does not fit the column, _Missing for an attribute that is not there."""
    match literal.value:
        case Attribute(name=name):
            if name not in attributes:
                raise _Missing(f"You have no attribute {name}, which the filter names.")
            try:
                return column.conversion.parse(attributes[name])
            except (ValueError, ArithmeticError):
                raise _Missing(f"Your attribute {name} does not fit {column.name}.") from None
        case Moment() as moment:
            try:
                return column.conversion.parse(moment.text())
            except ValueError:
                return column.conversion.parse(moment.text()[:10])
        case value:
            return column.conversion.parse(value)


def _pattern(inputs: Inputs, place: int) -> str:
    literal = inputs.literals[place]
    text = str(literal.value)
    if isinstance(literal.value, Attribute):
        if literal.value.name not in inputs.attributes:
            raise _Missing(f"You have no attribute {literal.value.name}, which the filter names.")
        text = inputs.attributes[literal.value.name]
    if len(text) > LONGEST_PATTERN:
        raise FilterError(f"A pattern has at most {LONGEST_PATTERN:,} characters.")
    if literal.meaning == "matches":
        return text
    if literal.meaning:
        text = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        before, after = "%" * (literal.meaning != "starts"), "%" * (literal.meaning != "ends")
        return before + text + after
    if text.count("%") + text.count("_") > WILDCARDS:
        raise FilterError(f"A pattern has at most {WILDCARDS} of the signs % and _.")
    if (len(text) - len(text.rstrip("\\"))) % 2:
        raise FilterError("A pattern must not end with a backslash, which takes the meaning from the next sign.")
    return text


def _misfit(column: Column) -> FilterError:
    return FilterError(f"{column.name} is compared with {column.conversion.noun}.")


def _bare(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Paren):
        node = node.this
    return node
