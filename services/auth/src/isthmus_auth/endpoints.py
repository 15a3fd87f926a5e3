"""The endpoints that programs use: tokens, registration, metadata, health."""

import asyncio
from typing import Any, cast

import msgspec
from authlib.oauth2.rfc6749 import InvalidRequestError
from litestar import MediaType, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from isthmus.scopes import SCOPES
from isthmus_auth.answers import Refusal, json_answer
from isthmus_auth.attempts import network_of
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import address_of
from isthmus_auth.client_keys import ALGORITHMS, client_of
from isthmus_auth.clients import GRANT_TYPES, Registered
from isthmus_auth.clients import register as register_client
from isthmus_auth.exchange import EXCHANGE
from isthmus_auth.id_jag import JWT_BEARER, AssertionGrant, issuer_keys
from isthmus_auth.models import Client, Service
from isthmus_auth.outbox import last_recorded
from isthmus_auth.parameters import Parameters
from isthmus_auth.requested import OFFLINE
from isthmus_auth.server import AUTH_METHODS, CONFIDENTIAL_METHODS, Answer, IssuerKeys, ProtocolRequest
from isthmus_auth.site import Site

PUBLISHED_WITHIN = 1.0
"""Seconds that a token waits for the gateways to know its session."""

FRESH = {"Cache-Control": "public, max-age=300"}


class ServiceInfo(msgspec.Struct, frozen=True):
    """What a client needs to know to reach an MCP service; nothing secret."""

    mcp_endpoint: str
    issuer: str
    namespace: str
    label: str
    description: str


@post("/token")
async def token(
    request: Request[Any, Any, Any], site: NamedDependency[Site], form: NamedDependency[Parameters]
) -> Response[bytes]:
    """The token endpoint (RFC 6749, section 3.2)."""
    protocol = await authenticating(request, site, form)
    known = await issuer_keys(site, form)
    answer, change = await asyncio.to_thread(_token, site, protocol, known, address_of(request))
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return json_answer(answer)


async def authenticating(request: Request[Any, Any, Any], site: Site, form: Parameters) -> ProtocolRequest:
    """A request whose client is to prove who it is; its keys are those of now."""
    if form.repeated():
        raise InvalidRequestError("A parameter was sent more than once.")
    if assertion := form.get("client_assertion"):
        await site.client_keys.refresh(client_of(assertion), assertion)
    return ProtocolRequest("POST", form, request.headers.get("authorization", ""))


@post("/register", sync_to_thread=True)
def register(
    request: Request[Any, Any, Any], site: NamedDependency[Site], body_bytes: NamedDependency[bytes]
) -> Registered:
    """Dynamic client registration (RFC 7591), open to all: a client alone may do nothing."""
    if not site.registrations.allow((network_of(address_of(request)),)):
        raise Refusal(429, "There were too many registrations from this address. Try again in ten minutes.")
    with site.sessions.begin() as session:
        registered = register_client(session, body_bytes)
        note(session, AuthEvent(event="registered", address=address_of(request), client=registered.client_id))
        return registered


@get("/.well-known/oauth-authorization-server", sync_to_thread=False)
def metadata(site: NamedDependency[Site]) -> Response[dict[str, object]]:
    """What this server can do (RFC 8414)."""
    issuer = site.origins.issuer
    described: dict[str, object] = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": list(CONFIDENTIAL_METHODS),
        "jwks_uri": f"{issuer}/jwks",
        "scopes_supported": [*SCOPES, OFFLINE],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [*GRANT_TYPES, EXCHANGE, JWT_BEARER],
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "authorization_grant_profiles_supported": ["urn:ietf:params:oauth:grant-profile:id-jag"],
        "code_challenge_methods_supported": ["S256"],
        "client_id_metadata_document_supported": True,
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "authorization_response_iss_parameter_supported": True,
    }
    return Response(described, headers=FRESH)


@get("/jwks", sync_to_thread=False)
def jwks(site: NamedDependency[Site]) -> Response[bytes]:
    """The keys that access tokens are signed with (RFC 7517)."""
    return Response(site.keys.ring.jwks, media_type=MediaType.JSON, headers=FRESH)


@get("/mcp-services/{namespace:str}", sync_to_thread=True)
def service_info(namespace: FromPath[str], site: NamedDependency[Site]) -> ServiceInfo:
    """How to reach one MCP service."""
    with site.sessions.begin() as session:
        service = session.get(Service, namespace) if namespace.isalnum() else None
        if service is None:
            raise Refusal(404, "There is no MCP service of that namespace.")
        return ServiceInfo(
            mcp_endpoint=site.origins.endpoint("" if service.is_default else service.namespace),
            issuer=site.origins.issuer,
            namespace=service.namespace,
            label=service.label,
            description=service.description,
        )


@get("/healthz", sync_to_thread=False, media_type=MediaType.TEXT)
def healthz() -> str:
    """Serving."""
    return "ok\n"


@get("/readyz", sync_to_thread=True)
def readyz(site: NamedDependency[Site]) -> Response[str]:
    """Serving, and the database answers."""
    try:
        with site.sessions.begin() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return Response("the database does not answer\n", status_code=503, media_type=MediaType.TEXT)
    return Response("ok\n", media_type=MediaType.TEXT)


def _token(site: Site, protocol: ProtocolRequest, known: IssuerKeys | None, address: str) -> tuple[Answer, int]:
    """The answer, and the last change of policy that goes with it."""
    with site.sessions.begin() as session:
        server = site.server(session)
        server.issuer_keys = known
        server.register_grant(AssertionGrant)
        answer = server.answer_token(protocol)
        if (event := _event(site, protocol, answer, address)) is not None:
            note(session, event)
        session.flush()
        return answer, last_recorded(session)


def _event(site: Site, protocol: ProtocolRequest, answer: Answer, address: str) -> AuthEvent | None:
    """What the trail says of a token request; None: nothing, since no client proved to be the one it said it is."""
    client = cast("Client | None", protocol.client)
    if client is None:
        return None
    grant = protocol.parameters.get("grant_type")
    event = AuthEvent(event="token", address=address, grant=grant, client=client.client_id)
    claims = site.keys.claims(str(answer.body.get("access_token", "")), site.origins.issuer)
    if claims is None:
        return replace(event, outcome=str(answer.body.get("error", "invalid_request")))
    return replace(event, principal=claims.sub, service=claims.service, scope=claims.scope)
