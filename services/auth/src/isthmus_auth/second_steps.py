"""What may still be to be done after the password: a code of an authenticator app, or another password.

Until then the browser's session signs nobody in; afterwards it is another one, with an id of its own.
"""

import asyncio
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy.orm import Session

from isthmus_auth import passwords, totp
from isthmus_auth.answers import Refusal, see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, address_of, check_form, session_at
from isthmus_auth.models import BrowserSession
from isthmus_auth.parameters import Parameters
from isthmus_auth.sign_ins import ADMIN, go_on, next_step
from isthmus_auth.site import Site

CODE, PASSWORD = "/sign-in/code", "/sign-in/password"
TOO_LATE = "This took too long. Sign in again."


@get([CODE, PASSWORD])
async def show_step(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Template | Redirect:
    """Asks for what is still to be done."""
    return await asyncio.to_thread(_show, site, Browser.of(request, site.origins), _step(request))


def _show(site: Site, browser: Browser, step: str) -> Template | Redirect:
    with site.sessions.begin() as session:
        row = session_at(session, browser, step)
        return _page(browser, row) if row else see_other("/sign-in")


@post([CODE, PASSWORD])
async def take_step(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Template | Redirect:
    """Takes it; the last step signs in."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    take = _take_code if _step(request) == "code" else _take_password
    async with site.hashing:
        return await asyncio.to_thread(take, site, browser, form, address_of(request))


def _take_code(site: Site, browser: Browser, form: Parameters, address: str) -> Template | Redirect:
    with site.sessions.begin() as session:
        row = session_at(session, browser, "code")
        if row is None:
            return see_other("/sign-in")
        if not site.codes.allow(("totp", row.account_id)):
            return _page(browser, row, "There were too many attempts. Wait five minutes, then try again.", 429)
        session.refresh(row.account, with_for_update=True)  # of two that send one code at once, one is later
        if not totp.accept(session, site.sealing, row.account, form.get("code")[:40]):
            note(session, msgspec.structs.replace(_event(row, address), outcome="wrong_code"))
            return _page(browser, row, "The code is wrong, or was used already.", 403)
        site.codes.succeeded(("totp", row.account_id))
        return _go_on(site, session, browser, row, address, "code")


def _take_password(site: Site, browser: Browser, form: Parameters, address: str) -> Template | Redirect:
    with site.sessions.begin() as session:
        row = session_at(session, browser, "password")
        if row is None:
            return see_other("/sign-in")
        try:
            passwords.change(session, row.account, form.get("new_password"), form.get("repeated"), keep=browser)
        except Refusal as refusal:
            return _page(browser, row, str(refusal.detail), refusal.status_code)
        event = AuthEvent(event="factor", address=address, principal=row.account_id, action="update", object="password")
        note(session, event)
        return _go_on(site, session, browser, row, address, "password")


def _go_on(site: Site, session: Session, browser: Browser, row: BrowserSession, address: str, done: str) -> Redirect:
    step = next_step(site.origins, row.account, row.method, done)
    return go_on(session, site, browser, row.account, _event(row, address), row.then or ADMIN, step)


def _event(row: BrowserSession, address: str) -> AuthEvent:
    return AuthEvent(event="sign_in", address=address, principal=row.account_id, method=row.method)


def _step(request: Request[Any, Any, Any]) -> str:
    return request.url.path.rpartition("/")[2]


def _page(browser: Browser, row: BrowserSession, message: str = "", status: int = 200) -> Template:
    context = {"csrf_token": browser.csrf_token, "email": row.account.email, "message": message}
    return Template(f"step_{row.step}.html", context=context, status_code=status)
