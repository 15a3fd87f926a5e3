"""Roles: named sets of grants; made, changed and deleted by administrators."""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus.grants import Grant
from isthmus_auth import outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.models import Account
from isthmus_auth.models import Role as Row
from isthmus_auth.seed import EVERYTHING_ROLE

ACTIONS = frozenset(("read", "create", "update", "delete", "call", "sql", "share", "use", "*"))
"""What a grant may allow; see isthmus.grants."""
LONGEST = 64 * 1024
"""Bytes of a role's grants."""

RoleId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role."""

    id: str
    name: str
    grants: list[Grant]
    tools_off: list[str]
    """Globs over tools that the grants are not for."""
    calls_per_minute: int
    """0: as many as they like."""


class NewRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role as it is to be."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    grants: Annotated[list[Grant], Meta(max_length=100)] = []
    tools_off: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=100)] = []
    calls_per_minute: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


def find(session: Session) -> list[Role]:
    """All roles, in order of their ids."""
    return [_role(row) for row in session.scalars(select(Row).order_by(Row.id))]


def get(session: Session, role_id: str) -> Role:
    """Raises Refusal."""
    return _role(_row(session, role_id))


def put(session: Session, role_id: str, asked: NewRole) -> Role:
    """Makes the role, or changes it. Raises Refusal."""
    if role_id == EVERYTHING_ROLE:
        raise Refusal(403, "The role everything is what it is.")
    _check(asked)
    row = session.get(Row, role_id)
    if row is None:
        try:
            msgspec.convert(role_id, RoleId)
        except msgspec.ValidationError:
            raise Refusal(400, "The id of a role has lower-case letters, digits, _ and -, a letter first.") from None
        row = Row(id=role_id)
        session.add(row)
    row.name = asked.name
    row.grants = [msgspec.to_builtins(grant) for grant in asked.grants]
    row.tools_off = asked.tools_off
    row.calls_per_minute = asked.calls_per_minute
    session.flush()
    outbox.record(session, policy.key("role", row.id), outbox.role_entry(row))
    return _role(row)


def remove(session: Session, role_id: str) -> None:
    """Deletes the role; whoever had it has it no more. Raises Refusal."""
    if role_id == EVERYTHING_ROLE:
        raise Refusal(403, "The role everything cannot be deleted.")
    row = _row(session, role_id)
    had = list(session.scalars(select(Account).where(Account.roles.any(Row.id == role_id))))
    for account in had:
        account.roles = [role for role in account.roles if role.id != role_id]
        outbox.record_account(session, account)
    outbox.record(session, policy.key("role", role_id), None)
    session.delete(row)


def _row(session: Session, role_id: str) -> Row:
    row = session.get(Row, role_id)
    if row is None:
        raise Refusal(404, "There is no role of that id.")
    return row


def _role(row: Row) -> Role:
    return Role(
        id=row.id,
        name=row.name,
        grants=msgspec.convert(row.grants, list[Grant]),
        tools_off=row.tools_off,
        calls_per_minute=row.calls_per_minute,
    )


def _check(asked: NewRole) -> None:
    for place, grant in enumerate(asked.grants):
        if unknown := sorted({*grant.actions} - ACTIONS):
            known = ", ".join(sorted(ACTIONS))
            raise Refusal(400, f"grants[{place}]: there is no action {unknown[0][:40]!r}; there are {known}.")
        if not grant.sources or not grant.actions or not grant.objects:
            raise Refusal(400, f"grants[{place}]: sources, actions and objects are lists of at least one.")
    if len(msgspec.json.encode(asked.grants)) > LONGEST:
        raise Refusal(400, f"The grants of a role have at most {LONGEST} bytes.")
