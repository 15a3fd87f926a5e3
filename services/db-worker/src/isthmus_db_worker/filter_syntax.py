"""The syntax of filters: SQL-like text, read by sqlglot into a tree of a few kinds of nodes.

sqlglot knows all of SQL. It is given only what may occur in a filter: words that are not among the operators below
reach it as quoted identifiers, so that none of them can begin anything else, and every other sign is refused before.
"""

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

ALLOWED = (
    "A filter compares columns with values (= <> < <= > >=, in, between, like, ilike, is null), joined by and, or, "
    "not and parentheses, such as status = 'open' and total > 100."
)

_SIGNS = {
    TokenType.L_PAREN, TokenType.R_PAREN, TokenType.COMMA, TokenType.DOT, TokenType.EQ, TokenType.NEQ, TokenType.LT,
    TokenType.LTE, TokenType.GT, TokenType.GTE, TokenType.STRING, TokenType.NUMBER,
}  # fmt: skip
_OPERATORS = {
    TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.LIKE, TokenType.ILIKE,
    TokenType.IS, TokenType.NULL, TokenType.TRUE, TokenType.FALSE,
}  # fmt: skip
_BRACES = {TokenType.L_BRACE, TokenType.R_BRACE}
_OPERANDS = {TokenType.NUMBER, TokenType.STRING, TokenType.IDENTIFIER, TokenType.R_PAREN}

_DIALECT = Dialect.get_or_raise(None)


class FilterError(InvalidArguments):
    """The filter cannot be read."""


def parse(text: str, *, placeholders: bool = False) -> exp.Expr:
    """The filter's tree; its nodes are not checked yet. `placeholders` lets `{user.name}` stand for a value.

    Raises FilterError with the place and what is allowed.
    """
    if len(text) > LONGEST:
        raise FilterError(f"The filter has {len(text):,} characters; at most {LONGEST:,} are allowed.")
    if "\x00" in text:
        raise FilterError("The filter holds a NUL character, which no text can.")
    try:
        tokens = _prepare(text, _DIALECT.tokenize(text), placeholders=placeholders)
        (tree,) = _DIALECT.parser().parse_into(exp.Condition, tokens, text)
    except SqlglotError as error:
        raise FilterError(_sentence(text, error)) from None
    except (ValueError, RecursionError, UnicodeError):
        raise FilterError(f"The filter cannot be read. {ALLOWED}") from None
    if tree is None:
        raise FilterError(f"The filter is empty; leave it out for all rows. {ALLOWED}")
    return tree


def is_plain(name: str) -> bool:
    """Whether a column's name may stand in a filter without quotes."""
    if not (name.isascii() and name.isidentifier()):
        return False
    tokens = _DIALECT.tokenize(name)
    return len(tokens) == 1 and tokens[0].token_type not in _OPERATORS


def _prepare(text: str, tokens: list[Token], *, placeholders: bool) -> list[Token]:
    """Only what a filter is made of. A minus becomes part of its number, any other word an identifier."""
    prepared: list[Token] = []
    depth = nots = joined = 0
    minus: Token | None = None
    for token in tokens:
        kind = token.token_type
        if minus is not None and kind is not TokenType.NUMBER:
            raise _unexpected(text, minus)
        if kind in _OPERATORS or kind in _SIGNS or (placeholders and kind in _BRACES):
            if minus is not None:
                token = _like(token, kind, "-" + token.text)
                minus = None
            prepared.append(token)
        elif kind is TokenType.DASH and not (prepared and prepared[-1].token_type in _OPERANDS):
            minus = token
        elif kind is TokenType.IDENTIFIER or token.text.replace("$", "_").isidentifier():
            prepared.append(_like(token, TokenType.IDENTIFIER, token.text))
        else:
            raise _unexpected(text, token)
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        nots = nots + 1 if kind is TokenType.NOT else 0 if kind in _OPERANDS else nots
        joined += kind in (TokenType.AND, TokenType.OR)
        if joined >= MOST:
            raise FilterError(f"The filter has more than {MOST} conditions.")
        if max(depth, nots) > DEEPEST:
            raise FilterError(f"The filter is nested more than {DEEPEST} deep at {_place(text, token)}.")
    if minus is not None:
        raise _unexpected(text, minus)
    return prepared


def _like(token: Token, kind: TokenType, text: str) -> Token:
    return Token(kind, text, token.line, token.col, token.start, token.end)


def _place(text: str, token: Token) -> str:
    return f"position {token.start + 1}, near `{text[token.start : token.start + 24]}`"


def _unexpected(text: str, token: Token) -> FilterError:
    return FilterError(f"The filter cannot be read at {_place(text, token)}. {ALLOWED}")


def _sentence(text: str, error: SqlglotError) -> str:
    """sqlglot's own words are for people who write SQL; only the place is taken from it."""
    found: list[dict[str, object]] = getattr(error, "errors", [])
    if not text.strip():
        return f"The filter is empty; leave it out for all rows. {ALLOWED}"
    if not found:
        return f"The filter has a quote that is not closed. {ALLOWED}"
    before, near = str(found[0].get("start_context") or ""), str(found[0].get("highlight") or "")
    after = str(found[0].get("end_context") or "")
    return f"The filter cannot be read near `{(before[-16:] + near + after[:16]).strip()}`. {ALLOWED}"
