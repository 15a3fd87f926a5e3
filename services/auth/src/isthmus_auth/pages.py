"""The pages of sign-in."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from isthmus_auth import passkeys
from isthmus_auth.answers import Refusal, see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import (
    Browser,
    account_of,
    address_of,
    check_form,
    end_session,
    session_cookie,
)
from isthmus_auth.headers import SCRIPTED
from isthmus_auth.login_pages import page_for
from isthmus_auth.models import Account
from isthmus_auth.parameters import Parameters
from isthmus_auth.provider_sign_in import Button, buttons
from isthmus_auth.sign_ins import ADMIN, Denied, account_with, safe, signed_in
from isthmus_auth.site import Site

LONGEST_EMAIL = 320
SIGN_IN = "/sign-in"
DENIALS = {
    "wrong": (403, "The e-mail address or the password is wrong."),
    "too_many": (429, "There were too many attempts. Wait five minutes, then try again."),
}


def sign_in_first(browser: Browser, site: Site, then: str) -> Redirect:
    """To the sign-in page, and from there to where the browser wanted to go."""
    return see_other(f"{SIGN_IN}?{urlencode({'next': then})}", session_cookie(site.origins, browser.id))


@get("/", sync_to_thread=False)
def root() -> Redirect:
    """There is nothing else here."""
    return see_other(ADMIN)


@get(SIGN_IN)
async def show_sign_in(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Template | Redirect:
    """The sign-in form, or the way to the page of the service that somebody wants to go on to."""
    return await asyncio.to_thread(_show_sign_in, site, request)


@post(SIGN_IN)
async def sign_in(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Template | Redirect:
    """Checks e-mail address and password; the answer does not tell which of them was wrong."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    email, then = form.get("email").strip().lower(), safe(form.get("next"))
    attempt = AuthEvent(event="sign_in", address=address_of(request), method="password")
    try:
        account_id = await account_with(site, attempt, email, form.get("password"), browser.devices)
    except Denied as denied:
        status, message = DENIALS[denied.outcome]
        listed = await asyncio.to_thread(_buttons, site, then)
        return _sign_in_page(browser, site, then, listed, email=email, message=message, status=status)
    return await asyncio.to_thread(_signed_in, site, browser, account_id, attempt, then)


@post("/sign-in/passkey")
async def sign_in_with_passkey(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Template | Redirect:
    """Checks the answer of a passkey."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    attempt = AuthEvent(event="sign_in", address=address_of(request), method="passkey")
    return await asyncio.to_thread(_with_passkey, site, browser, form, attempt)


@post("/sign-out", sync_to_thread=True)
def sign_out(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Redirect:
    """Ends the browser's session."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    with site.sessions.begin() as session:
        if (account := account_of(session, browser)) is not None:
            note(session, AuthEvent(event="sign_out", address=address_of(request), principal=account.id))
        end_session(session, browser)
    return see_other(f"{SIGN_IN}?{urlencode({'next': ADMIN})}", session_cookie(site.origins, ""))


def _show_sign_in(site: Site, request: Request[Any, Any, Any]) -> Template | Redirect:
    then = safe(Parameters.parse(request.scope["query_string"]).get("next"))
    with site.sessions.begin() as session:
        if (elsewhere := page_for(session, site, request, then)) is not None:
            return elsewhere
        listed = buttons(session, {"next": then})
    hint = Parameters.parse(then.partition("?")[2].encode()).get("login_hint")[:LONGEST_EMAIL]
    return _sign_in_page(Browser.of(request, site.origins), site, then, listed, email=hint)


def _buttons(site: Site, then: str) -> list[Button]:
    with site.sessions.begin() as session:
        return buttons(session, {"next": then})


def _signed_in(site: Site, browser: Browser, account_id: str, attempt: AuthEvent, then: str) -> Redirect:
    with site.sessions.begin() as session:
        return signed_in(session, site, browser, session.get_one(Account, account_id), attempt, then)


def _with_passkey(site: Site, browser: Browser, form: Parameters, attempt: AuthEvent) -> Template | Redirect:
    then = safe(form.get("next"))
    with site.sessions.begin() as session:
        try:
            answer = form.get("credential"), form.get("challenge")
            account = passkeys.verified(session, site.sealing, site.origins, browser, answer)
        except Refusal as refusal:
            note(session, msgspec.structs.replace(attempt, outcome="wrong"))
            listed = buttons(session, {"next": then})
            message, status = str(refusal.detail), refusal.status_code
            return _sign_in_page(browser, site, then, listed, message=message, status=status)
        return signed_in(session, site, browser, account, attempt, then)


def _sign_in_page(
    browser: Browser,
    site: Site,
    then: str,
    listed: list[Button],
    *,
    email: str = "",
    message: str = "",
    status: int = 200,
) -> Template:
    possible = passkeys.possible(site.origins)
    passkey = passkeys.to_sign_in(site.sealing, site.origins, browser) if possible else None
    context = {
        "csrf_token": browser.csrf_token,
        "next": then,
        "email": email,
        "message": message,
        "passkey": passkey,
        "providers": listed,
    }
    cookies = [session_cookie(site.origins, browser.id)]
    return Template("sign_in.html", context=context, cookies=cookies, status_code=status, headers=SCRIPTED)
