"""What people have allowed to clients, as administrators see and end it."""

import time

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from isthmus_auth.answers import Refusal
from isthmus_auth.authorizations import revoke
from isthmus_auth.models import Account, Authorization, Client


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """A session of a client, for somebody."""

    sid: str
    """As in its tokens."""
    account_id: str
    owner: str
    """The same for people to read: an e-mail address, or a client id."""
    client_id: str
    client_name: str
    namespace: str
    scope: str
    sources: list[str]
    created_at: int
    expires_at: int
    """Seconds since the epoch, as `created_at`; tokens that are renewed put it off."""


def find(session: Session, account_id: str, client_id: str, after: str, limit: int, text: str = "") -> list[Allowed]:
    """Those that hold, in order of their `sid`, after one of them; of an account, of a client, or of all; only those
    with the text in the name of the client, its id, or that of the owner."""
    live = Authorization.revoked_at.is_(None), Authorization.expires_at > int(time.time()), Authorization.sid > after
    statement = select(Authorization).where(*live)
    if account_id:
        statement = statement.where(Authorization.account_id == account_id)
    if client_id:
        statement = statement.where(Authorization.client_id == client_id)
    if text:
        columns = Client.name, Client.client_id, Account.id, Account.email
        found = (column.icontains(text, autoescape=True) for column in columns)
        statement = statement.join(Authorization.client).join(Authorization.account).where(or_(*found))
    return [_allowed(row) for row in session.scalars(statement.order_by(Authorization.sid).limit(limit))]


def end(session: Session, sid: str) -> None:
    """No token of it is valid any more. Raises Refusal."""
    row = session.get(Authorization, sid, with_for_update=True)
    if row is None or row.revoked_at is not None:
        raise Refusal(404, "There is no consent of that sid, or it was ended already.")
    revoke(session, row)


def _allowed(row: Authorization) -> Allowed:
    return Allowed(
        sid=row.sid,
        account_id=row.account_id,
        owner=row.account.email or row.account_id,
        client_id=row.client_id,
        client_name=row.client.name,
        namespace=row.namespace,
        scope=row.scope,
        sources=row.sources,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
