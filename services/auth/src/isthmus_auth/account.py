"""The page of one's own account: password, authenticator app, passkeys, and the browsers that are signed in."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth import passkeys, passwords, totp
from isthmus_auth.answers import Refusal, see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.authorizations import sign_out
from isthmus_auth.browser import Browser, account_of, address_of, check_form
from isthmus_auth.hashing import digest, verify_password
from isthmus_auth.headers import SCRIPTED
from isthmus_auth.models import Account, BrowserSession, Passkey, RecoveryCode
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.site import Site

ACCOUNT = "/account"


class BrowserRow(msgspec.Struct, frozen=True):
    """A browser that is signed in."""

    id_hash: str
    agent: str
    address: str
    since: str
    """In UTC."""
    here: bool
    """Whether it is this one."""


class Shown(msgspec.Struct, kw_only=True):
    """What is shown beside what the account is."""

    message: str = ""
    done: str = ""
    totp_secret: str = ""
    """An authenticator app that is being set up: in base 32."""
    totp_sealed: str = ""
    recovery_codes: list[str] = []
    passkey: passkeys.Asked | None = None
    """A passkey that is being made."""


class Asking(msgspec.Struct, frozen=True):
    """One change that somebody wants of their own account."""

    site: Site
    session: Session
    browser: Browser
    account: Account
    form: Parameters


@get(ACCOUNT)
async def show_account(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Template | Redirect:
    """One's own account."""
    return await asyncio.to_thread(_show, site, Browser.of(request, site.origins))


def _show(site: Site, browser: Browser) -> Template | Redirect:
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return sign_in_first(browser, site, ACCOUNT)
        return _page(session, site.origins, browser, account, Shown())


