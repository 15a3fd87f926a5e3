"""The syntax of filters: SQL-like text, read in one pass into columns, values and the operators between them.

sqlglot knows all of SQL. It cuts the text into tokens, and every sign that has no place in a filter is refused here.
Each name with its dots and each value then becomes a single token that says no more than its number, so that all that
is left for sqlglot to read is which operator binds what: nothing of the caller's ever reaches it as SQL.

What is left once the values are out is the filter's shape: filters of one shape differ in their values alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Literal as OneOf

from sqlglot import Dialect, exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from isthmus.errors import InvalidArguments

LONGEST = 8192
"""Characters."""
DEEPEST = 50
"""Parentheses and `not` within each other."""
MOST = 500
"""Conditions joined by `and` and `or`: some databases take no more than a thousand."""
FARTHEST = 12
"""Parts of a dotted name."""

ALLOWED = (
    "A filter compares columns with values (= <> < <= > >=, in, between, like, ilike, contains, starts with, "
    "ends with, matches, is null), joined by and, or, not and parentheses, such as status = 'open' and total > 100."
)

Meaning = OneOf["", "contains", "starts", "ends", "matches"]
"""What a text after one of these words is: part of a text, or a search."""

_OPERATORS = {
    TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.LIKE, TokenType.ILIKE,
    TokenType.IS, TokenType.NULL, TokenType.TRUE, TokenType.FALSE, TokenType.L_PAREN, TokenType.R_PAREN,
    TokenType.COMMA, TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE,
}  # fmt: skip
_WORDS = {TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.LIKE,
          TokenType.ILIKE, TokenType.IS, TokenType.NULL, TokenType.TRUE, TokenType.FALSE}  # fmt: skip
_MEANINGS: dict[str, Meaning] = {"contains": "contains", "matches": "matches", "starts": "starts", "ends": "ends"}
_NOW = {"current_date": "date", "current_timestamp": "moment", "now": "moment", "today": "date"}
_AMOUNT = re.compile(r"\s*([+-]?\d{1,6})\s*(year|quarter|month|week|day|hour|minute|second)s?\b", re.IGNORECASE)
_DAYS = {"day": 1, "week": 7}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}

_DIALECT = Dialect.get_or_raise(None)


class FilterError(InvalidArguments):
    """The filter cannot be read."""


@dataclass(frozen=True)
class Operand:
    """A column by its dotted name, or what a function makes of it."""

    path: tuple[str, ...]
    function: str = ""


@dataclass(frozen=True)
class Attribute:
    """One of the user's, such as `{user.id}`."""

    name: str


@dataclass(frozen=True)
class Moment:
    """Now, or so much before or after it."""

    kind: str
    """`date` or `moment`."""
    months: int = 0
    seconds: int = 0

    def text(self) -> str:
        """In ISO 8601, as of now in UTC."""
        now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        if self.kind == "date" and not self.seconds % 86_400:
            return (_later(now.date(), self.months) + timedelta(seconds=self.seconds)).isoformat()
        start = datetime.combine(now.date(), time() if self.kind == "date" else now.time())
        return (datetime.combine(_later(start.date(), self.months), start.time()) + timedelta(seconds=self.seconds)
                ).isoformat()  # fmt: skip


Value = str | int | Decimal | Attribute | Moment


@dataclass(frozen=True)
class Literal:
    """A value as the filter has it."""

    value: Value
    meaning: Meaning = ""

    @property
    def shape(self) -> str:
        """What it tells of the filter's shape."""
        return f"?{self.meaning}:{type(self.value).__name__}{'' if self._is_common else '!'}"

    @property
    def _is_common(self) -> bool:
        """Whether it is a whole number of 64 bits, if it is a number: others take another statement."""
        match self.value:
            case int():
                return -(2**63) <= self.value < 2**63
            case Decimal():
                return self.value.adjusted() < 18 and self.value == self.value.to_integral_value()
            case _:
                return True


