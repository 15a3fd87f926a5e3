"""Sign-in with an OpenID Connect provider: to it, and back from it."""

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect, Template
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus_auth import pending
from isthmus_auth.answers import Refusal, error_page, see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, address_of
from isthmus_auth.fetching import Unfetchable
from isthmus_auth.hashing import digest
from isthmus_auth.models import Provider
from isthmus_auth.openid import Claims, Distrusted, Party
from isthmus_auth.outbox import last_recorded
from isthmus_auth.parameters import Parameters
from isthmus_auth.pending import TOO_LATE, Errand, Tie
from isthmus_auth.provider_people import account_of, wanted
from isthmus_auth.providers import party, row_of
from isthmus_auth.sign_ins import safe, signed_in
from isthmus_auth.site import Site

logger = logging.getLogger("isthmus_auth")

PATH = "/sign-in/with"
PUBLISHED_WITHIN = 1.0
NOBODY = "You have signed in there, but that gives you no account here. Ask your administrator for one."


class Button(msgspec.Struct, frozen=True):
    """A provider to sign in with."""

    name: str
    label: str
    url: str


def buttons(session: Session, query: dict[str, str], origin: str = "") -> list[Button]:
    """The providers, with what the way to them is to remember."""
    rows = session.scalars(select(Provider).order_by(Provider.label, Provider.name))
    return [Button(row.name, row.label, f"{origin}{PATH}/{row.name}?{urlencode(query)}") for row in rows]


def as_json(listed: list[Button]) -> str:
    """The same, for pages elsewhere."""
    return json.dumps(msgspec.to_builtins(listed), separators=(",", ":"))


@get(PATH + "/{name:str}")
async def begin(
    request: Request[Any, Any, Any], site: NamedDependency[Site], name: FromPath[str]
) -> Redirect | Template:
    """Sends the browser to the provider."""
    tie = Tie.of(request, site.origins)
    asked = Parameters.parse(request.scope["query_string"])
    at, state = await asyncio.to_thread(_begin, site, name, tie, asked, address_of(request))
    nonce, verifier = tie.derived("nonce", state), tie.derived("verifier", state)
    try:
        return see_other(await site.providers.begin(at, state, nonce, verifier), tie.cookie(site.origins))
    except Unfetchable as error:
        logger.warning("the provider %s cannot be used: %s", name, error)
        return error_page("That provider cannot be reached at the moment. Try again in a minute.", 502)


@get(PATH + "/{name:str}/callback")
async def come_back(
    request: Request[Any, Any, Any], site: NamedDependency[Site], name: FromPath[str]
) -> Redirect | Template:
    """Takes the provider's answer (Core 1.0, section 3.1.2.5; RFC 9207)."""
    asked = Parameters.parse(request.scope["query_string"])
    tie, address = Tie.of(request, site.origins), address_of(request)
    state = asked.get("state")
    at, errand, needed = await asyncio.to_thread(_take, site, name, tie, state)
    attempt = AuthEvent(event="sign_in", address=address, method=f"provider:{name}")
    try:
        code = await site.providers.code(at, asked)
        nonce, verifier = tie.derived("nonce", state), tie.derived("verifier", state)
        claims = await site.providers.claims(at, code, nonce, verifier, needed)
    except (Distrusted, Unfetchable) as error:
        logger.warning("a sign-in with the provider %s did not work: %s", name, error)
        await asyncio.to_thread(_note, site, msgspec.structs.replace(attempt, outcome="denied"))
        return error_page("That provider did not sign you in. Go back, and try again.", 403)
    browser = Browser.of(request, site.origins)
    answer, change = await asyncio.to_thread(_sign_in, site, browser, claims, attempt, errand)
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return answer


def _begin(site: Site, name: str, tie: Tie, asked: Parameters, address: str) -> tuple[Party, str]:
    """Where to, and the state that goes along."""
    with site.sessions.begin() as session:
        at = party(row_of(session, name), site.origins, site.sealing)
        then = safe(asked.get("next"))
        if asked.get("state"):  # from a service's own page, which remembers the way
            page = pending.look_up(session, asked.get("state"), "page")
            if page is None or not page.is_of(tie):
                raise Refusal(400, TOO_LATE)
            then = page.then
        errand = Errand(step="provider", name=name, tie=digest(tie.value), then=then)
        return at, pending.begin(session, errand, address)


def _take(site: Site, name: str, tie: Tie, state: str) -> tuple[Party, Errand, set[str]]:
    """Whom the answer is from, what it is for, and which claims are needed. The state is void."""
    with site.sessions.begin() as session:
        errand = pending.take(session, state, "provider")
        row = session.get(Provider, errand.name) if errand else None
        if errand and row and row.name == name and errand.is_of(tie):
            return party(row, site.origins, site.sealing), errand, wanted(row)
    raise Refusal(400, TOO_LATE)


def _sign_in(
    site: Site, browser: Browser, claims: Claims, attempt: AuthEvent, errand: Errand
) -> tuple[Redirect | Template, int]:
    """The answer, and the last change of policy that goes with it; 0: none."""
    with site.sessions.begin() as session:
        # One at a time, so that nobody who comes twice at once gets two accounts.
        provider = session.get(Provider, errand.name, with_for_update=True)
        account = account_of(session, provider, claims) if provider else None
        if account is None:
            note(session, msgspec.structs.replace(attempt, outcome="denied"))
            return error_page(NOBODY, 403), 0
        answer = signed_in(session, site, browser, account, attempt, errand.then)
        session.flush()
        return answer, last_recorded(session)


def _note(site: Site, event: AuthEvent) -> None:
    with site.sessions.begin() as session:
        note(session, event)
