"""The bearer gate in front of the MCP endpoint: who calls (RFC 6750, RFC 9728), and with scope enough."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus.definitions import Definition
from isthmus.origins import ENDPOINT_PATH, Origins
from isthmus.policy import KEY_PREFIX, Service
from isthmus_mcp_gateway import resources
from isthmus_mcp_gateway.catalog import Catalog, CatalogEntry
from isthmus_mcp_gateway.policy import Policy
from isthmus_mcp_gateway.tokens import Claims, InvalidToken, Verifier

CLAIMS = "isthmus.claims"
"""Where the gate leaves the verified claims in the ASGI scope."""

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a request's body; the SDK has the same bound."""


class _Parameters(msgspec.Struct):
    name: str = ""
    uri: str = ""


class _Request(msgspec.Struct):
    """As much of a JSON-RPC request as the gate needs; all else is the SDK's to judge."""

    method: str = ""
    params: _Parameters = msgspec.field(default_factory=_Parameters)


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets only those requests through that carry a valid token for this endpoint."""

    inner: ASGIApp
    origins: Origins
    verifier: Verifier
    policy: Callable[[], Policy]
    arrived: Callable[[Claims], Awaitable[None]]
    """Returns when the policy knows the caller, or could have."""
    catalog: Callable[[], Catalog]
    refused: Callable[[int, str, str, str, str], None]
    """Hears of a request that goes no further: status, service, principal, client and the scope that is missing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole way of one request: service → token → scope → MCP."""
        namespace = scope["path"].removeprefix(ENDPOINT_PATH).strip("/")
        service = self.policy().service(namespace)
        if service is None:
            await respond(send, 404)
            return
        headers = [(name, value.strip()) for name, value in scope["headers"]]  # httptools keeps trailing white space
        scope["headers"] = headers
        authorization = next((v.decode("latin-1") for name, v in headers if name == b"authorization"), "")
        metadata = self.origins.metadata(namespace)
        names = (service.namespace, "") if service.default else (service.namespace,)
        endpoints = frozenset(self.origins.endpoint(name) for name in names)
        try:
            claims = self._authenticate(authorization, endpoints, service)
        except InvalidToken:
            error = {"error": "invalid_token"} if authorization else {}
            offered = " ".join(offered_scopes(self.catalog(), service))
            hint = {"scope": offered} if offered else {}
            if authorization:
                self.refused(401, service.namespace, "", "", "")
            await respond(send, 401, _challenge({**error, **hint, "resource_metadata": metadata}))
            return
        if scope["method"] == "POST":
            body = await read_body(receive)
            if body is None:
                await respond(send, 413)
                return
            receive = replay_body(body, receive)
            try:  # once more: the body may have taken longer than the token is good for
                self._authenticate(authorization, endpoints, service)
            except InvalidToken:
                await respond(send, 401, _challenge({"error": "invalid_token", "resource_metadata": metadata}))
                return
            missing = self._missing_scope(body, claims)
            # Whoever has a key cannot ask for more: what it does not open is not there.
            if missing and service.offers(missing) and not claims.by_key:
                self.refused(403, service.namespace, claims.sub, claims.client_id, missing)
                wanted = " ".join(sorted({*claims.scope.split(), missing}))
                challenge = {"error": "insufficient_scope", "scope": wanted, "resource_metadata": metadata}
                await respond(send, 403, _challenge(challenge))
                return
        if not self.policy().knows(claims):
            await self.arrived(claims)
        admit(scope, claims)
        await self.inner(scope, receive, send)

    def _authenticate(self, authorization: str, endpoints: frozenset[str], service: Service) -> Claims:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidToken
        token = token.strip()
        if token.startswith(KEY_PREFIX):
            claims = self.policy().of_key(token, self.verifier.issuer, next(iter(endpoints)))
            if claims is None:
                raise InvalidToken
        else:
            claims = self.verifier.verify(token)
        if not claims.is_for(endpoints) or claims.service != service.namespace or self.policy().is_revoked(claims):
            raise InvalidToken
        if not service.scopes:
            return claims
        scopes = [scope for scope in claims.scope.split() if service.offers(scope)]
        return msgspec.structs.replace(claims, scope=" ".join(scopes))

    def _missing_scope(self, body: bytes, claims: Claims) -> str:
        """The scope that the tool, prompt or resource needs and the token lacks; empty: none."""
        try:
            request = msgspec.json.decode(body, type=_Request)
        except (msgspec.DecodeError, RecursionError):
            return ""
        found: CatalogEntry[Definition] | None = None
        match request.method:
            case "tools/call":
                found = self.catalog().tools.get(request.params.name)
            case "prompts/get":
                found = self.catalog().prompts.get(request.params.name)
            case "resources/read":
                match = resources.find(request.params.uri, self.catalog().resources.values())
                found = match[0] if match is not None else None
            case _:
                pass
        return "" if found is None or found.definition.scope in claims.scope.split() else found.definition.scope


def admit(scope: Scope, claims: Claims) -> None:
    """Leaves in the scope who calls; sessions are bound to this client and user."""
    scope["user"] = AuthenticatedUser(_access_token(claims))
    scope[CLAIMS] = claims


def offered_scopes(catalog: Catalog, service: Service) -> list[str]:
    """The scopes of all that there is, as far as the service offers them."""
    return [scope for scope in catalog.scopes if service.offers(scope)]


def _challenge(parameters: dict[str, str]) -> list[tuple[bytes, bytes]]:
    values = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    return [(b"www-authenticate", f"Bearer {values}".encode())]


def _access_token(claims: Claims) -> AccessToken:
    return AccessToken(
        token=claims.jti,
        client_id=claims.client_id,
        scopes=claims.scope.split(),
        expires_at=claims.exp,
        subject=claims.sub,
        claims={"iss": claims.iss},
    )


async def read_body(receive: Receive) -> bytes | None:
    """The request's body; None: too large."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > BODY_LIMIT:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def replay_body(body: bytes, receive: Receive) -> Receive:
    """The body once more, then whatever comes after it: a disconnect, as a rule."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def respond(send: Send, status: int, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """A response without a body."""
    all_headers = [*(headers or []), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": b""})