@post(ACCOUNT)
async def change_account(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Template | Redirect:
    """Changes one thing about it. What protects the account is changed with its password alone."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    async with site.hashing:
        return await asyncio.to_thread(_change, site, browser, form, address_of(request))


def _change(site: Site, browser: Browser, form: Parameters, address: str) -> Template | Redirect:
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return sign_in_first(browser, site, ACCOUNT)
        action = form.get("action")
        change = CHANGES.get(action)
        if change is None:
            return see_other(ACCOUNT)
        try:
            if action in PROTECTED:
                _check_password(site, account, form.get("password"))
            shown, event = change(Asking(site, session, browser, account, form))
        except Refusal as refusal:
            return _page(
                session, site.origins, browser, account, Shown(message=str(refusal.detail)), refusal.status_code
            )
        if event:
            what, _, name = event.partition(" ")
            note(session, AuthEvent(event="factor", address=address, principal=account.id, action=what, object=name))
        session.flush()
        return _page(session, site.origins, browser, account, shown)


def _check_password(site: Site, account: Account, password: str) -> None:
    key = ("account", account.id)
    if not site.codes.allow(key):
        raise Refusal(429, "There were too many attempts. Wait five minutes, then try again.")
    if not verify_password(password, account.password_hash):
        raise Refusal(403, "Your password is wrong; nothing was changed.")
    site.codes.succeeded(key)


def _password(asking: Asking) -> tuple[Shown, str]:
    form = asking.form
    passwords.change(
        asking.session, asking.account, form.get("new_password"), form.get("repeated"), keep=asking.browser
    )
    return Shown(done="Your password is changed, and every other browser is signed out."), "update password"


def _begin_totp(asking: Asking) -> tuple[Shown, str]:
    secret = totp.new_secret()
    return _totp_shown(asking, secret), ""


def _confirm_totp(asking: Asking) -> tuple[Shown, str]:
    try:
        sealed = bytes.fromhex(asking.form.get("totp")[:1000])
        secret = asking.site.sealing.open(sealed, _sealed_for(asking))
    except ValueError:
        raise Refusal(400, "Begin anew: this took too long, or began in another browser.") from None
    step = totp.matching_step(secret, asking.form.get("code")[:40], 0)
    if not step:
        shown = _totp_shown(asking, secret)
        shown.message = "That code does not fit. Look at the app again, and whether your clocks are right."
        return shown, ""
    codes = totp.turn_on(asking.session, asking.site.sealing, asking.account, secret, step)
    done = "From now on a code of the app is asked for after your password."
    return Shown(recovery_codes=codes, done=done), "create totp"


def _remove_totp(asking: Asking) -> tuple[Shown, str]:
    totp.turn_off(asking.session, asking.account)
    return Shown(done="No code is asked for any more."), "delete totp"


def _begin_passkey(asking: Asking) -> tuple[Shown, str]:
    site = asking.site
    asked = passkeys.to_register(asking.session, site.sealing, site.origins, asking.browser, asking.account)
    return Shown(passkey=asked), ""


def _confirm_passkey(asking: Asking) -> tuple[Shown, str]:
    site, answer = asking.site, (asking.form.get("credential"), asking.form.get("challenge"))
    made = passkeys.register(asking.session, site.sealing, site.origins, asking.browser, asking.account, answer)
    return Shown(done="You can sign in with this passkey from now on."), f"create passkey {made.id_hash[:12]}"


def _remove_passkey(asking: Asking) -> tuple[Shown, str]:
    row = asking.session.get(Passkey, asking.form.get("passkey")[:64])
    if row is None or row.account_id != asking.account.id:
        raise Refusal(404, "There is no such passkey.")
    asking.session.delete(row)
    return Shown(done="The passkey opens nothing any more."), f"delete passkey {row.id_hash[:12]}"


def _sign_out_others(asking: Asking) -> tuple[Shown, str]:
    own = BrowserSession.id_hash != digest(asking.browser.id), BrowserSession.account_id == asking.account.id
    sign_out(asking.session, *own)
    return Shown(done="Every other browser is signed out."), "delete sessions"


CHANGES: dict[str, Callable[[Asking], tuple[Shown, str]]] = {
    "password": _password,
    "begin-totp": _begin_totp,
    "confirm-totp": _confirm_totp,
    "remove-totp": _remove_totp,
    "begin-passkey": _begin_passkey,
    "confirm-passkey": _confirm_passkey,
    "remove-passkey": _remove_passkey,
    "sign-out-others": _sign_out_others,
}
"""What each does: what is shown then, and what the audit trail says (action and object; empty: nothing)."""

PROTECTED = frozenset(("password", "begin-totp", "remove-totp", "begin-passkey", "remove-passkey"))
"""What the password is asked for again. What confirms goes on with something that was sealed when it was asked for."""


def _totp_shown(asking: Asking, secret: str) -> Shown:
    sealed = asking.site.sealing.seal(secret, _sealed_for(asking)).hex()
    return Shown(totp_secret=secret, totp_sealed=sealed)


def _sealed_for(asking: Asking) -> str:
    """Just this browser may go on, while its session lasts."""
    return f"new totp {asking.account.id} {digest(asking.browser.id)}"


def _page(
    session: Session, origins: Origins, browser: Browser, account: Account, shown: Shown, status: int = 200
) -> Template:
    uri = totp.address(shown.totp_secret, account.email or account.id) if shown.totp_secret else ""
    context = {
        "email": account.email,
        "csrf_token": browser.csrf_token,
        "has_password": account.password_hash is not None,
        "has_totp": account.totp_secret is not None,
        "codes_left": session.scalar(select(func.count()).where(RecoveryCode.account_id == account.id)),
        "passkeys": list(
            session.scalars(select(Passkey).where(Passkey.account_id == account.id).order_by(Passkey.created_at))
        ),
        "passkeys_possible": passkeys.possible(origins),
        "browsers": _browsers(session, browser, account),
        "totp_uri": uri,
        "totp_picture": totp.picture(uri) if uri else "",
        **msgspec.structs.asdict(shown),
    }
    return Template("account.html", context=context, status_code=status, headers=SCRIPTED)


def _browsers(session: Session, browser: Browser, account: Account) -> list[BrowserRow]:
    mine = BrowserSession.account_id == account.id, BrowserSession.step == "", BrowserSession.expires_at > time.time()
    rows = session.scalars(select(BrowserSession).where(*mine).order_by(BrowserSession.began_at.desc()).limit(100))
    return [
        BrowserRow(
            row.id_hash,
            row.agent or "a program",
            row.address,
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(row.began_at)),
            row.id_hash == digest(browser.id),
        )
        for row in rows
    ]
