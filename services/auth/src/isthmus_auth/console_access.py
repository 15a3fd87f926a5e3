"""The console's own way to the MCP endpoints: short tokens for whoever is signed in, and for nobody else.

What they open is what the person's own roles grant. They end with the person's session in the browser, and never leave
this server but for the gateway.
"""

import asyncio
import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus import policy, subjects
from isthmus.scopes import SCOPES, use_of
from isthmus_auth import outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, session_at
from isthmus_auth.gateway_client import Access
from isthmus_auth.hashing import random_id
from isthmus_auth.models import Authorization, BrowserSession, Service
from isthmus_auth.outbox import last_recorded
from isthmus_auth.seed import CONSOLE
from isthmus_auth.signing import Subject
from isthmus_auth.site import Site

LIFETIME = 60
"""Seconds that a token is valid: it is made for the one request that follows."""
PUBLISHED_WITHIN = 1.0


async def open_access(site: Site, browser: Browser, namespace: str, address: str) -> Access:
    """For an administrator who is signed in with this browser; empty: the default service. Raises Refusal."""
    kinds = {source.name.partition(".")[0] for source in await site.sources.now()}
    access, change = await asyncio.to_thread(_open, site, browser, namespace, address, kinds)
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return access


def _open(site: Site, browser: Browser, namespace: str, address: str, kinds: set[str]) -> tuple[Access, int]:
    """The access, and the change of policy that it has to wait for; 0: none."""
    with site.sessions.begin() as session:
        signed_in = session_at(session, browser, "")
        if signed_in is None:
            raise Refusal(401, "Sign in first.")
        if not signed_in.account.is_admin:
            raise Refusal(403, "This is for administrators.")
        service = find_service(session, namespace)
        endpoint = site.origins.endpoint("" if service.is_default else service.namespace)
        scopes = [scope for scope in _scopes(kinds) if not service.scopes or scope in service.scopes]
        authorization = _current(session, signed_in, service) or _begun(
            session, signed_in, service, endpoint, " ".join(scopes), address
        )
        session.flush()
        subject = Subject(
            signed_in.account_id, authorization.sid, service.namespace, endpoint, until=signed_in.expires_at
        )
        lifetime = min(LIFETIME, service.access_lifetime)
        token = site.keys.access_token(site.origins.issuer, CONSOLE, subject, " ".join(scopes), lifetime)
        return Access(service.namespace, endpoint, token), last_recorded(session)


def find_service(session: Session, namespace: str) -> Service:
    """Raises Refusal."""
    wanted = Service.namespace == namespace if namespace else Service.is_default
    service = session.scalar(select(Service).where(wanted))
    if service is None:
        raise Refusal(404, "There is no MCP service of that namespace.")
    return service


def _scopes(kinds: set[str]) -> list[str]:
    """All that there are: what counts is what the roles grant."""
    return [*SCOPES, *sorted(use_of(kind) for kind in kinds if kind not in subjects.BUILT_IN)]


def _current(session: Session, signed_in: BrowserSession, service: Service) -> Authorization | None:
    return session.scalar(
        select(Authorization)
        .where(
            Authorization.browser == signed_in.id_hash,
            Authorization.account_id == signed_in.account_id,
            Authorization.namespace == service.namespace,
            Authorization.revoked_at.is_(None),
            Authorization.expires_at > int(time.time()),
        )
        .limit(1)
    )


def _begun(
    session: Session, signed_in: BrowserSession, service: Service, endpoint: str, scope: str, address: str
) -> Authorization:
    authorization = Authorization(
        sid=random_id(),
        client_id=CONSOLE,
        account_id=signed_in.account_id,
        namespace=service.namespace,
        resource=endpoint,
        scope=scope,
        sources=["**"],
        created_at=int(time.time()),
        expires_at=signed_in.expires_at,
        browser=signed_in.id_hash,
    )
    session.add(authorization)
    shared = policy.Consent(tuple(authorization.sources))
    outbox.record(session, policy.key("consent", authorization.sid), shared, authorization.expires_at)
    event = AuthEvent(
        event="token",
        address=address,
        principal=signed_in.account_id,
        client=CONSOLE,
        service=service.namespace,
        grant="console",
        scope=scope,
    )
    note(session, event)
    return authorization