@dataclass
class Filter:
    """A filter in its parts."""

    text: str
    operands: list[Operand] = field(default_factory=list[Operand])
    literals: list[Literal] = field(default_factory=list[Literal])
    tokens: list[Token] = field(default_factory=list[Token])
    shape: str = ""
    """The same for all filters that differ in nothing but their values."""

    def tree(self) -> exp.Expr:
        """What binds what: identifiers are numbers of operands, literals those of literals. Raises FilterError."""
        try:
            (tree,) = _DIALECT.parser().parse_into(exp.Condition, self.tokens, self.text)
        except SqlglotError as error:
            raise FilterError(_sentence(error)) from None
        except (ValueError, RecursionError):
            raise FilterError(f"The filter cannot be read. {ALLOWED}") from None
        if tree is None:
            raise FilterError(f"The filter is empty; leave it out for all rows. {ALLOWED}")
        return tree

    def operand(self, node: exp.Expr) -> Operand | None:
        """What the node names; None: something else, such as an operator where a name should be."""
        if isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier) and node.this.args.get("quoted"):
            return self.operands[int(node.name)]
        return None

    def snippet(self, node: exp.Expr) -> str:
        """What the caller wrote there, near enough for an error."""
        shown = exp.Paren(this=node.copy())
        for part in list(shown.find_all(exp.Column, exp.Literal)):
            if isinstance(part, exp.Literal):
                value = self.literals[int(part.this)].value
                part.replace(exp.Literal.string(str(getattr(value, "name", value))))
            elif (operand := self.operand(part)) is not None:
                part.replace(exp.to_identifier(".".join(operand.path)))
        return shown.this.sql(comments=False)[:60]


@lru_cache(maxsize=512)
def read(text: str, functions: frozenset[str] = frozenset()) -> Filter:
    """The filter in its parts, which nobody changes; `functions` may stand around a column. Raises FilterError."""
    if len(text) > LONGEST:
        raise FilterError(f"The filter has {len(text):,} characters; at most {LONGEST:,} are allowed.")
    if "\x00" in text:
        raise FilterError("The filter holds a NUL character, which no text can.")
    if not text.strip():
        raise FilterError(f"The filter is empty; leave it out for all rows. {ALLOWED}")
    try:
        tokens = _DIALECT.tokenize(text)
    except (SqlglotError, ValueError, UnicodeError):
        raise FilterError(f"The filter has a quote that is not closed. {ALLOWED}") from None
    return _Reader(text, tokens, functions).read()


def read_operand(text: str, functions: frozenset[str] = frozenset()) -> Operand:
    """A column by its dotted name, or a function of one, as in `month(placed_at)`. Raises FilterError."""
    if len(text) <= LONGEST and "\x00" not in text and text.strip():
        try:
            reader = _Reader(text, _DIALECT.tokenize(text), functions)
            operand = reader.operand()
        except (SqlglotError, ValueError, UnicodeError):
            operand = None
        else:
            if operand is not None and reader.at_end:
                return operand
    raise FilterError(f"{text[:64]!r} is no column: write its name, with dots where a relation leads to it.")


def is_plain(name: str) -> bool:
    """Whether a column's name may stand in a filter without quotes."""
    if not (name.isascii() and name.isidentifier()):
        return False
    tokens = _DIALECT.tokenize(name)
    return len(tokens) == 1 and tokens[0].token_type not in _WORDS and name.lower() not in _NOW


