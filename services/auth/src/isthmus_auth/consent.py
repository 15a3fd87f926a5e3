"""The authorization endpoint (RFC 6749, section 3.1): who is asked, what is asked, and the answer."""

import asyncio
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from authlib.oauth2 import OAuth2Error
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy.orm import Session

from isthmus.scopes import describe, writes
from isthmus_auth.answers import error_page
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.authorizations import latest
from isthmus_auth.browser import Browser, account_of, address_of, age_of, check_form, end_session
from isthmus_auth.fetching import Unfetchable
from isthmus_auth.flows import Approval, CodeGrant
from isthmus_auth.headers import POLICY
from isthmus_auth.models import Account, Service
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.redirects import destination, is_loopback, is_of_a_site
from isthmus_auth.requested import OFFLINE, Manner, known_scopes, offered_scopes
from isthmus_auth.server import Answer, IsthmusServer, ProtocolRequest
from isthmus_auth.site import Site
from isthmus_auth.sources import SourceInfo, shareable

AUTHORIZE = "/authorize"

# With `form-action 'self'` Chromium does not follow the redirect from this form to the client.
CONSENT_POLICY = "; ".join(part for part in POLICY.split("; ") if not part.startswith("form-action"))

Page = Template | Redirect | Response[bytes]


class Choice(msgspec.Struct, frozen=True):
    """A box to tick."""

    value: str
    text: str
    detail: str = ""
    ticked: bool = True


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
            consent = Consent(session, grant, account, asked, known)
            if consent.was_given:
                return _to_client(protocol, server.answer_authorization(protocol, grant, consent.remembered))
            if grant.manner.silent:
                raise _unasked("consent_required", "The user has to be asked.", grant, asked)
        except OAuth2Error as error:
            return _refusal(server, protocol, error)
        return _consent_page(consent, browser)


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
            consent = Consent(session, grant, account, asked, known)
            scopes, sources = consent.chosen(form)
            if not scopes or not sources:
                what = "permission" if not scopes else "source"
                return _consent_page(consent, browser, f"Choose at least one {what}, or deny the request.")
            approval = Approval(account.id, " ".join(scopes), sources)
        note(
            session,
            AuthEvent(
                event="consent",
                outcome="ok" if approval else "denied",
                address=address,
                principal=account.id,
                client=grant.client.client_id,
                service=grant.resource.namespace,
                scope=approval.scope if approval else "",
                sources=approval.sources if approval else (),
            ),
        )
        return _to_client(protocol, server.answer_authorization(protocol, grant, approval))


class Consent:
    """What a client asks of an account, and what the account allowed it the last time."""

    def __init__(
        self, session: Session, grant: CodeGrant, account: Account, asked: Parameters, known: list[SourceInfo]
    ) -> None:
        self.grant = grant
        self.account = account
        self.asked = asked
        service = session.get_one(Service, grant.resource.namespace)
        self._before = latest(session, grant.client, account.id, service.namespace)
        self._granted = known_scopes(self._before.scope) if self._before else []
        self._shared = self._before.sources if self._before else []
        self._sources = shareable(known, account, service)
        self._offered = offered_scopes(asked.get("scope"), service.scopes)

    @property
    def was_given(self) -> bool:
        """Whether nothing is left to ask: it was all allowed before, and nobody but the site itself gets the code."""
        return (
            self._before is not None
            and set(self._offered) <= set(self._granted)
            and is_of_a_site(self.grant.redirect_uri)
            and not self.grant.manner.asking
        )

    @property
    def remembered(self) -> Approval:
        """What was allowed before, as far as it is asked for now."""
        return Approval(self.account.id, " ".join(self._with_offline(self._offered)), tuple(self._shared))

    def scopes(self, *, writing: bool) -> list[Choice]:
        """Those asked for: either that write, or that read."""
        return [Choice(scope, describe(scope), scope) for scope in self._offered if writes(scope) is writing]

    def sources(self) -> list[Choice]:
        """The sources to choose from; those that were chosen before also while they are away."""
        there = [Choice(s.name, s.title, s.description, s.name in self._shared) for s in self._sources]
        names = {source.name for source in self._sources}
        away = [Choice(name, name, "not there at the moment") for name in self._shared if name not in {*names, "**"}]
        return [*there, *away]

    @property
    def shares_all(self) -> bool:
        """Whether all sources are shared if nothing else is chosen."""
        return self._before is None or "**" in self._shared

    def chosen(self, form: Parameters) -> tuple[list[str], tuple[str, ...]]:
        """What is ticked of what was offered; `offline_access` is no choice of its own."""
        ticked = form.lists.get("scope", [])
        scopes = [scope for scope in self._offered if scope in ticked]
        ticked = form.lists.get("source", [])
        sources = ("**",) if "**" in ticked else tuple(one.value for one in self.sources() if one.value in ticked)
        return self._with_offline(scopes), sources

    def _with_offline(self, scopes: list[str]) -> list[str]:
        wanted = bool(scopes) and OFFLINE in known_scopes(self.asked.get("scope"))
        return [*scopes, OFFLINE] if wanted else scopes


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


def _consent_page(consent: Consent, browser: Browser, message: str = "") -> Template:
    grant = consent.grant
    context = {
        "client": grant.client.name,
        "described_by": urlsplit(grant.client.client_id).hostname if grant.client.fresh_until else "",
        "named_itself": grant.client.namespace is None and not grant.client.fresh_until,
        "only_local": all(map(is_loopback, grant.client.redirect_uris)) and grant.client.public,
        "destination": destination(grant.redirect_uri),
        "service": grant.resource.label,
        "reading": consent.scopes(writing=False),
        "writing": consent.scopes(writing=True),
        "sources": consent.sources(),
        "shares_all": consent.shares_all,
        "email": consent.account.email,
        "asked": consent.asked.encode(),
        "csrf_token": browser.csrf_token,
        "message": message,
    }
    headers = {"Content-Security-Policy": CONSENT_POLICY}
    return Template("consent.html", context=context, headers=headers, status_code=400 if message else 200)
