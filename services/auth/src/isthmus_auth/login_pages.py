"""Sign-in at a page of one's own: the custom login URL of an MCP service.

The browser is sent to that page, which posts e-mail address and password back across sites. The password alone signs
nobody in: the answer to the form carries a ticket, and a session is given where the ticket comes in the same browser
that was sent to the page. So nobody is signed in to another's account, nor another to theirs.
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec
from authlib.common.urls import add_params_to_uri
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect
from sqlalchemy.orm import Session

from isthmus.origins import Origins, parse_origin
from isthmus_auth import pending
from isthmus_auth.answers import Refusal, see_other
from isthmus_auth.audit import AuthEvent
from isthmus_auth.browser import Browser, address_of
from isthmus_auth.hashing import digest
from isthmus_auth.models import Account, Client, Service
from isthmus_auth.parameters import Parameters
from isthmus_auth.pending import TOO_LATE, Errand, Tie
from isthmus_auth.provider_sign_in import as_json, buttons
from isthmus_auth.requested import InvalidTargetError, find_resource
from isthmus_auth.sign_ins import Denied, account_with, signed_in
from isthmus_auth.site import Site

LOGIN = "/login"
CONTINUE = "/authorize/continue"
ERRORS = {"wrong": "wrong_credentials", "too_many": "too_many_attempts"}


def page_for(session: Session, site: Site, request: Request[Any, Any, Any], then: str) -> Redirect | None:
    """To the page of the service that the browser wants to go on to; None: that has none."""
    service = _service_of(session, site.origins, then)
    if service is None or not service.login_url:
        return None
    tie = Tie.of(request, site.origins)
    errand = Errand(step="page", name=service.namespace, tie=digest(tie.value), then=then)
    return see_other(_page(session, site, service, errand, address_of(request)), tie.cookie(site.origins))


@post(LOGIN)
async def take_password(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Redirect:
    """Takes the form of such a page, and of no other; answers with the way back to it, or on to the ticket's end."""
    origin, address = request.headers.get("origin", ""), address_of(request)
    errand = await asyncio.to_thread(_take, site, form.get("state"), origin)
    attempt = AuthEvent(event="sign_in", address=address, method="custom_page", service=errand.name)
    try:
        account_id = await account_with(site, attempt, form.get("email"), form.get("password"))
    except Denied as denied:
        return see_other(await asyncio.to_thread(_again, site, errand, address, ERRORS[denied.outcome]))
    ticket = await asyncio.to_thread(_ticket, site, errand, address, account_id)
    return see_other(f"{CONTINUE}?ticket={ticket}")


@get(CONTINUE, sync_to_thread=True)
def go_on(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Redirect:
    """Signs in the browser that the ticket belongs to."""
    ticket = Parameters.parse(request.scope["query_string"]).get("ticket")
    with site.sessions.begin() as session:
        errand = pending.take(session, ticket, "ticket")
        account = session.get(Account, errand.account_id) if errand else None
        if errand and account and not account.disabled and errand.is_of(Tie.of(request, site.origins)):
            address = address_of(request)
            attempt = AuthEvent(event="sign_in", address=address, method="custom_page", service=errand.name)
            browser = Browser.of(request, site.origins)
            return signed_in(session, site, browser, account, attempt, errand.then)
    raise Refusal(400, TOO_LATE)  # after the transaction: the ticket is void


def _take(site: Site, state: str, origin: str) -> Errand:
    """What the form is for. Raises Refusal; of a form from elsewhere the state remains."""
    with site.sessions.begin() as session:
        errand = pending.take(session, state, "page")
        service = session.get(Service, errand.name) if errand else None
        if errand is None or service is None or not service.login_url:
            raise Refusal(400, TOO_LATE)
        page = urlsplit(service.login_url)
        if origin != parse_origin(f"{page.scheme}://{page.netloc}"):
            raise Refusal(403, "This form is not of the page that this sign-in began at.")
        return errand


def _again(site: Site, errand: Errand, address: str, error: str) -> str:
    with site.sessions.begin() as session:
        service = session.get(Service, errand.name)
        if service is None or not service.login_url:
            raise Refusal(400, TOO_LATE)
        return _page(session, site, service, errand, address, error)


def _ticket(site: Site, errand: Errand, address: str, account_id: str) -> str:
    with site.sessions.begin() as session:
        verified = msgspec.structs.replace(errand, step="ticket", account_id=account_id)
        return pending.begin(session, verified, address)


def _page(session: Session, site: Site, service: Service, errand: Errand, address: str, error: str = "") -> str:
    state = pending.begin(session, errand, address)
    asked = Parameters.parse(errand.then.partition("?")[2].encode())
    parameters = {
        "login_url": site.origins.issuer + LOGIN,
        "state": state,
        "client_id": asked.get("client_id"),
        "redirect_uri": site.origins.issuer + CONTINUE,
        "service": service.namespace,
        "oauth_services": as_json(buttons(session, {"state": state}, site.origins.issuer)),
        "error": error,
    }
    return add_params_to_uri(service.login_url, [pair for pair in parameters.items() if pair[1]])


def _service_of(session: Session, origins: Origins, then: str) -> Service | None:
    """The service that an authorization request is about; None: it is no such request, or of none."""
    path, _, query = then.partition("?")
    if path != "/authorize":
        return None
    asked = Parameters.parse(query.encode())
    # One that describes itself is not known before somebody has signed in.
    client = session.get(Client, asked.get("client_id")) or Client(namespace=None)
    try:
        return session.get(Service, find_resource(session, origins, client, asked.get("resource")).namespace)
    except InvalidTargetError:
        return None
