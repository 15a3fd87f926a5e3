"""Sign-ins that are under way elsewhere: at the page of an MCP service, or at a provider.

Each is tied to one browser by a cookie, and has a secret that travels through that other place and counts once. Only
where both come together again does anybody get a session.
"""

import hashlib
import hmac
import re
import time
from typing import Any, Literal

import msgspec
from litestar import Request
from litestar.datastructures import Cookie
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth.browser import cookie_name
from isthmus_auth.hashing import digest, random_secret
from isthmus_auth.models import SignIn

LIFETIME = 600
"""Seconds that somebody may take."""
MOST = 50
"""Sign-ins of one address that are under way; the oldest go first."""

Step = Literal["page", "ticket", "provider"]

TOO_LATE = "This sign-in did not begin in this browser, or it took too long. Go back, and begin again."

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Tie(msgspec.Struct, frozen=True):
    """What the cookie says. Its value never leaves browser and server; others see what is derived from it."""

    value: str

    @classmethod
    def of(cls, request: Request[Any, Any, Any], origins: Origins) -> "Tie":
        """The browser's; one without gets a new one. Two tabs share it."""
        sent = request.cookies.get(cookie_name(origins, "sign_in"), "")
        return cls(sent if _SECRET.fullmatch(sent) else random_secret())

    def cookie(self, origins: Origins) -> Cookie:
        """Lax: it does not come with a form of another site, and comes with the page that follows it."""
        return Cookie(
            key=cookie_name(origins, "sign_in"),
            value=self.value,
            path="/",
            max_age=LIFETIME,
            httponly=True,
            secure=origins.issuer.startswith("https://"),
            samesite="lax",
        )

    def derived(self, purpose: str, secret: str) -> str:
        """A value for one sign-in that nobody else can know, and that need not be stored."""
        return hmac.digest(self.value.encode(), f"{purpose} {secret}".encode(), hashlib.sha256).hex()


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What a sign-in that is under way is about."""

    step: Step
    name: str
    """The namespace of the service whose page it is, or the provider."""
    tie: str
    """The digest of the browser's tie."""
    then: str
    """Where the browser wants to go."""
    account_id: str | None = None
    """Who it is, once that is known."""

    def is_of(self, tie: Tie) -> bool:
        """Whether it began in this browser."""
        return hmac.compare_digest(self.tie, digest(tie.value))


def begin(session: Session, errand: Errand, address: str) -> str:
    """Sends somebody on the way; returns the secret."""
    under_way = select(SignIn.secret_hash).where(SignIn.address == address).order_by(SignIn.expires_at.desc())
    too_many = list(session.scalars(under_way.offset(MOST - 1)))
    session.execute(delete(SignIn).where(SignIn.secret_hash.in_(too_many)))
    secret = random_secret()
    expires_at = int(time.time()) + LIFETIME
    row = SignIn(secret_hash=digest(secret), address=address, expires_at=expires_at, **msgspec.structs.asdict(errand))
    session.add(row)
    return secret


def look_up(session: Session, secret: str, step: Step) -> Errand | None:
    """What this secret is for; None: nothing, or no longer."""
    row = session.get(SignIn, digest(secret), with_for_update=True)
    if row is None or row.step != step or row.expires_at <= time.time():
        return None
    return msgspec.convert(row, Errand, from_attributes=True)


def take(session: Session, secret: str, step: Step) -> Errand | None:
    """The same; it is void from now on."""
    errand = look_up(session, secret, step)
    if errand is not None:
        session.execute(delete(SignIn).where(SignIn.secret_hash == digest(secret)))
    return errand
