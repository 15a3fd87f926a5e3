"""Browsers that are signed in, as administrators see them and sign them out."""

import time

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus_auth.answers import Refusal
from isthmus_auth.authorizations import sign_out
from isthmus_auth.models import Account, BrowserSession


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that somebody is signed in with."""

    id: str
    """Names the session, and is no secret of it."""
    account_id: str
    email: str
    method: str
    """How they signed in: `password`, `passkey`, `custom_page`, or `provider:<name>`."""
    address: str
    agent: str
    """What the browser calls itself."""
    began_at: int
    expires_at: int
    """Seconds since the epoch, as `began_at`."""


def find(session: Session, text: str, after: str, limit: int) -> list[SignedIn]:
    """Those that hold, in order of their ids, after one of them; only of people with the text in their e-mail address,
    or from where it is the address."""
    statement = (
        select(BrowserSession)
        .join(Account, BrowserSession.account_id == Account.id)
        .where(
            BrowserSession.step == "",
            BrowserSession.expires_at > int(time.time()),
            BrowserSession.id_hash > after,
        )
    )
    if text:
        of_person = Account.email.contains(text.lower(), autoescape=True)
        statement = statement.where(of_person | (BrowserSession.address == text))
    return [_signed_in(row) for row in session.scalars(statement.order_by(BrowserSession.id_hash).limit(limit))]


def end(session: Session, session_id: str) -> None:
    """Signs the browser out. Raises Refusal."""
    row = session.get(BrowserSession, session_id)
    if row is None:
        raise Refusal(404, "There is no such session, or it is over.")
    sign_out(session, BrowserSession.id_hash == row.id_hash)


def _signed_in(row: BrowserSession) -> SignedIn:
    return SignedIn(
        id=row.id_hash,
        account_id=row.account_id,
        email=row.account.email or "",
        method=row.method,
        address=row.address,
        agent=row.agent,
        began_at=row.began_at,
        expires_at=row.expires_at,
    )
