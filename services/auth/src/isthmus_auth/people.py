"""People: who there is, what roles and attributes they have; made, changed and deleted by administrators."""

import re
import time
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, object_session

from isthmus import policy
from isthmus_auth import api_keys, outbox, totp
from isthmus_auth.answers import Refusal
from isthmus_auth.authorizations import sign_out
from isthmus_auth.hashing import hash_password, random_id, random_secret
from isthmus_auth.models import Account, Authorization, BrowserSession, Passkey, Revocation, Role
from isthmus_auth.signing import LONGEST_ACCESS

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 1000
LONGEST_EMAIL = 320
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")

Email = Annotated[str, Meta(min_length=3, max_length=LONGEST_EMAIL)]
Password = Annotated[str, Meta(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
Words = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=100)]
Attributes = Annotated[
    dict[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Annotated[str, Meta(max_length=1000)]],
    Meta(max_length=50),
]


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """An account of a person."""

    id: str
    """As `sub` in access tokens."""
    email: str
    roles: list[str]
    attributes: dict[str, str]
    """What row filters may name as `{user.<attribute>}`."""
    is_admin: bool
    disabled: bool
    must_change_password: bool
    """Whether somebody else knows the password."""
    has_totp: bool
    """Whether a code is asked for after the password."""
    passkeys: int
    created_at: int
    """Seconds since the epoch."""


class NewPerson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to make an account for."""

    email: Email
    password: Password | None = None
    """Left out: one is made up, and in the answer."""
    roles: Words = []
    attributes: Attributes = {}
    is_admin: bool = False


class MadePerson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The new account."""

    person: Person
    password: str | None = None
    """Shown this once, if it was made up."""


class PersonChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be another; what is left out stays."""

    email: Email | msgspec.UnsetType = msgspec.UNSET
    password: Password | msgspec.UnsetType = msgspec.UNSET
    roles: Words | msgspec.UnsetType = msgspec.UNSET
    attributes: Attributes | msgspec.UnsetType = msgspec.UNSET
    is_admin: bool | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


def find(session: Session, text: str, after: str, limit: int) -> list[Person]:
    """People in order of their e-mail addresses, after one of them; only those with the text in it."""
    statement = select(Account).where(Account.email.is_not(None), Account.email > after)
    if text:
        statement = statement.where(Account.email.contains(text.lower(), autoescape=True))
    return [_person(account) for account in session.scalars(statement.order_by(Account.email).limit(limit))]


def get(session: Session, person_id: str) -> Person:
    """Raises Refusal."""
    return _person(_account(session, person_id))


def create(session: Session, asked: NewPerson) -> MadePerson:
    """Makes an account. Raises Refusal."""
    password = asked.password or random_secret()
    account = Account(
        id=f"u_{random_id()}",
        email=_free_email(session, asked.email),
        password_hash=hash_password(password),
        must_change_password=True,
        is_admin=asked.is_admin,
        disabled=False,
        attributes=asked.attributes,
        created_at=int(time.time()),
        roles=roles_of(session, asked.roles),
    )
    session.add(account)
    outbox.record_account(session, account)
    return MadePerson(person=_person(account), password=None if asked.password else password)


def change(session: Session, by: Account, person_id: str, asked: PersonChange) -> Person:
    """Changes an account. Nobody changes their own roles, attributes and rights; one administrator always remains.

    Raises Refusal.
    """
    account = _account(session, person_id)
    of_rights = (asked.roles, asked.attributes, asked.is_admin, asked.disabled)
    if account.id == by.id and any(field is not msgspec.UNSET for field in of_rights):
        raise Refusal(403, "Nobody may change their own roles, attributes or rights; ask another administrator.")
    if asked.email is not msgspec.UNSET and asked.email.strip().lower() != account.email:
        account.email = _free_email(session, asked.email)
    if asked.roles is not msgspec.UNSET:
        account.roles = roles_of(session, asked.roles)
    if asked.attributes is not msgspec.UNSET:
        account.attributes = asked.attributes
    if asked.is_admin is not msgspec.UNSET:
        account.is_admin = asked.is_admin
    if asked.disabled is not msgspec.UNSET:
        account.disabled = asked.disabled
    if asked.password is not msgspec.UNSET:
        account.password_hash = hash_password(asked.password)
        account.must_change_password = account.id != by.id
    if asked.password is not msgspec.UNSET or account.disabled:
        sign_out(session, BrowserSession.account_id == account.id)
    _check_administrators(session)
    outbox.record_account(session, account)
    return _person(account)


def remove(session: Session, by: Account, person_id: str) -> None:
    """Deletes an account with all that it allowed; no token of it is valid any more. Raises Refusal."""
    account = _account(session, person_id)
    if account.id == by.id:
        raise Refusal(403, "Nobody may delete themselves; ask another administrator.")
    for sid in session.scalars(select(Authorization.sid).where(Authorization.account_id == account.id)):
        outbox.record(session, policy.key("consent", sid), None)
    now = int(time.time())
    key = policy.key("revoked", "user", account.id)
    before, expires_at = now + 1, now + LONGEST_ACCESS + policy.CLOCK_LEEWAY
    session.merge(Revocation(key=key, before=before, expires_at=expires_at))
    outbox.record(session, key, policy.Revoked(before), expires_at)
    api_keys.remove_of(session, account.id)
    outbox.record(session, policy.key("user", account.id), None)
    session.delete(account)
    session.flush()
    _check_administrators(session)


def remove_factors(session: Session, by: Account, person_id: str) -> Person:
    """Takes authenticator app, recovery codes and passkeys away, and ends all sessions in browsers. Raises Refusal."""
    account = _account(session, person_id)
    if account.id == by.id:
        raise Refusal(403, "Take your own away at /account, with your password.")
    totp.turn_off(session, account)
    session.execute(delete(Passkey).where(Passkey.account_id == account.id))
    sign_out(session, BrowserSession.account_id == account.id)
    return _person(account)


def _account(session: Session, person_id: str) -> Account:
    account = session.get(Account, person_id)
    if account is None or account.email is None:
        raise Refusal(404, "There is no person of that id.")
    return account


def _person(account: Account) -> Person:
    session = object_session(account)
    keys = session.scalar(select(func.count()).where(Passkey.account_id == account.id)) if session else 0
    return Person(
        id=account.id,
        email=account.email or "",
        roles=[role.id for role in account.roles],
        attributes=account.attributes,
        is_admin=account.is_admin,
        disabled=account.disabled,
        must_change_password=account.must_change_password,
        has_totp=account.totp_secret is not None,
        passkeys=keys or 0,
        created_at=account.created_at,
    )


def clean_email(asked: str) -> str:
    """An e-mail address as it is stored. Raises Refusal."""
    email = asked.strip().lower()
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email) or not email.isprintable():
        raise Refusal(400, "That is no e-mail address.")
    return email


def _free_email(session: Session, asked: str) -> str:
    email = clean_email(asked)
    if session.scalar(select(Account.id).where(Account.email == email)) is not None:
        raise Refusal(409, "Somebody has that e-mail address already.")
    return email


def roles_of(session: Session, wanted: list[str]) -> list[Role]:
    """The roles of these ids. Raises Refusal."""
    roles = list(session.scalars(select(Role).where(Role.id.in_(wanted))))
    if unknown := sorted({*wanted} - {role.id for role in roles}):
        raise Refusal(400, f"There is no role {unknown[0]}.")
    return roles


def _check_administrators(session: Session) -> None:
    session.flush()
    left = select(func.count()).where(Account.is_admin, Account.disabled.is_(False), Account.email.is_not(None))
    if not session.scalar(left):
        raise Refusal(409, "At least one administrator must remain.")
