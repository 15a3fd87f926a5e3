"""Who somebody is by e-mail address and password, and what follows once that is known, however it was proved."""

import asyncio
from typing import Literal

import msgspec
from litestar.response import Redirect
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth.answers import see_other
from isthmus_auth.attempts import network_of
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, begin_session, end_session, session_cookie
from isthmus_auth.devices import device_of, known_from_now_on
from isthmus_auth.hashing import verify_password
from isthmus_auth.models import Account
from isthmus_auth.redirects import is_at_home
from isthmus_auth.site import Site

ADMIN = "/admin/"
BY_PASSWORD = ("password", "custom_page")


class Denied(Exception):
    """Nobody is signed in."""

    def __init__(self, outcome: Literal["wrong", "too_many"]) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def account_with(site: Site, attempt: AuthEvent, email: str, password: str, devices: str = "") -> str:
    """The id of the account that both belong to. Raises Denied, which does not tell which of them was wrong.

    `devices` is what the browser says of the accounts that know it.
    """
    email = email.strip().lower()
    device = await asyncio.to_thread(_device, site, email, devices) if devices else ""
    key = (network_of(attempt.address), email, device)
    if not site.attempts.allow(*key):
        if site.attempts.is_first_refused(*key):
            await asyncio.to_thread(_note, site, msgspec.structs.replace(attempt, outcome="too_many"))
        raise Denied("too_many")
    async with site.hashing:
        account_id = await asyncio.to_thread(_verified, site, attempt, email, password)
    if account_id is None:
        raise Denied("wrong")
    site.attempts.succeeded(*key)
    return account_id


def signed_in(
    session: Session, site: Site, browser: Browser, account: Account, attempt: AuthEvent, then: str
) -> Redirect:
    """The one place where anybody gets a session: under an id that nobody has seen before, and on to `then`, or to what
    is still to be done before."""
    return go_on(session, site, browser, account, attempt, then, next_step(site.origins, account, attempt.method))


def go_on(
    session: Session, site: Site, browser: Browser, account: Account, attempt: AuthEvent, then: str, step: str
) -> Redirect:
    """On to a step, or, if there is none left, to where the browser wanted to go, signed in."""
    end_session(session, browser)
    session.flush()
    begun = begin_session(session, account, browser, attempt.address, attempt.method, step, then if step else "")
    cookie = session_cookie(site.origins, begun.id)
    if step:
        return see_other(f"/sign-in/{step}", cookie)
    note(session, msgspec.structs.replace(attempt, principal=account.id))
    return see_other(then, cookie, known_from_now_on(site.sealing, site.origins, account, browser.devices))


def next_step(origins: Origins, account: Account, method: str, done: str = "") -> str:
    """What is to be done before somebody is signed in, once the step `done` is: `code`, `password`, or nothing.

    A passkey is two factors by itself, and what a provider asks for is its own matter. A password that somebody else
    knows does only for a server that nobody else can reach.
    """
    if method not in BY_PASSWORD:
        return ""
    if account.totp_secret is not None and not done:
        return "code"
    if account.must_change_password and not is_at_home(origins.issuer) and done != "password":
        return "password"
    return ""


def safe(then: str) -> str:
    """Only our own pages: an address from a request must not lead anywhere else."""
    known = then.startswith(("/authorize?", "/device?", ADMIN)) or then in ("/account", "/apps", "/device", "/keys")
    return then if known else ADMIN


def _device(site: Site, email: str, devices: str) -> str:
    with site.sessions.begin() as session:
        account = session.scalar(select(Account).where(Account.email == email))
        return device_of(site.sealing, account, devices) if account else ""


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
