"""The page where people make API keys of their own, and end them."""

import asyncio
import time
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.scopes import SCOPES, describe
from isthmus_auth import api_keys
from isthmus_auth.answers import Refusal, see_other
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, account_of, address_of, check_form
from isthmus_auth.models import Account, Service
from isthmus_auth.outbox import last_recorded
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.site import Site

KEYS = "/keys"
PUBLISHED_WITHIN = 1.0
"""Seconds that the answer waits for the gateways to hear of it."""
DAYS = (7, 30, 90, 366)


class KeyRow(msgspec.Struct, frozen=True):
    """A key, in words."""

    id: str
    name: str
    service: str
    scopes: list[str]
    until: str
    """A day, in UTC."""


@get(KEYS)
async def show_keys(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Template | Redirect:
    """The keys of whoever is signed in."""
    return await asyncio.to_thread(_show, site, Browser.of(request, site.origins))


@post(KEYS)
async def change_keys(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Template | Redirect:
    """Makes a key, and shows it this once; or ends one."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    answer, change = await asyncio.to_thread(_change, site, browser, form, address_of(request))
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return answer


def _show(site: Site, browser: Browser) -> Template | Redirect:
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        return sign_in_first(browser, site, KEYS) if account is None else _page(session, site, browser, account)


def _change(site: Site, browser: Browser, form: Parameters, address: str) -> tuple[Template | Redirect, int]:
    """The answer, and the last change of policy that goes with it; 0: none."""
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return sign_in_first(browser, site, KEYS), 0
        try:
            if ended := form.get("end"):
                api_keys.remove(session, ended, account.id)
                _note(session, account, "delete", ended, address)
                session.flush()
                return see_other(KEYS), last_recorded(session)
            made = api_keys.create(session, account, _asked(form))
        except Refusal as refusal:
            return _page(session, site, browser, account, message=str(refusal.detail), status=refusal.status_code), 0
        _note(session, account, "create", made.key.id, address)
        session.flush()
        return _page(session, site, browser, account, secret=made.secret), last_recorded(session)


def _asked(form: Parameters) -> api_keys.NewApiKey:
    """Raises Refusal."""
    days = form.get("days")
    fields = {
        "name": form.get("name").strip(),
        "scopes": form.lists.get("scope", []),
        "namespace": form.get("service") or None,
        "days": int(days) if days.isascii() and days.isdecimal() and len(days) < 5 else 0,
    }
    if not fields["name"] or not fields["scopes"]:
        raise Refusal(400, "A key needs a name, and at least one permission.")
    try:
        return msgspec.convert(fields, api_keys.NewApiKey)
    except msgspec.ValidationError:
        raise Refusal(400, "A key has a name of at most 200 characters, and is valid for 1 to 366 days.") from None


def _note(session: Session, account: Account, action: str, key_id: str, address: str) -> None:
    event = AuthEvent(event="key", address=address, principal=account.id, action=action, object=f"key {key_id}")
    note(session, event)


def _page(
    session: Session,
    site: Site,
    browser: Browser,
    account: Account,
    *,
    secret: str = "",
    message: str = "",
    status: int = 200,
) -> Template:
    rows = list(session.scalars(select(Service).order_by(Service.is_default.desc(), Service.namespace)))
    labels = {row.namespace: row.label for row in rows}
    offered = dict(SCOPES)
    if account.is_admin:
        offered[api_keys.ADMIN] = "Administrate: people, roles, clients, everything"
    context = {
        "keys": [
            KeyRow(
                key.id,
                key.name,
                labels[key.namespace],
                [offered.get(scope) or describe(scope) for scope in key.scopes],
                time.strftime("%Y-%m-%d", time.gmtime(key.expires_at)),
            )
            for key in api_keys.find(session, account.id, "", api_keys.MOST)
        ],
        "services": labels,
        "endpoints": {row.namespace: site.origins.endpoint("" if row.is_default else row.namespace) for row in rows},
        "scopes": offered,
        "days": DAYS,
        "secret": secret,
        "message": message,
        "email": account.email,
        "csrf_token": browser.csrf_token,
    }
    return Template("keys.html", context=context, status_code=status)
