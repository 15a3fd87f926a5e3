"""The life of an authorization: granted, renewed, revoked, forgotten. Each step is told to the gateways."""

import time

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus_auth import outbox
from isthmus_auth.hashing import random_id
from isthmus_auth.models import (
    Account,
    ApiKey,
    Authorization,
    BrowserSession,
    Client,
    DeviceRequest,
    Revocation,
    Service,
    SignIn,
    UsedAssertion,
    account_roles,
)
from isthmus_auth.requested import Resource
from isthmus_auth.signing import LONGEST_ACCESS

CODE_LIFETIME = 60
"""Seconds that an authorization code is valid."""

MOST_FORGOTTEN = 1000
"""Unused clients that go at a time."""
UNUSED = 30 * 24 * 3600
"""Seconds after which a client that registered itself goes, if nobody uses it."""


def grant(
    session: Session, client: Client, account_id: str, resource: Resource, scope: str, sources: list[str]
) -> Authorization:
    """A new session of the client, with the account's consent."""
    now = int(time.time())
    authorization = Authorization(
        sid=random_id(),
        client_id=client.client_id,
        account_id=account_id,
        namespace=resource.namespace,
        resource=resource.url,
        scope=scope,
        sources=sources,
        created_at=now,
        expires_at=now,
    )
    session.add(authorization)
    renew(session, authorization, client)
    return authorization


def renew(session: Session, authorization: Authorization, client: Client) -> None:
    """Lets the authorization live as long as the tokens that can be issued now."""
    service = session.get_one(Service, authorization.namespace)
    refreshes = client.check_grant_type("refresh_token")
    once = CODE_LIFETIME + service.access_lifetime + policy.CLOCK_LEEWAY
    lifetime = max(once, service.refresh_lifetime) if refreshes else once
    authorization.expires_at = int(time.time()) + lifetime
    shared = policy.Consent(tuple(authorization.sources))
    outbox.record(session, policy.key("consent", authorization.sid), shared, authorization.expires_at)


def latest(session: Session, client: Client, account_id: str, namespace: str) -> Authorization | None:
    """What the account allowed this client the last time, as long as it holds."""
    return session.scalars(
        select(Authorization)
        .where(
            Authorization.client_id == client.client_id,
            Authorization.account_id == account_id,
            Authorization.namespace == namespace,
            Authorization.revoked_at.is_(None),
            Authorization.expires_at > int(time.time()),
        )
        .order_by(Authorization.created_at.desc(), Authorization.expires_at.desc())
        .limit(1)
    ).first()


def revoke(session: Session, authorization: Authorization) -> None:
    """Ends the authorization: no token of it is valid any more."""
    now = int(time.time())
    if authorization.revoked_at is not None:
        return
    authorization.revoked_at = now
    key = policy.key("revoked", "session", authorization.sid)
    before, expires_at = now + 1, now + LONGEST_ACCESS + policy.CLOCK_LEEWAY
    session.merge(Revocation(key=key, before=before, expires_at=expires_at))
    outbox.record(session, key, policy.Revoked(before), expires_at)
    outbox.record(session, policy.key("consent", authorization.sid), None)


def sign_out(session: Session, *which: ColumnElement[bool]) -> None:
    """Ends browser sessions, and with them what the console could do in each."""
    ending = select(BrowserSession.id_hash).where(*which)
    of_console = Authorization.browser.in_(ending), Authorization.revoked_at.is_(None)
    for authorization in list(session.scalars(select(Authorization).where(*of_console))):
        revoke(session, authorization)
    session.execute(delete(BrowserSession).where(*which))


def forget_expired(session: Session) -> None:
    """Deletes what no longer matters: codes and refresh tokens go with their authorization, and clients that nobody
    set up when nobody has used them for long."""
    now = int(time.time())
    for table in (ApiKey, Authorization, BrowserSession, DeviceRequest, Revocation, SignIn, UsedAssertion):
        session.execute(delete(table).where(table.expires_at < now))
    unused = select(Client.client_id).where(
        Client.namespace.is_(None),
        Client.created_at < now - UNUSED,
        Client.client_id.startswith("c_", autoescape=True) | Client.fresh_until.is_not(None),
        Client.client_id.not_in(select(Authorization.client_id)),
        Client.client_id.not_in(select(account_roles.c.account_id)),
        Client.client_id.not_in(select(ApiKey.account_id)),
    )
    for client_id in list(session.scalars(unused.limit(MOST_FORGOTTEN))):
        session.execute(delete(Client).where(Client.client_id == client_id))
        if (account := session.get(Account, client_id)) is not None:
            outbox.record(session, policy.key("user", client_id), None)
            session.delete(account)