class _Reader:
    """Goes once over the tokens."""

    def __init__(self, text: str, tokens: Sequence[Token], functions: frozenset[str]) -> None:
        self._filter = Filter(text)
        self._tokens = tokens
        self._functions = functions
        self._at = 0
        self._after_operand = False

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def read(self) -> Filter:
        """All of it."""
        depth = nots = joined = 0
        shape: list[str] = []
        while not self.at_end:
            start = self._tokens[self._at]
            kind = start.token_type
            if (meaning := self._meaning()) is not None:
                self._put(start, TokenType.LIKE, "like")
                shape.append(self._literal(self._text(start), meaning))
            elif kind in _OPERATORS:
                self._at += 1
                self._put(start, kind, start.text)
                shape.append(kind.name)
                self._after_operand = kind is TokenType.NOT and self._after_operand
            elif (value := self._value()) is not None:
                shape.append(self._literal(value, ""))
            elif (operand := self.operand()) is not None:
                self._put(start, TokenType.IDENTIFIER, str(len(self._filter.operands)))
                self._filter.operands.append(operand)
                shape.append(f"{operand.function}({operand.path!r})")
                self._after_operand = True
            else:
                raise self._unexpected(start)
            depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
            nots = nots + 1 if kind is TokenType.NOT else nots if kind is TokenType.L_PAREN else 0
            joined += kind in (TokenType.AND, TokenType.OR)
            if joined >= MOST:
                raise FilterError(f"The filter has more than {MOST} conditions.")
            if max(depth, nots) > DEEPEST:
                raise FilterError(f"The filter is nested more than {DEEPEST} deep at {self._place(start)}.")
        self._filter.shape = " ".join(shape)
        return self._filter

    def operand(self) -> Operand | None:
        """A dotted name, or one in a function; None: something else stands here."""
        name = self._word(self._at)
        if name is None:
            return None
        token = self._tokens[self._at]
        function = name.lower()
        if token.token_type is not TokenType.IDENTIFIER and self._is(self._at + 1, TokenType.L_PAREN):
            if function not in self._functions:
                known = f" Of functions there are {', '.join(sorted(self._functions))}." if self._functions else ""
                raise FilterError(f"{name[:40]}(…) is not allowed here.{known}")
            self._at += 2
            inner = self._path()
            if not inner or not self._is(self._at, TokenType.R_PAREN):
                raise FilterError(f"{function}(…) takes one column, as in {function}(ordered_at).")
            self._at += 1
            return Operand(inner, function)
        return Operand(self._path())

    def _path(self) -> tuple[str, ...]:
        """A name, and behind dots or arrows what it leads to."""
        parts: list[str] = []
        if (name := self._word(self._at)) is None:
            return ()
        parts.append(name)
        self._at += 1
        while not self.at_end and len(parts) <= FARTHEST:
            kind = self._tokens[self._at].token_type
            if kind in (TokenType.ARROW, TokenType.DARROW) and self._is(
                self._at + 1, TokenType.STRING, TokenType.NUMBER
            ):
                parts.append(self._tokens[self._at + 1].text)
                self._at += 2
            elif kind is TokenType.DOT and self._is(self._at + 1, TokenType.NUMBER):
                number = self._tokens[self._at + 1].text
                parts.append(number.removesuffix("."))
                self._at += 2
                if number.endswith(".") and (name := self._word(self._at)) is not None:
                    parts.append(name)
                    self._at += 1
            elif kind is TokenType.DOT and (name := self._word(self._at + 1)) is not None:
                parts.append(name)
                self._at += 2
            else:
                break
        if len(parts) > FARTHEST:
            raise FilterError(f"A name has at most {FARTHEST} parts; {parts[0][:40]}.… has more.")
        return tuple(parts)

    def _value(self) -> Value | None:
        """A number, a text, a moment or one of the user's attributes; None: something else stands here."""
        token = self._tokens[self._at]
        match token.token_type:
            case TokenType.STRING:
                self._at += 1
                return _attribute(token.text) or token.text
            case TokenType.NUMBER:
                self._at += 1
                return _number(token.text)
            case TokenType.DASH if self._is(self._at + 1, TokenType.NUMBER) and not self._after_operand:
                self._at += 2
                return _number("-" + self._tokens[self._at - 1].text)
            case TokenType.L_BRACE:
                end = next((n for n in range(self._at, min(self._at + 8, len(self._tokens)))
                            if self._tokens[n].token_type is TokenType.R_BRACE), None)  # fmt: skip
                written = "" if end is None else self._filter.text[token.start : self._tokens[end].end + 1]
                if end is None or (found := _attribute(written)) is None:
                    raise FilterError("Of placeholders there are {user.id} and the user's attributes: {user.name}.")
                self._at = end + 1
                return found
            case _:
                return self._moment()

    def _moment(self) -> Moment | None:
        name = self._word(self._at)
        kind = _NOW.get((name or "").lower())
        if kind is None or self._tokens[self._at].token_type is TokenType.IDENTIFIER:
            return None
        called = self._is(self._at + 1, TokenType.L_PAREN) and self._is(self._at + 2, TokenType.R_PAREN)
        if not called and "_" not in (name or ""):
            return None  # a column may well have such a name
        self._at += 3 if called else 1
        months = seconds = 0
        while self._is(self._at, TokenType.DASH, TokenType.PLUS) and self._is(self._at + 1, TokenType.INTERVAL):
            sign = -1 if self._tokens[self._at].token_type is TokenType.DASH else 1
            self._at += 2
            more_months, more_seconds = self._interval()
            months, seconds = months + sign * more_months, seconds + sign * more_seconds
        return Moment(kind, months, seconds)

    def _interval(self) -> tuple[int, int]:
        """`'7 days'`, `'1 month 2 days'`, `'7' day` or `7 day`, as months and seconds."""
        written = ""
        if self._is(self._at, TokenType.STRING, TokenType.NUMBER):
            written = self._tokens[self._at].text
            self._at += 1
            if written.strip().lstrip("+-").isdigit() and (unit := self._word(self._at)) is not None:
                written = f"{written} {unit}"
                self._at += 1
        months = seconds = at = 0
        while (found := _AMOUNT.match(written, at)) is not None:
            amount, unit, at = int(found.group(1)), found.group(2).lower(), found.end()
            months += amount * _MONTHS.get(unit, 0)
            seconds += amount * (_SECONDS.get(unit, 0) or _DAYS.get(unit, 0) * 86_400)
        if not at or written[at:].strip():
            raise FilterError("An interval is written as in current_date - interval '7 days'.")
        return months, seconds

    def _meaning(self) -> Meaning | None:
        """What the words here say of the text behind them, which comes next; None: there are no such words."""
        if not self._after_operand or (name := self._word(self._at)) is None:
            return None
        meaning = _MEANINGS.get(name.lower())
        if meaning is None or self._tokens[self._at].token_type is TokenType.IDENTIFIER:
            return None
        self._at += 1
        if meaning in ("starts", "ends"):
            if not self._is(self._at, TokenType.WITH):
                raise FilterError(f"Write {meaning} with, as in name {meaning} with 'A'.")
            self._at += 1
        return meaning

    def _text(self, start: Token) -> Value:
        if self.at_end or not isinstance(value := self._value(), str | Attribute):
            raise FilterError(f"At {self._place(start)} a text in single quotes is missing.")
        return value

    def _literal(self, value: Value, meaning: Meaning) -> str:
        literal = Literal(value, meaning)
        self._put(self._tokens[self._at - 1], TokenType.NUMBER, str(len(self._filter.literals)))
        self._filter.literals.append(literal)
        self._after_operand = False
        return literal.shape

    def _put(self, token: Token, kind: TokenType, text: str) -> None:
        self._filter.tokens.append(Token(kind, text, token.line, token.col, token.start, token.end))

    def _is(self, at: int, *kinds: TokenType) -> bool:
        return at < len(self._tokens) and self._tokens[at].token_type in kinds

    def _word(self, at: int) -> str | None:
        """A name; quoted, it may be anything."""
        if at >= len(self._tokens):
            return None
        token = self._tokens[at]
        if token.token_type is TokenType.IDENTIFIER:
            return token.text
        named = token.token_type not in _OPERATORS and token.token_type is not TokenType.STRING
        return token.text if named and token.text.replace("$", "_").isidentifier() else None

    def _place(self, token: Token) -> str:
        text = self._filter.text
        return f"position {token.start + 1}, near `{text[token.start : token.start + 24]}`"

    def _unexpected(self, token: Token) -> FilterError:
        return FilterError(f"The filter cannot be read at {self._place(token)}. {ALLOWED}")


