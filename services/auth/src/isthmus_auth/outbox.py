"""Policy on its way to the bus: what every entry should be, and the changes not yet published."""

import time

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus.grants import Grant
from isthmus_auth.models import Account, ApiKey, Authorization, Outbox, Revocation, Role, Service

_RECORDED = "isthmus_recorded"


class Entry(msgspec.Struct, frozen=True):
    """One entry of the policy bucket."""

    value: bytes
    expires_at: int | None = None
    """Seconds since the epoch; None: it stays."""


def record(session: Session, key: str, value: msgspec.Struct | None, expires_at: int | None = None) -> None:
    """Notes a change in the same transaction; None deletes the entry."""
    row = Outbox(key=key, value=None if value is None else msgspec.json.encode(value), expires_at=expires_at)
    session.add(row)
    session.info.setdefault(_RECORDED, []).append(row)


def record_account(session: Session, account: Account) -> None:
    """Notes that an account is new, or not what it was."""
    session.flush()
    record(session, policy.key("user", account.id), user_entry(account))


def last_recorded(session: Session) -> int:
    """The id of the last change that this session noted; 0: none."""
    rows: list[Outbox] = session.info.get(_RECORDED, [])
    return rows[-1].id if rows else 0


def current_entries(session: Session) -> dict[str, Entry]:
    """All that the bucket should hold now, but for the signing keys."""
    now = int(time.time())
    entries: dict[str, Entry] = {}
    for service in session.scalars(select(Service)):
        entries[policy.key("service", service.namespace)] = _entry(service_entry(service))
    for role in session.scalars(select(Role)):
        entries[policy.key("role", role.id)] = _entry(role_entry(role))
    for account in session.scalars(select(Account)):
        entries[policy.key("user", account.id)] = _entry(user_entry(account))
    live = select(Authorization).where(Authorization.revoked_at.is_(None), Authorization.expires_at > now)
    for authorization in session.scalars(live):
        shared = policy.Consent(tuple(authorization.sources))
        entries[policy.key("consent", authorization.sid)] = _entry(shared, authorization.expires_at)
    for row in session.scalars(select(ApiKey).where(ApiKey.expires_at > now)):
        entries[policy.key("consent", row.id)] = _entry(policy.Consent(tuple(row.sources)), row.expires_at)
        entries[policy.key("key", row.secret_hash)] = _entry(key_entry(row), row.expires_at)
    for revocation in session.scalars(select(Revocation).where(Revocation.expires_at > now)):
        entries[revocation.key] = _entry(policy.Revoked(revocation.before), revocation.expires_at)
    return entries


def _entry(value: msgspec.Struct, expires_at: int | None = None) -> Entry:
    return Entry(msgspec.json.encode(value), expires_at)


def service_entry(row: Service) -> policy.Service:
    """What gateways hear of a service."""
    return policy.Service(
        namespace=row.namespace,
        label=row.label,
        description=row.description,
        default=row.is_default,
        sources=tuple(row.sources),
        roles=tuple(row.roles),
        scopes=tuple(row.scopes),
    )


def key_entry(row: ApiKey) -> policy.ApiKey:
    """What gateways hear of an API key."""
    return policy.ApiKey(row.id, row.account_id, row.namespace, " ".join(row.scopes), row.created_at, row.expires_at)


def role_entry(row: Role) -> policy.Role:
    """What gateways hear of a role."""
    return policy.Role(
        id=row.id,
        name=row.name,
        grants=msgspec.convert(row.grants, tuple[Grant, ...]),
        tools_off=tuple(row.tools_off),
        calls_per_minute=row.calls_per_minute,
    )


def user_entry(row: Account) -> policy.User:
    """What gateways hear of an account."""
    attributes = {**row.attributes, "email": row.email} if row.email else dict(row.attributes)
    return policy.User(
        id=row.id, roles=tuple(role.id for role in row.roles), attributes=attributes, disabled=row.disabled
    )
