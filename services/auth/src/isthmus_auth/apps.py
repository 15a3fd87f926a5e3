"""Connected apps: what a person has allowed to which client, and the end of it."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.scopes import describe
from isthmus_auth.answers import see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.authorizations import revoke
from isthmus_auth.browser import Browser, account_of, address_of, check_form
from isthmus_auth.models import Account, Authorization
from isthmus_auth.outbox import last_recorded
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.requested import OFFLINE, known_scopes
from isthmus_auth.site import Site

APPS = "/apps"
PUBLISHED_WITHIN = 1.0
"""Seconds that the answer waits for the gateways to hear of it."""


class App(msgspec.Struct, frozen=True):
    """A client with all that one account allows it in one service."""

    client_id: str
    name: str
    service: str
    since: str
    """A day, in UTC."""
    scopes: list[str]
    """In words."""
    sources: list[str]
    """Empty: all."""


@get(APPS)
async def show_apps(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Template | Redirect:
    """The apps that act for whoever is signed in."""
    return await asyncio.to_thread(_show, site, Browser.of(request, site.origins))


@post(APPS)
async def disconnect(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Redirect:
    """Ends all that a client may do for this account; no token of it is valid any more."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    address = address_of(request)
    answer, change = await asyncio.to_thread(_disconnect, site, browser, form.get("client_id"), address)
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return answer


def _show(site: Site, browser: Browser) -> Template | Redirect:
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return sign_in_first(browser, site, APPS)
        apps = _apps(_live(session, account))
        context = {"apps": apps, "email": account.email, "csrf_token": browser.csrf_token}
    return Template("apps.html", context=context)


def _disconnect(site: Site, browser: Browser, client_id: str, address: str) -> tuple[Redirect, int]:
    """Where to go, and the last change of policy that goes with it; 0: none."""
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return sign_in_first(browser, site, APPS), 0
        for authorization in _live(session, account):
            if authorization.client_id == client_id:
                revoke(session, authorization)
                event = AuthEvent(event="revoked", address=address, principal=account.id, client=client_id)
                note(session, event)
        session.flush()
        return see_other(APPS), last_recorded(session)


def _live(session: Session, account: Account) -> list[Authorization]:
    """The newest first."""
    statement = select(Authorization).where(
        Authorization.account_id == account.id,
        Authorization.revoked_at.is_(None),
        Authorization.expires_at > int(time.time()),
    )
    return list(session.scalars(statement.order_by(Authorization.created_at.desc(), Authorization.sid)))


def _apps(authorizations: Iterable[Authorization]) -> list[App]:
    """One for each client and service, with what the sessions of it have together."""
    together: dict[tuple[str, str], list[Authorization]] = {}
    for authorization in authorizations:
        together.setdefault((authorization.client_id, authorization.namespace), []).append(authorization)
    return [_app(same) for same in together.values()]


def _app(same: list[Authorization]) -> App:
    scopes = dict.fromkeys(scope for one in same for scope in known_scopes(one.scope) if scope != OFFLINE)
    sources = dict.fromkeys(source for one in same for source in one.sources)
    return App(
        client_id=same[0].client_id,
        name=same[0].client.name,
        service=same[0].namespace,
        since=time.strftime("%Y-%m-%d", time.gmtime(min(one.created_at for one in same))),
        scopes=[describe(scope) for scope in scopes],
        sources=[] if "**" in sources else list(sources),
    )