def _attribute(text: str) -> Attribute | None:
    """`{user.id}`, in quotes or not."""
    found = re.fullmatch(r"\{\s*user\s*\.\s*(\w{1,64})\s*\}", text)
    return Attribute(found.group(1)) if found else None


def _number(text: str) -> int | Decimal:
    try:
        return int(text) if text.lstrip("-").isdigit() else Decimal(text)
    except (ArithmeticError, ValueError):
        raise FilterError(f"{text[:40]} is not a number.") from None


def _later(day: date, months: int) -> date:
    """The same day so many months later, or the last one of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    first = date(year, month + 1, 1)
    following = date(year + month // 11, (month + 1) % 12 + 1, 1)
    return first.replace(day=min(day.day, (following - timedelta(days=1)).day))


def _sentence(error: SqlglotError) -> str:
    """sqlglot's own words are for people who write SQL; only the place is taken from it."""
    found: list[dict[str, object]] = getattr(error, "errors", [])
    if not found:
        return f"The filter cannot be read. {ALLOWED}"
    before, near = str(found[0].get("start_context") or ""), str(found[0].get("highlight") or "")
    after = str(found[0].get("end_context") or "")
    return f"The filter cannot be read near `{(before[-16:] + near + after[:16]).strip()}`. {ALLOWED}"
