"""The browser's side of sign-in: the session cookie, and the proof that a form is ours (CSRF)."""

import hashlib
import hmac
import re
import time
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import Cookie
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth.answers import Refusal
from isthmus_auth.authorizations import sign_out
from isthmus_auth.hashing import digest, random_secret
from isthmus_auth.models import Account, BrowserSession
from isthmus_auth.parameters import Parameters

SESSION_LIFETIME = 12 * 3600
"""Seconds that somebody stays signed in."""

STEP_LIFETIME = 300
"""Seconds for what is still to be done before somebody is signed in."""

CSRF_FIELD = "csrf_token"

_ID = re.compile(r"[A-Za-z0-9_-]{43}")


class Browser(msgspec.Struct, frozen=True):
    """What a request's cookie says. The id alone signs nobody in: it may be one that was just made up."""

    id: str
    agent: str = ""
    """What it calls itself."""
    devices: str = ""
    """By what accounts may know it; see `isthmus_auth.devices`."""

    @classmethod
    def of(cls, request: Request[Any, Any, Any], origins: Origins) -> "Browser":
        """The browser with its id; one without gets a new id, for the cookie that goes with the page."""
        sent = request.cookies.get(cookie_name(origins), "")
        agent = "".join(c for c in request.headers.get("user-agent", "")[:300] if c.isprintable())
        devices = request.cookies.get(cookie_name(origins, "devices"), "")[:1000]
        return cls(sent if _ID.fullmatch(sent) else random_secret(), agent, devices)

    @property
    def csrf_token(self) -> str:
        """Bound to the id, which only the browser and this server can know; it tells nothing about the id."""
        return hmac.digest(self.id.encode(), CSRF_FIELD.encode(), hashlib.sha256).hex()


def cookie_name(origins: Origins, what: str = "session") -> str:
    """The prefix makes browsers refuse such a cookie from another host or without TLS."""
    return f"__Host-isthmus_{what}" if _secure(origins) else f"isthmus_{what}"


def session_cookie(origins: Origins, value: str) -> Cookie:
    """Holds the id; an empty value ends it."""
    return Cookie(
        key=cookie_name(origins),
        value=value,
        path="/",
        max_age=SESSION_LIFETIME if value else 0,
        httponly=True,
        secure=_secure(origins),
        samesite="lax",
    )


def check_form(request: Request[Any, Any, Any], origins: Origins, browser: Browser, form: Parameters) -> None:
    """Refuses a form that was not ours. Raises Refusal."""
    origin = request.headers.get("origin", "null")
    site = request.headers.get("sec-fetch-site", "none")
    # Under `Referrer-Policy: no-referrer` browsers send the origin of our own forms as `null`.
    at_home = origin in ("null", origins.issuer) or origin.partition("://")[2] == request.headers.get("host", "")
    ours = hmac.compare_digest(browser.csrf_token.encode(), form.get(CSRF_FIELD).encode())
    if not (at_home and ours and site in ("none", "same-origin")):
        raise Refusal(403, "This form is out of date. Go back, reload the page and try again.")


def address_of(request: Request[Any, Any, Any]) -> str:
    """Where a request came from, as far as the proxies before this server are trusted to say."""
    return request.client.host if request.client else ""


def account_of(session: Session, browser: Browser) -> Account | None:
    """Who is signed in with this browser."""
    row = session_at(session, browser, "")
    return row.account if row else None


def session_at(session: Session, browser: Browser, step: str) -> BrowserSession | None:
    """The browser's session, if just this is still to be done; empty: nothing is."""
    row = session.get(BrowserSession, digest(browser.id))
    if row is None or row.step != step or row.expires_at <= time.time() or row.account.disabled:
        return None
    return row


def age_of(session: Session, browser: Browser) -> float:
    """Seconds since somebody signed in with this browser."""
    row = session.get(BrowserSession, digest(browser.id))
    return float("inf") if row is None else time.time() - row.began_at


def begin_session(
    session: Session, account: Account, before: Browser, address: str, method: str, step: str = "", then: str = ""
) -> Browser:
    """A session under an id that nobody has seen before. With a step it signs nobody in, and is soon over."""
    browser, now = Browser(random_secret(), before.agent, before.devices), int(time.time())
    session.add(
        BrowserSession(
            id_hash=digest(browser.id),
            account_id=account.id,
            step=step,
            then=then,
            method=method,
            began_at=now,
            address=address,
            agent=browser.agent,
            expires_at=now + (STEP_LIFETIME if step else SESSION_LIFETIME),
        )
    )
    return browser


def end_session(session: Session, browser: Browser) -> None:
    """Signs out."""
    sign_out(session, BrowserSession.id_hash == digest(browser.id))


def _secure(origins: Origins) -> bool:
    return origins.issuer.startswith("https://")
