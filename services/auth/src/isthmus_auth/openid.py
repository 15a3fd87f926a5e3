"""OpenID Connect Core 1.0 and Discovery 1.0: what a provider says, and whether it can be believed. No network here."""

import contextlib
from typing import Any, cast

import msgspec
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from isthmus_auth.client_keys import Jwks, checked
from isthmus_auth.fetching import Unfetchable
from isthmus_auth.redirects import web_problem

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
"""What ID tokens may be signed with: never `none`, and nothing that a shared secret can sign."""
LEEWAY = 60
"""Seconds by which clocks may differ."""
MOST_KEYS = 50
LONGEST_SUBJECT = 255

Claims = dict[str, Any]
"""What a provider says of somebody: of any shape."""


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, and this server as its client."""

    name: str
    issuer: str
    client_id: str
    client_secret: str
    """Empty: a public client."""
    scopes: tuple[str, ...]
    local: bool
    """Whether it may be on this machine or in its network."""
    redirect_uri: str


class Metadata(msgspec.Struct, frozen=True):
    """What the provider says of itself (Discovery 1.0, section 3), as far as it counts here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Tokens(msgspec.Struct, frozen=True):
    """What the token endpoint answers (Core 1.0, section 3.1.3.3)."""

    id_token: str
    access_token: str = ""


class _Set(msgspec.Struct):
    keys: list[Claims]


class Distrusted(Exception):
    """What a provider, or somebody in its name, said that cannot be. The message is for the log."""


def described(body: bytes, issuer: str) -> Metadata:
    """What a discovery document says, if it is the issuer's and names nothing but web addresses. Raises Unfetchable."""
    try:
        metadata = msgspec.json.decode(body, type=Metadata)
    except (ValueError, RecursionError):
        raise Unfetchable("it does not describe a provider") from None
    if metadata.issuer != issuer:
        raise Unfetchable("it describes another issuer")
    urls = [metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri]
    if metadata.userinfo_endpoint:
        urls.append(metadata.userinfo_endpoint)
    if any(web_problem(url, "") for url in urls):
        raise Unfetchable("it names an address that is no good")
    return metadata


def usable(body: bytes) -> Jwks:
    """Those public keys of a JWK set that can be used here; others may stand beside them. Raises Unfetchable."""
    try:
        found = msgspec.json.decode(body, type=_Set).keys[:MOST_KEYS]
    except (ValueError, RecursionError):
        raise Unfetchable("its keys are no JWK set") from None
    keys: list[dict[str, Any]] = []
    for key in found:
        if key.get("use") != "enc" and str(key.get("crv", "")) not in ("X25519", "X448"):
            with contextlib.suppress(ValueError):
                keys += checked({"keys": [key]})["keys"]
    return {"keys": keys}


def verified(tokens: Tokens, jwks: Jwks, party: Party, nonce: str) -> Claims:
    """The claims of an ID token (Core 1.0, section 3.1.3.7). Raises Distrusted."""
    if not jwks["keys"]:
        raise Distrusted("the provider has no key that can be used")
    options: Claims = {
        "iss": {"essential": True, "value": party.issuer},
        "aud": {"essential": True, "value": party.client_id},
    }
    context = {"client_id": party.client_id, "nonce": nonce, "access_token": tokens.access_token}
    try:
        token = jwt.decode(tokens.id_token, KeySet.import_key_set(cast("Any", jwks)), algorithms=ALGORITHMS)
        claims = CodeIDToken(token.claims, token.header, options, context)
        claims.validate(leeway=LEEWAY)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Distrusted(f"the ID token is not valid: {type(error).__name__}") from None
    if not 1 <= len(token.claims["sub"]) <= LONGEST_SUBJECT or not token.claims["sub"].isprintable():
        raise Distrusted("the ID token has no subject of an acceptable length")
    return token.claims


def printable(token: str) -> str:
    """A token that can stand in a header (RFC 6750, section 2.1). Raises Distrusted."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise Distrusted("the access token is none")
    return token
