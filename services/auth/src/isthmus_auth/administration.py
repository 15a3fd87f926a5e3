"""Who administrates, and how a change is made: checked, on record, on its way to the gateways before it is answered.

Who calls is an administrator: with a browser session, as in the console, and then what changes anything carries the
session's token in `X-CSRF-Token`; or with an API key of the scope `admin` as bearer token. Every change is one
transaction with its event on the audit trail, and is answered once the gateways have it, or after a second.
"""

import asyncio
import hmac
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from litestar import Request
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
Asking = Request[Any, Any, Any]


async def read(request: Asking, site: Site, work: Work[T]) -> T:
    """What an administrator asks to see. Raises Refusal."""
    caller = _caller(request, site)

    def run() -> T:
        with site.sessions.begin() as session:
            return work(session, _administrator(session, caller))

    return await asyncio.to_thread(run)


async def change(
    request: Asking,
    site: Site,
    action: Literal["create", "update", "delete", "secret"],
    named: Callable[[T], str],
    work: Work[T],
) -> T:
    """Does it, puts it on record, and waits until the gateways know. Raises Refusal."""
    caller, address = _caller(request, site), address_of(request)
    if isinstance(caller, Browser):
        sent = request.headers.get(CSRF_HEADER, "").encode()
        if not hmac.compare_digest(caller.csrf_token.encode(), sent):
            raise Refusal(403, "Send the csrf_token of /api/admin/me as X-CSRF-Token.")

    def run() -> tuple[T, int]:
        with site.sessions.begin() as session:
            by = _administrator(session, caller)
            done = work(session, by)
            note(
                session,
                AuthEvent(event="admin", address=address, principal=by.id, action=action, object=named(done)),
            )
            session.flush()
            return done, last_recorded(session)

    async with site.hashing:  # some of this hashes a password
        done, change = await asyncio.to_thread(run)
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return done


def _caller(request: Asking, site: Site) -> Browser | str:
    """The browser, or the API key that was sent."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else Browser.of(request, site.origins)


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
