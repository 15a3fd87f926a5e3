"""Who administrates, and how a change is made: checked, on record, on its way to the gateways before it is answered.

Who asks is an administrator: with a browser session, as in the console, and then what changes anything carries the
session's token, in `X-CSRF-Token` or in a form of the console; or with an API key of the scope `admin` as bearer token.
Every change is one transaction with its event on the audit trail, and is answered once the gateways have it, or after a
second.
"""

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from litestar import Request
from litestar.di import NamedDependency
from sqlalchemy.orm import Session

from isthmus_auth import api_keys
from isthmus_auth.answers import Refusal
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, account_of, address_of
from isthmus_auth.models import Account
from isthmus_auth.outbox import last_recorded
from isthmus_auth.site import Site

CSRF_HEADER = "x-csrf-token"
MOST = 200
"""Lines of a page."""
PUBLISHED_WITHIN = 1.0

T = TypeVar("T")
Work = Callable[[Session, Account], T]


@dataclass(frozen=True, slots=True)
class Asking:
    """One request of somebody who says that they administrate."""

    site: Site
    caller: Browser | str
    """The browser, or the API key that was sent."""
    address: str
    intended: bool
    """Whether it proves to be no forgery (CSRF): nothing is changed without."""

    async def read(self, work: Work[T]) -> T:
        """What an administrator asks to see. Raises Refusal."""

        def run() -> T:
            with self.site.sessions.begin() as session:
                return work(session, _administrator(session, self.caller))

        return await asyncio.to_thread(run)

    async def suppose(self, work: Work[T]) -> T:
        """What would be if it were done; nothing of it stays. Raises Refusal."""

        def run() -> T:
            with self.site.sessions() as session:
                try:
                    return work(session, _administrator(session, self.caller))
                finally:
                    session.rollback()

        return await asyncio.to_thread(run)

    async def change(
        self, action: Literal["create", "update", "delete", "secret"], named: Callable[[T], str], work: Work[T]
    ) -> T:
        """Does it, puts it on record, and waits until the gateways know. Raises Refusal."""
        if not self.intended:
            raise Refusal(403, "Send the csrf_token of /api/admin/me as X-CSRF-Token.")

        def run() -> tuple[T, int]:
            with self.site.sessions.begin() as session:
                by = _administrator(session, self.caller)
                done = work(session, by)
                event = AuthEvent(
                    event="admin", address=self.address, principal=by.id, action=action, object=named(done)
                )
                note(session, event)
                session.flush()
                return done, last_recorded(session)

        async with self.site.hashing:  # some of this hashes a password
            done, change = await asyncio.to_thread(run)
        if change:
            await self.site.publisher.wait_for(change, PUBLISHED_WITHIN)
        return done


def of_program(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Asking:
    """Who asks the API."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return Asking(site, token.strip(), address_of(request), intended=True)
    browser = Browser.of(request, site.origins)
    sent = request.headers.get(CSRF_HEADER, "").encode()
    intended = hmac.compare_digest(browser.csrf_token.encode(), sent)
    return Asking(site, browser, address_of(request), intended)


def _administrator(session: Session, caller: Browser | str) -> Account:
    if isinstance(caller, str):
        account = api_keys.administrator(session, caller)
        if account is None:
            raise Refusal(401, "This is no API key of the scope admin, or not any more.")
    else:
        account = account_of(session, caller)
    if account is None:
        raise Refusal(401, "Sign in first.")
    if not account.is_admin:
        raise Refusal(403, "This is for administrators.")
    return account
