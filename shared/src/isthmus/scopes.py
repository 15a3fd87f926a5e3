"""The OAuth scopes. A worker of another kind than `db` and `file` has `<kind>:use`."""

from isthmus import subjects

SCOPES: dict[str, str] = {
    "data:read": "Read the schemas and rows of databases",
    "data:write": "Create, change and delete rows of databases",
    "files:read": "List, read and search files",
    "files:write": "Create, change and delete files",
    "routines:call": "Call stored procedures and functions",
    "sql:run": "Run SQL queries where a database allows them",
}
"""Scope → what a person reads on the consent page."""

DEFAULT_SCOPES = ("data:read", "files:read")
"""What a request without `scope` is offered at first."""


def use_of(kind: str) -> str:
    """The scope of all tools of a kind of worker of your own."""
    return f"{kind}:use"


def is_scope(text: str) -> bool:
    """Whether it is one of ours, or could be that of a kind of worker of your own."""
    kind, _, _ = text.partition(":")
    return text in SCOPES or (subjects.is_kind(kind) and kind not in subjects.BUILT_IN and text == use_of(kind))


def belongs_to(scope: str, kind: str) -> bool:
    """Whether a tool of this kind of worker may ask for the scope: no kind may live on consent to another one."""
    return scope in SCOPES if kind in subjects.BUILT_IN else scope == use_of(kind)


def writes(scope: str) -> bool:
    """Whether something can be changed with it; of workers of other kinds it is not known, so they count."""
    return scope not in ("data:read", "files:read", "sql:run")


def describe(scope: str) -> str:
    """The scope in words, as a person reads it on the consent page."""
    return SCOPES.get(scope) or f"Use the {scope.partition(':')[0]} tools"
