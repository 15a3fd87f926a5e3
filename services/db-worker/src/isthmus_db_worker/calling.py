"""list_routines and call_routine: stored procedures and functions, where the engine has them."""

import hashlib
from typing import Annotated

import msgspec
from sqlalchemy.engine import Connection

from isthmus.auditing import Written
from isthmus.errors import ClientCannot, Conflict, InvalidArguments, NotAllowed, NotFound, ToolError, near
from isthmus.plans import user_agrees
from isthmus.results import TextContent
from isthmus.tools import Call, Result
from isthmus_db_worker.database import Database
from isthmus_db_worker.dialects import SPENT
from isthmus_db_worker.failures import explained
from isthmus_db_worker.matching import Given, choose
from isthmus_db_worker.result_sets import Called, Gathering
from isthmus_db_worker.routines import Bound, Routine, Routines, may_call
from isthmus_db_worker.rows import line

MOST = 500
"""Routines in one answer."""
COMMENT = 300
"""Characters of a comment."""
SHOWN = 4000
"""Characters that the arguments may have, where a user is asked to agree to them."""
FRAME = 4096
"""Bytes of an answer that are kept for what surrounds the routines."""


class ListRoutines(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which routines."""

    query: str = ""
    """Only those with this text in name or comment."""
    database: str | None = None
    """The database."""


class ListedArgument(msgspec.Struct, kw_only=True):
    """An argument of a routine."""

    name: str
    """The database's, or `$1` for the first where it has no name."""
    mode: str
    """`in`, `out`, `inout`, or `variadic`: a list."""
    type: str
    default: str | None
    """The expression that gives the value when there is none; null: there must be one."""


class ListedRoutine(msgspec.Struct, kw_only=True):
    """A routine. Several of one name differ in their arguments."""

    name: str
    """What call_routine calls it."""
    kind: str
    """`procedure`, `function`, or `table function`: it returns rows."""
    arguments: list[ListedArgument]
    returns: str
    """What a function returns, as the database writes it."""
    comment: str
    read_only: bool
    """Whether it is known to read only."""


class ListedRoutines(msgspec.Struct, kw_only=True):
    """Routines, by name."""

    routines: list[ListedRoutine]
    truncated: bool = False
    """Whether there are more; narrow them with `query`."""


async def list_routines(call: Call[Database], arguments: ListRoutines) -> Result[ListedRoutines]:
    """Lists the stored procedures and functions that you may call, with their arguments."""
    with explained(call.source.handle, call.source.name):
        granted = _granted(call, await call.source.handle.catalog.routines())
    wanted = arguments.query.lower()
    found = [r for those in granted.values() for r in those if wanted in r.key.lower() or wanted in r.comment.lower()]
    callable_ = [routine for routine in found if routine.reads or call.source.writable]
    listed, lines, left = list[ListedRoutine](), list[str](), call.source.handle.limits.bytes - FRAME
    for routine in callable_[:MOST]:
        each, text = _listed(routine), _line(routine)
        left -= len(msgspec.json.encode(each)) + len(msgspec.json.encode(text))
        if left < 0:
            break
        listed.append(each)
        lines.append(text)
    truncated = len(listed) < len(callable_)
    end = "more follow: narrow them with query" if truncated else "that is all"
    if kept := len(found) - len(callable_):
        end += f"; {kept} that may write cannot be called in {call.source.name}, which is read-only"
    text = "\n".join([*lines, f"({len(lines)} found, {end})"])
    return Result(structured=ListedRoutines(routines=listed, truncated=truncated), content=(TextContent(text),))


class CallRoutine(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which routine, with what."""

    routine: str
    """From list_routines."""
    arguments: Given = {}
    """By name, or a list in order."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """Rows of a set."""
    database: str | None = None
    """The database."""


async def call_routine(call: Call[Database], arguments: CallRoutine) -> Called:
    """Calls a stored procedure or function."""
    database = call.source.handle
    routine, bound = await _chosen(call, arguments.routine, arguments.arguments)
    if not routine.reads and database.writes != "direct":
        _ask(call, routine, arguments.arguments)
    budget = database.limits.bytes
    kept = budget // 4 if routine.kind == "procedure" and routine.outputs else 0
    gathering = Gathering(min(arguments.limit, database.limits.rows), budget, kept)
    engine = database.dialect.routines
    assert engine is not None  # noqa: S101  (it has this one)

    def work(connection: Connection) -> None:
        connection.info[SPENT] = True
        engine.call(connection, routine, bound, gathering, read_only=routine.reads)

    try:
        with explained(database, call.source.name, routine=routine.key):
            if routine.reads:
                await database.runner.look(work, call.left)
            else:
                await database.runner.transaction(work, call.left)
                call.wrote(Written(object=routine.key, action="call"))
    except ToolError as error:
        if routine.reads or routine.kind != "procedure" or not engine.commits:
            raise
        call.wrote(Written(object=routine.key, action="call", count=0))
        raise _by_halves(error) from None
    return gathering.called


def _by_halves(error: ToolError) -> ToolError:
    """The error of a procedure that may have committed a part of its work before it."""
    kind = Conflict if isinstance(error, Conflict) else type(error)
    said = error.message.replace("; nothing was changed", "").replace(" was not done: ", " failed: ")
    return kind(f"{said} What it did is undone, but for what it committed by itself: look before you call it again.")


def _ask(call: Call[Database], routine: Routine, given: Given) -> None:
    """Where users must agree to changes, asks for this one, which cannot be previewed. Raises NotAllowed,
    ClientCannot."""
    if call.source.handle.writes == "preview":
        raise NotAllowed(
            f"{routine.key} may write, and {call.source.name} allows changes only after a preview, which routines "
            "cannot have."
        )
    if not call.client.elicitation:
        raise ClientCannot(
            f"{routine.key} may write, to which the user must agree in {call.source.name}; your client cannot ask.",
            ["elicitation"],
        )
    arguments = msgspec.json.encode(given).decode()
    asked = hashlib.sha256(f"{routine.signature()} {arguments}".encode()).hexdigest()
    if len(arguments) > SHOWN:
        raise InvalidArguments(
            f"The user must agree to the arguments, so they may have at most {SHOWN:,} characters, not "
            f"{len(arguments):,}."
        )
    source = call.source.title or call.source.name
    agrees = user_agrees(call, f"Allow this call in {source}?\n{routine.signature()}\nwith {arguments}", asked)
    if call.state != asked:
        raise Conflict("The user was asked about another call; nothing was done.")
    if not agrees:
        raise NotAllowed("The user did not agree to this call; nothing was done.")


async def _chosen(call: Call[Database], text: str, given: Given) -> tuple[Routine, Bound]:
    """The routine and its arguments. What is not found, or does not fit, is looked at once more."""
    catalog = call.source.handle.catalog
    for again in (False, True):
        with explained(call.source.handle, call.source.name):
            granted = _granted(call, await catalog.routines(again=again))
        try:
            return choose(_callable(call, granted, text), given)
        except (NotFound, InvalidArguments):
            if again:
                raise
    raise AssertionError  # the second round returns or raises


def _granted(call: Call[Database], routines: Routines) -> Routines:
    return {key: those for key, those in routines.items() if may_call(call.granted, key)}


def _callable(call: Call[Database], granted: Routines, text: str) -> list[Routine]:
    """The routines of that name: the exact one, else the only one that differs in nothing but letter case or the
    default schema's name."""
    alike = (
        [text] if text in granted else [k for k, r in granted.items() if text.lower() in (k.lower(), r[0].full.lower())]
    )
    if len(alike) != 1:
        raise NotFound(f"There is no routine {text[:128]} in {call.source.name}.{near(text[:128], granted)}")
    found = [routine for routine in granted[alike[0]] if routine.reads or call.source.writable]
    if not found:
        raise NotAllowed(
            f"{alike[0]} may write, and {call.source.name} is read-only: it calls only what is known to read."
        )
    return found


def _listed(routine: Routine) -> ListedRoutine:
    return ListedRoutine(
        name=routine.key,
        kind=routine.kind,
        arguments=[
            ListedArgument(name=p.name, mode=p.mode, type=p.type, default=p.default) for p in routine.parameters
        ],
        returns=routine.returns,
        comment=routine.comment[:COMMENT],
        read_only=routine.reads,
    )


def _line(routine: Routine) -> str:
    reads = ", reads only" if routine.reads else ""
    about = f": {routine.comment[:COMMENT]}" if routine.comment else ""
    return line([f"{routine.kind} {routine.signature()}{reads}{about}"])
