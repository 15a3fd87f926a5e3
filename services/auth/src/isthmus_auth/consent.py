"""The authorization endpoint (RFC 6749, section 3.1): who is asked, what is asked, and the answer."""

import asyncio
from typing import Any, cast

from authlib.oauth2 import OAuth2Error
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy.orm import Session

from isthmus_auth.answers import error_page
from isthmus_auth.audit import note
from isthmus_auth.browser import Browser, account_of, address_of, age_of, check_form, end_session
from isthmus_auth.choices import NOTHING_CHOSEN, Consent, decided
from isthmus_auth.fetching import Unfetchable
from isthmus_auth.flows import CodeGrant
from isthmus_auth.models import Account
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.redirects import destination, is_of_a_site
from isthmus_auth.requested import Manner
from isthmus_auth.server import Answer, IsthmusServer, ProtocolRequest
from isthmus_auth.site import Site
from isthmus_auth.sources import SourceInfo

AUTHORIZE = "/authorize"

Page = Template | Redirect | Response[bytes]


@get(AUTHORIZE)
async def show_consent(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Page:
    """Asks the user, who has to be signed in, about a client's request."""
    asked = Parameters.parse(request.scope["query_string"])
    browser = Browser.of(request, site.origins)
    client_id = asked.get("client_id")
    if site.documents.names(client_id):
        # Nobody makes this server fetch anything who has not signed in.
        if not await asyncio.to_thread(_is_signed_in, site, browser):
            return _sign_in_first(browser, site, asked)
        try:
            await site.documents.refresh(client_id)
        except Unfetchable as error:
            return error_page(str(error), 400)
    return await asyncio.to_thread(_show, site, browser, asked, await site.sources.now())


@post(AUTHORIZE)
async def decide(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Page:
    """Takes the user's answer back to the client, with a code or with `access_denied`."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    asked = Parameters.parse(form.get("request").encode())
    known = await site.sources.now()
    return await asyncio.to_thread(_decide, site, browser, asked, form, known, address_of(request))


def _show(site: Site, browser: Browser, asked: Parameters, known: list[SourceInfo]) -> Page:
    with site.sessions.begin() as session:
        server = site.server(session)
        protocol = ProtocolRequest("GET", asked)
        try:
            grant = _check(server, protocol)
            account = account_of(session, browser)
            if account is None or _must_sign_in_anew(session, browser, grant.manner):
                if grant.manner.silent:
                    raise _unasked("login_required", "Somebody has to sign in first.", grant, asked)
                end_session(session, browser)
                return _sign_in_first(browser, site, _signed_in(asked))
            consent = _consent(session, grant, account, asked, known)
            if consent.covers_all and is_of_a_site(grant.redirect_uri) and not grant.manner.asking:
                return _to_client(protocol, server.answer_authorization(protocol, grant, consent.remembered))
            if grant.manner.silent:
                raise _unasked("consent_required", "The user has to be asked.", grant, asked)
        except OAuth2Error as error:
            return _refusal(server, protocol, error)
        return _page(consent, browser, grant, asked)


def _decide(
    site: Site, browser: Browser, asked: Parameters, form: Parameters, known: list[SourceInfo], address: str
) -> Page:
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return _sign_in_first(browser, site, asked)
        if form.get("decision") == "switch":
            end_session(session, browser)
            return _sign_in_first(browser, site, asked)
        server = site.server(session)
        protocol = ProtocolRequest("POST", asked)
        try:
            grant = _check(server, protocol)
        except OAuth2Error as error:
            return _refusal(server, protocol, error)
        approval = None
        if form.get("decision") == "allow":
            consent = _consent(session, grant, account, asked, known)
            approval = consent.chosen(form)
            if approval is None:
                return _page(consent, browser, grant, asked, NOTHING_CHOSEN)
        note(session, decided(account, grant.client, grant.resource, approval, address))
        return _to_client(protocol, server.answer_authorization(protocol, grant, approval))


def _consent(
    session: Session, grant: CodeGrant, account: Account, asked: Parameters, known: list[SourceInfo]
) -> Consent:
    return Consent(session, grant.client, grant.resource, account, asked.get("scope"), known)


def _page(consent: Consent, browser: Browser, grant: CodeGrant, asked: Parameters, message: str = "") -> Template:
    return consent.page(
        browser, AUTHORIZE, {"request": asked.encode()}, destination=destination(grant.redirect_uri), message=message
    )


def _is_signed_in(site: Site, browser: Browser) -> bool:
    with site.sessions.begin() as session:
        return account_of(session, browser) is not None


def _must_sign_in_anew(session: Session, browser: Browser, manner: Manner) -> bool:
    late = manner.max_age is not None and age_of(session, browser) > manner.max_age
    return late or manner.anew or manner.choosing


def _signed_in(asked: Parameters) -> Parameters:
    """The request as it is once somebody has signed in."""
    lists = {name: values for name, values in asked.lists.items() if name not in ("prompt", "max_age")}
    left = [word for word in asked.get("prompt").split() if word not in ("login", "select_account")]
    return Parameters({**lists, "prompt": [" ".join(left)]} if left else lists)


def _unasked(error: str, description: str, grant: CodeGrant, asked: Parameters) -> OAuth2Error:
    return OAuth2Error(description, error=error, redirect_uri=grant.redirect_uri, state=asked.get("state") or None)


def _check(server: IsthmusServer, protocol: ProtocolRequest) -> CodeGrant:
    return cast("CodeGrant", server.get_consent_grant(protocol))


def _refusal(server: IsthmusServer, protocol: ProtocolRequest, error: OAuth2Error) -> Page:
    """To the client if it is known where that is, else to the person."""
    if error.redirect_uri:
        return _to_client(protocol, server.answer_error(protocol, error))
    return error_page(f"The app's request cannot be answered. {error.description or ''}", 400)


def _to_client(protocol: ProtocolRequest, answer: Answer) -> Page:
    if not answer.location:
        return error_page("The app's request cannot be answered.", 400)
    status = 303 if protocol.method == "POST" else answer.status  # so that no browser posts the form to the client
    return Response(b"", status_code=status, headers={"Location": answer.location})


def _sign_in_first(browser: Browser, site: Site, asked: Parameters) -> Page:
    return sign_in_first(browser, site, f"{AUTHORIZE}?{asked.encode()}")
