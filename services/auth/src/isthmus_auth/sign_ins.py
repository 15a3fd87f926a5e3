"""Who somebody is by e-mail address and password, and what follows once that is known, however it was proved."""

import asyncio
from typing import Literal

import msgspec
from litestar.response import Redirect
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth.answers import see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, begin_session, end_session, session_cookie
from isthmus_auth.hashing import verify_password
from isthmus_auth.models import Account
from isthmus_auth.site import Site

ADMIN = "/admin/"


class Denied(Exception):
    """Nobody is signed in."""

    def __init__(self, outcome: Literal["wrong", "too_many"]) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def account_with(site: Site, attempt: AuthEvent, email: str, password: str) -> str:
    """The id of the account that both belong to. Raises Denied, which does not tell which of them was wrong."""
    email = email.strip().lower()
    key = (attempt.address, email)
    if not site.attempts.allow(key):
        if site.attempts.is_first_refused(key):
            await asyncio.to_thread(_note, site, msgspec.structs.replace(attempt, outcome="too_many"))
        raise Denied("too_many")
    async with site.hashing:
        account_id = await asyncio.to_thread(_verified, site, attempt, email, password)
    if account_id is None:
        raise Denied("wrong")
    site.attempts.succeeded(key)
    return account_id


def signed_in(
    session: Session, origins: Origins, browser: Browser, account: Account, attempt: AuthEvent, then: str
) -> Redirect:
    """The one place where anybody gets a session: under an id that nobody has seen before, and on to `then`."""
    note(session, msgspec.structs.replace(attempt, principal=account.id))
    end_session(session, browser)
    return see_other(then, session_cookie(origins, begin_session(session, account).id))


def safe(then: str) -> str:
    """Only our own pages: an address from a request must not lead anywhere else."""
    known = then.startswith(("/authorize?", "/device?")) or then in ("/apps", "/device", "/keys")
    return then if known else ADMIN


def _verified(site: Site, attempt: AuthEvent, email: str, password: str) -> str | None:
    with site.sessions.begin() as session:
        account = session.scalar(select(Account).where(Account.email == email, Account.disabled.is_(False)))
        account_id, stored = (account.id, account.password_hash) if account else ("", None)
    if verify_password(password, stored):  # between two transactions, because it takes its time
        return account_id
    _note(site, msgspec.structs.replace(attempt, outcome="wrong", principal=account_id))
    return None


def _note(site: Site, event: AuthEvent) -> None:
    with site.sessions.begin() as session:
        note(session, event)
