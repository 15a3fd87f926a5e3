"""Tokens looked at and given back: revocation (RFC 7009) and introspection (RFC 7662)."""

import asyncio
import time
from typing import Any, cast

from authlib.oauth2.rfc6749 import InvalidRequestError
from litestar import Request, Response, post
from litestar.di import NamedDependency
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus_auth import outbox
from isthmus_auth.answers import json_answer
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.authorizations import revoke
from isthmus_auth.browser import address_of
from isthmus_auth.endpoints import authenticating
from isthmus_auth.hashing import digest
from isthmus_auth.models import Client, RefreshToken, Revocation
from isthmus_auth.outbox import last_recorded
from isthmus_auth.parameters import Parameters
from isthmus_auth.server import AUTH_METHODS, CONFIDENTIAL_METHODS, Answer, ProtocolRequest
from isthmus_auth.signing import Claims
from isthmus_auth.site import Site
from isthmus_auth.validity import is_active

PUBLISHED_WITHIN = 1.0
"""Seconds that the answer waits for the gateways to hear of it."""

NO_STORE = {"Cache-Control": "no-store"}
UNKNOWN: dict[str, object] = {"active": False}
"""The answer about every token that is not, not any more, or not for this client (RFC 7662, section 2.2)."""


@post("/revoke")
async def revoke_token(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Response[bytes]:
    """Ends a token of the client that asks; a refresh token with all that came of its authorization. Tokens that are
    not there, or are another client's, are answered the same (RFC 7009, section 2.2)."""
    protocol = await _protocol(request, site, form)
    change = await asyncio.to_thread(_revoke, site, protocol, address_of(request))
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return json_answer(Answer(200, {}, NO_STORE))


@post("/introspect")
async def introspect(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Response[bytes]:
    """What a token is worth, to a client with a secret: of its own tokens, and of those for its MCP service."""
    described = await asyncio.to_thread(_introspect, site, await _protocol(request, site, form))
    return json_answer(Answer(200, described, NO_STORE))


async def _protocol(request: Request[Any, Any, Any], site: Site, form: Parameters) -> ProtocolRequest:
    if not form.repeated() and not form.get("token"):
        raise InvalidRequestError("The parameter token is missing.")
    return await authenticating(request, site, form)


def _revoke(site: Site, protocol: ProtocolRequest, address: str) -> int:
    """The last change of policy that goes with it; 0: none."""
    with site.sessions.begin() as session:
        server = site.server(session)
        client = cast("Client", server.authenticate_client(protocol, AUTH_METHODS, "revocation"))
        token = protocol.parameters.get("token")
        principal = ""
        if row := session.get(RefreshToken, digest(token), with_for_update=True):
            if row.check_client(client):
                revoke(session, row.authorization)
                principal = row.authorization.account_id
        elif (claims := site.keys.claims(token, site.origins.issuer)) and claims.client_id == client.client_id:
            _void(session, claims)
            principal = claims.sub
        if principal:
            event = AuthEvent(event="revoked", address=address, principal=principal, client=client.client_id)
            note(session, event)
        session.flush()
        return last_recorded(session)


def _void(session: Session, claims: Claims) -> None:
    key = policy.key("revoked", "token", claims.jti)
    before, expires_at = claims.iat + 1, claims.exp + policy.CLOCK_LEEWAY
    session.merge(Revocation(key=key, before=before, expires_at=expires_at))
    outbox.record(session, key, policy.Revoked(before), expires_at)


def _introspect(site: Site, protocol: ProtocolRequest) -> dict[str, object]:
    with site.sessions.begin() as session:
        client = cast(
            "Client", site.server(session).authenticate_client(protocol, CONFIDENTIAL_METHODS, "introspection")
        )
        token = protocol.parameters.get("token")
        if claims := site.keys.claims(token, site.origins.issuer):
            known = client.client_id == claims.client_id or client.namespace == claims.service
            return _access(session, claims) if known else UNKNOWN
        row = session.get(RefreshToken, digest(token))
        return UNKNOWN if row is None or not row.check_client(client) else _refresh(row, site.origins.issuer)


def _access(session: Session, claims: Claims) -> dict[str, object]:
    if not is_active(session, claims):
        return UNKNOWN
    return {
        "active": True,
        "token_type": "Bearer",
        "scope": claims.scope,
        "client_id": claims.client_id,
        "sub": claims.sub,
        "aud": claims.aud,
        "iss": claims.iss,
        "jti": claims.jti,
        "iat": claims.iat,
        "exp": claims.exp,
    }


def _refresh(row: RefreshToken, issuer: str) -> dict[str, object]:
    authorization = row.authorization
    gone = row.rotated_at is not None or row.expires_at <= time.time() or authorization.revoked_at is not None
    if gone or authorization.account.disabled:
        return UNKNOWN
    return {
        "active": True,
        "scope": authorization.scope,
        "client_id": authorization.client_id,
        "sub": authorization.account_id,
        "iss": issuer,
        "exp": row.expires_at,
    }
