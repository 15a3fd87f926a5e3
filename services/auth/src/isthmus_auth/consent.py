"""The authorization endpoint (RFC 6749, section 3.1): who is asked, what is asked, and the answer."""

import asyncio
from typing import Any, cast

from authlib.oauth2 import OAuth2Error
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from isthmus.scopes import describe
from isthmus_auth.answers import error_page
from isthmus_auth.browser import Browser, account_of, check_form, end_session
from isthmus_auth.flows import Approval, CodeGrant
from isthmus_auth.headers import POLICY
from isthmus_auth.models import Account
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.redirects import destination
from isthmus_auth.requested import OFFLINE, known_scopes, offered_scopes
from isthmus_auth.server import Answer, IsthmusServer, ProtocolRequest
from isthmus_auth.site import Site

AUTHORIZE = "/authorize"

# With `form-action 'self'` Chromium does not follow the redirect from this form to the client.
CONSENT_POLICY = "; ".join(part for part in POLICY.split("; ") if not part.startswith("form-action"))

Page = Template | Redirect | Response[bytes]


@get(AUTHORIZE)
async def show_consent(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Page:
    """Asks the user, who has to be signed in, about a client's request."""
    asked = Parameters.parse(request.scope["query_string"])
    browser = Browser.of(request, site.origins)
    return await asyncio.to_thread(_show, site, browser, asked)


@post(AUTHORIZE)
async def decide(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Page:
    """Takes the user's answer back to the client, with a code or with `access_denied`."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    asked = Parameters.parse(form.get("request").encode())
    return await asyncio.to_thread(_decide, site, browser, asked, form)


def _show(site: Site, browser: Browser, asked: Parameters) -> Page:
    with site.sessions.begin() as session:
        server = site.server(session)
        protocol = ProtocolRequest("GET", asked)
        try:
            grant = _check(server, protocol)
        except OAuth2Error as error:
            return _refusal(server, protocol, error)
        account = account_of(session, browser)
        if account is None:
            return _sign_in_first(browser, site, asked)
        return _consent_page(grant, browser, account, asked)


def _decide(site: Site, browser: Browser, asked: Parameters, form: Parameters) -> Page:
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
            chosen = _chosen(asked, form)
            if not chosen:
                message = "Choose at least one permission, or deny the request."
                return _consent_page(grant, browser, account, asked, message=message)
            approval = Approval(account.id, " ".join(chosen))
        return _to_client(protocol, server.answer_authorization(protocol, grant, approval))


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


def _chosen(asked: Parameters, form: Parameters) -> list[str]:
    """The ticked scopes, as far as they were offered; `offline_access` is no choice of its own."""
    ticked = form.lists.get("scope", [])
    chosen = [scope for scope in offered_scopes(asked.get("scope")) if scope in ticked]
    offline = [OFFLINE] if chosen and OFFLINE in known_scopes(asked.get("scope")) else []
    return chosen + offline


def _consent_page(
    grant: CodeGrant, browser: Browser, account: Account, asked: Parameters, *, message: str = ""
) -> Template:
    context = {
        "client": grant.client.name,
        "destination": destination(grant.redirect_uri),
        "service": grant.resource.label,
        "scopes": [(scope, describe(scope)) for scope in offered_scopes(asked.get("scope"))],
        "email": account.email,
        "asked": asked.encode(),
        "csrf_token": browser.csrf_token,
        "message": message,
    }
    headers = {"Content-Security-Policy": CONSENT_POLICY}
    return Template("consent.html", context=context, headers=headers, status_code=400 if message else 200)
