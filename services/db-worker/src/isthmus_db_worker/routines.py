"""Routines: stored procedures and functions, as the database describes them, and which of them a caller may call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy.engine import Connection, Inspector
from sqlalchemy.types import TypeEngine

from isthmus.grants import Grant, Granted, matches_any
from isthmus_db_worker.result_sets import Gathering
from isthmus_db_worker.values import Conversion

Kind = Literal["procedure", "function", "table function"]
Mode = Literal["in", "out", "inout", "variadic"]

Bound = dict[str, object]
"""Name of a parameter → what is bound; one that is not there takes its default."""

DEFAULT_SHOWN = 100
"""Characters of a default."""


@dataclass(frozen=True)
class Value:
    """Something that goes into a routine or comes out of it."""

    name: str
    type: str
    """As the database writes it, such as `numeric`."""
    conversion: Conversion
    sql: TypeEngine[Any]
    """What values are bound and fetched with."""


@dataclass(frozen=True)
class Parameter(Value):
    """One of a routine's arguments."""

    mode: Mode = "in"
    """Of `variadic` ones the value is a list."""
    default: str | None = None
    """The expression that gives the value when there is none."""
    named: bool = True
    """Whether the name is the database's; else it is ours, `$1` for the first."""

    def text(self) -> str:
        """As a signature has it."""
        mode = "" if self.mode == "in" else f"{self.mode} "
        if self.default is None:
            return f"{mode}{self.name} {self.type}"
        cut = f"{self.default[:DEFAULT_SHOWN]}…" if len(self.default) > DEFAULT_SHOWN else self.default
        return f"{mode}{self.name} {self.type} default {cut}"


@dataclass(frozen=True)
class Routine:
    """A procedure or function. Several may have one key, and differ in their arguments."""

    key: str
    """What callers and grants call it: `routine` in the default schema, else `schema.routine`."""
    full: str
    """`schema.routine`, with the default schema's name too."""
    schema: str
    name: str
    kind: Kind
    parameters: tuple[Parameter, ...]
    returned: tuple[Value, ...]
    """The columns, or the one value, that a function returns beside its arguments; without a name it is the one."""
    returns: str
    """The same in the database's words; empty: nothing, or what its arguments say."""
    comment: str
    reads: bool
    """Whether the database knows, or was told by the author and sees to it, that it only reads."""

    @property
    def inputs(self) -> list[Parameter]:
        """The arguments that a caller gives."""
        return [parameter for parameter in self.parameters if parameter.mode != "out"]

    @property
    def outputs(self) -> Sequence[Value]:
        """What comes back, in order."""
        return self.returned or [p for p in self.parameters if p.mode in ("out", "inout")]

    def signature(self) -> str:
        """`tax(amount numeric, rate numeric default 0.19) → numeric`."""
        returns = f" → {self.returns}" if self.returns else ""
        return f"{self.key}({', '.join(parameter.text() for parameter in self.parameters)}){returns}"


Routines = dict[str, tuple[Routine, ...]]
"""By key, in order."""


def by_key(routines: Iterable[Routine]) -> Routines:
    """All that have one key together. One whose own name has a dot is left out: it reads like one of another schema,
    for which other grants may hold."""
    found: dict[str, list[Routine]] = {}
    for routine in sorted(routines, key=lambda r: (r.key, len(r.parameters))):
        if "." not in routine.name:
            found.setdefault(routine.key, []).append(routine)
    return {key: tuple(those) for key, those in found.items()}


def may_call(granted: Granted, key: str) -> bool:
    """Whether one of the grants allows to call the routine.

    A routine runs with rights of its own: nothing of rows or columns can be kept from it. So a grant with a row filter,
    or with hidden or masked columns, allows none; and one of all actions does only while no other closes columns.
    """
    closed = any(grant.hidden or grant.masked for grant in granted.grants)
    return any(
        matches_any(grant.objects, key) and ("call" in grant.actions or ("*" in grant.actions and not closed))
        for grant in granted.grants
        if _is_open(grant)
    )


def _is_open(grant: Grant) -> bool:
    return not (grant.rows or grant.hidden or grant.masked)


class RoutineEngine(Protocol):
    """What an engine does with routines."""

    commits: bool
    """Whether a procedure may commit by itself what it has done so far."""

    def read(self, inspector: Inspector, schemas: Mapping[str, str]) -> list[Routine]:
        """Those of the schemas, by name → what stands before the names of its routines in their keys."""
        ...

    def call(
        self, connection: Connection, routine: Routine, bound: Bound, gathering: Gathering, *, read_only: bool
    ) -> None:
        """Calls a routine within the transaction of the connection, or read-only in one of its own."""
        ...

    def raised(self, error: BaseException) -> str | None:
        """What the author of a routine says in an error that it raises on purpose; None: that is none."""
        ...
