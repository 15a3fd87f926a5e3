"""The page where a person types the code that a device shows (RFC 8628, section 3.3), and where devices get one."""

import asyncio
from typing import Any, cast

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.response import Redirect, Template
from sqlalchemy.orm import Session

from isthmus_auth import device_flow
from isthmus_auth.answers import Refusal, json_answer
from isthmus_auth.attempts import network_of
from isthmus_auth.audit import note
from isthmus_auth.authorizations import grant
from isthmus_auth.browser import Browser, account_of, address_of, check_form, end_session
from isthmus_auth.choices import NOTHING_CHOSEN, Consent, decided
from isthmus_auth.endpoints import authenticating
from isthmus_auth.models import Account, Client, DeviceRequest
from isthmus_auth.pages import sign_in_first
from isthmus_auth.parameters import Parameters
from isthmus_auth.requested import find_resource
from isthmus_auth.server import AUTH_METHODS, Answer, ProtocolRequest
from isthmus_auth.site import Site
from isthmus_auth.sources import SourceInfo

DEVICE = "/device"
LONGEST_CODE = 40
NO_STORE = {"Cache-Control": "no-store"}
UNKNOWN = "That code is not known, or not any more. Look at the device again, or start there anew."


@post("/device_authorization")
async def begin(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Response[bytes]:
    """The device authorization endpoint (RFC 8628, section 3.1)."""
    if not site.devices.allow((network_of(address_of(request)),)):
        raise Refusal(429, "There were too many requests from this address. Try again in ten minutes.")
    protocol = await authenticating(request, site, form)
    described = await asyncio.to_thread(_begin, site, protocol)
    return json_answer(Answer(200, described, NO_STORE))


@get(DEVICE)
async def show_device(request: Request[Any, Any, Any], site: NamedDependency[Site]) -> Template | Redirect:
    """Asks for the code. One that came with the address is filled in, and still to be compared with the device's."""
    code = Parameters.parse(request.scope["query_string"]).get("user_code")[:LONGEST_CODE]
    return await asyncio.to_thread(_show, site, Browser.of(request, site.origins), code)


@post(DEVICE)
async def answer_device(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Template | Redirect:
    """Takes the code, asks what to allow, and takes the answer."""
    browser = Browser.of(request, site.origins)
    check_form(request, site.origins, browser, form)
    known = await site.sources.now()
    return await asyncio.to_thread(_answer, site, browser, form, known, address_of(request))


def _begin(site: Site, protocol: ProtocolRequest) -> dict[str, object]:
    with site.sessions.begin() as session:
        client = site.server(session).authenticate_client(protocol, AUTH_METHODS, "device_authorization")
        return {**device_flow.begin(session, site.origins, cast("Client", client), protocol.parameters)}


def _show(site: Site, browser: Browser, code: str) -> Template | Redirect:
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        return _sign_in_first(browser, site, code) if account is None else _page(browser, account, code)


def _answer(
    site: Site, browser: Browser, form: Parameters, known: list[SourceInfo], address: str
) -> Template | Redirect:
    code, decision = form.get("user_code")[:LONGEST_CODE], form.get("decision")
    with site.sessions.begin() as session:
        account = account_of(session, browser)
        if account is None:
            return _sign_in_first(browser, site, code)
        if decision == "switch":
            end_session(session, browser)
            return _sign_in_first(browser, site, code)
        # The codes are short: nobody may try many of them.
        if not site.codes.allow((account.id,)):
            return _page(browser, account, "", "There were too many attempts. Wait five minutes, then try again.", 429)
        row = device_flow.waiting(session, code)
        if row is None:
            return _page(browser, account, code, UNKNOWN, 404)
        site.codes.succeeded((account.id,))
        return _decide(site, session, browser, account, row, form, known, address)


def _decide(
    site: Site,
    session: Session,
    browser: Browser,
    account: Account,
    row: DeviceRequest,
    form: Parameters,
    known: list[SourceInfo],
    address: str,
) -> Template:
    client, code, decision = row.client, form.get("user_code")[:LONGEST_CODE], form.get("decision")
    resource = find_resource(session, site.origins, client, row.resource)
    consent = Consent(session, client, resource, account, row.scope, known)
    if decision not in ("allow", "deny"):
        return consent.page(browser, DEVICE, {"user_code": code}, destination="")
    approval = consent.chosen(form) if decision == "allow" else None
    if decision == "allow" and approval is None:
        return consent.page(browser, DEVICE, {"user_code": code}, destination="", message=NOTHING_CHOSEN)
    if approval is None:
        row.denied = True
    else:
        allowed = grant(session, client, account.id, resource, approval.scope, list(approval.sources))
        session.flush()
        row.sid = allowed.sid
    note(session, decided(account, client, resource, approval, address))
    return Template("device_done.html", context={"client": client.name, "allowed": approval is not None})


def _sign_in_first(browser: Browser, site: Site, code: str) -> Redirect:
    plain = "".join(c for c in code if c.isascii() and (c.isalnum() or c == "-"))
    return sign_in_first(browser, site, f"{DEVICE}?user_code={plain}" if plain else DEVICE)


def _page(browser: Browser, account: Account, code: str, message: str = "", status: int = 200) -> Template:
    context = {"csrf_token": browser.csrf_token, "email": account.email, "code": code, "message": message}
    return Template("device.html", context=context, status_code=status)
