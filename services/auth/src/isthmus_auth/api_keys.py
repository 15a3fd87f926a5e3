"""API keys: bearer tokens that a person or a client that acts for itself keeps, narrow and not for ever.

A key is shown once and stored as its digest, which is also what the gateways know it by.
"""

import time
from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus.policy import KEY_PREFIX
from isthmus.scopes import is_scope
from isthmus_auth import outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.hashing import digest, random_id, random_secret
from isthmus_auth.models import Account, Service
from isthmus_auth.models import ApiKey as Row
from isthmus_auth.outbox import key_entry

ADMIN = "admin"
"""The scope of the admin REST API: not one of tools, and worth nothing to whoever is no administrator."""

LONGEST_DAYS = 366
MOST = 100
"""Keys of one account."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Scopes = Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(min_length=1, max_length=50)]
Globs = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=100)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without what is secret about it."""

    id: str
    name: str
    account_id: str
    """Whose it is: as `sub` in tokens."""
    owner: str
    """The same for people to read: an e-mail address, or a client id."""
    namespace: str
    """The MCP service that it is for."""
    scopes: list[str]
    sources: list[str]
    """Globs over `<kind>.<source>`: what of their own the account shares with whoever has the key."""
    created_at: int
    expires_at: int
    """Seconds since the epoch, as `created_at`."""


class NewApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Name
    account_id: Annotated[str, Meta(max_length=255)] | None = None
    """Null: one's own."""
    namespace: Annotated[str, Meta(max_length=64)] | None = None
    """Null: the default service."""
    scopes: Scopes
    sources: Globs = msgspec.field(default_factory=lambda: ["**"])
    days: Annotated[int, Meta(ge=1, le=LONGEST_DAYS)] = 90


class MadeApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A new key; `secret` is the bearer token, shown this once."""

    key: ApiKey
    secret: str


def find(session: Session, account_id: str, after: str, limit: int, text: str = "") -> list[ApiKey]:
    """Keys in order of their ids, after one of them; of one account, or of all if that is empty; only those with the
    text in their name, their id or that of their owner."""
    statement = select(Row).where(Row.id > after)
    if account_id:
        statement = statement.where(Row.account_id == account_id)
    if text:
        columns = Row.name, Row.id, Row.account_id, Account.email
        found = (column.icontains(text, autoescape=True) for column in columns)
        statement = statement.join(Account, Row.account_id == Account.id).where(or_(*found))
    return [_key(row) for row in session.scalars(statement.order_by(Row.id).limit(limit))]


def create(session: Session, by: Account, asked: NewApiKey) -> MadeApiKey:
    """Makes a key. Raises Refusal."""
    account = by if asked.account_id is None else session.get(Account, asked.account_id)
    if account is None:
        raise Refusal(400, "There is no account of that id.")
    if strange := [scope for scope in asked.scopes if not is_scope(scope) and scope != ADMIN]:
        raise Refusal(400, f"There is no scope {strange[0][:40]!r}.")
    if ADMIN in asked.scopes and not (account.id == by.id and by.is_admin):
        raise Refusal(403, f"Only administrators have keys with the scope {ADMIN}, each for themselves.")
    wanted = Service.is_default if asked.namespace is None else Service.namespace == asked.namespace
    service = session.scalar(select(Service).where(wanted))
    if service is None:
        raise Refusal(400, "There is no MCP service of that namespace.")
    if (session.scalar(select(func.count()).where(Row.account_id == account.id)) or 0) >= MOST:
        raise Refusal(409, f"There are {MOST} keys of this account already; delete one first.")
    now, secret = int(time.time()), KEY_PREFIX + random_secret()
    row = Row(
        id=f"k_{random_id()}",
        secret_hash=digest(secret),
        account_id=account.id,
        name=asked.name,
        namespace=service.namespace,
        scopes=list(dict.fromkeys(asked.scopes)),
        sources=asked.sources,
        created_at=now,
        expires_at=now + asked.days * 24 * 3600,
    )
    session.add(row)
    session.flush()
    # What is shared goes first, so that no gateway knows the key without it.
    outbox.record(session, policy.key("consent", row.id), policy.Consent(tuple(row.sources)), row.expires_at)
    outbox.record(session, policy.key("key", row.secret_hash), key_entry(row), row.expires_at)
    return MadeApiKey(key=_key(row), secret=secret)


def remove(session: Session, key_id: str, account_id: str | None = None) -> None:
    """Ends a key, of this account if one is given; gateways refuse it from then on. Raises Refusal."""
    row = session.get(Row, key_id)
    if row is None or account_id not in (None, row.account_id):
        raise Refusal(404, "There is no key of that id.")
    forget(session, row)
    session.delete(row)


def remove_of(session: Session, account_id: str) -> None:
    """Ends all keys of an account that is about to be deleted."""
    for row in session.scalars(select(Row).where(Row.account_id == account_id)):
        forget(session, row)
        session.delete(row)


def forget(session: Session, row: Row) -> None:
    """Tells the gateways that the key is no more."""
    outbox.record(session, policy.key("key", row.secret_hash), None)
    outbox.record(session, policy.key("consent", row.id), None)


def administrator(session: Session, secret: str) -> Account | None:
    """Who administrates with this key; None: it is not good for that."""
    row = session.scalar(select(Row).where(Row.secret_hash == digest(secret)))
    if row is None or row.expires_at <= time.time() or ADMIN not in row.scopes or row.account.disabled:
        return None
    return row.account


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        account_id=row.account_id,
        owner=row.account.email or row.account_id,
        namespace=row.namespace,
        scopes=row.scopes,
        sources=row.sources,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
