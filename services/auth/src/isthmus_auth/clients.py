"""Clients: how they prove who they are, and how they register themselves (RFC 7591)."""

import base64
import binascii
import time
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import msgspec
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE
from msgspec import Meta
from sqlalchemy.orm import Session

from isthmus_auth import outbox
from isthmus_auth.client_keys import METHOD, Jwks, checked
from isthmus_auth.hashing import digest, random_id, random_secret
from isthmus_auth.models import Account, Client
from isthmus_auth.redirects import problem
from isthmus_auth.requested import known_scopes
from isthmus_auth.server import AUTH_METHODS, ProtocolRequest

GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials", DEVICE_CODE_GRANT_TYPE)

Word = Annotated[str, Meta(max_length=200)]
Words = Annotated[list[Word], Meta(max_length=20)]
Uris = Annotated[list[Annotated[str, Meta(max_length=2048)]], Meta(max_length=20)]


class Registration(msgspec.Struct, frozen=True):
    """What a client sends. Other fields, such as `application_type`, are ignored (RFC 7591, section 2)."""

    redirect_uris: Uris | None = None
    token_endpoint_auth_method: Word | None = None
    grant_types: Words | None = None
    response_types: Words | None = None
    client_name: Word | None = None
    scope: Annotated[str, Meta(max_length=2000)] | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: Annotated[str, Meta(max_length=2048)] | None = None


class Registered(msgspec.Struct, frozen=True, omit_defaults=True):
    """What it gets back (RFC 7591, section 3.2.1)."""

    client_id: str
    client_id_issued_at: int
    client_name: str
    redirect_uris: list[str]
    grant_types: list[str]
    response_types: list[str]
    token_endpoint_auth_method: str
    scope: str
    client_secret: str | msgspec.UnsetType = msgspec.UNSET
    client_secret_expires_at: int | msgspec.UnsetType = msgspec.UNSET
    jwks: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def basic_credentials(query_client: Callable[[str], Client | None], request: ProtocolRequest) -> Client | None:
    """HTTP Basic (RFC 6749, section 2.3.1). The library's own reading fails on what is not valid UTF-8."""
    kind, _, encoded = (request.headers or {}).get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    client = query_client(unquote(name))
    return client if client is not None and client.check_client_secret(unquote(secret)) else None


def register(session: Session, body: bytes) -> Registered:
    """Makes a client with credentials of its own. Raises OAuth2Error with an error code of RFC 7591."""
    asked = _read(body)
    method = asked.token_endpoint_auth_method or "client_secret_basic"
    if method not in AUTH_METHODS:
        raise _invalid(f"The authentication methods here are {', '.join(AUTH_METHODS)}.")
    jwks = _keys(asked) if method == METHOD else None
    grant_types = [known for known in GRANT_TYPES if known in (asked.grant_types or GRANT_TYPES[:1])]
    if not grant_types or grant_types == ["refresh_token"]:
        raise _invalid(f"The grant types here are {', '.join(GRANT_TYPES)}.")
    if method == "none" and "client_credentials" in grant_types:
        raise _invalid("A client without a secret cannot use client_credentials.")
    by_redirect = "authorization_code" in grant_types
    if by_redirect and "code" not in (asked.response_types or ["code"]):
        raise _invalid("The only response type here is code.")
    redirect_uris = list(dict.fromkeys(asked.redirect_uris or []))
    if by_redirect and not redirect_uris:
        raise OAuth2Error("At least one redirect URI is needed.", error="invalid_redirect_uri")
    if problems := [said for uri in redirect_uris if (said := problem(uri))]:
        raise OAuth2Error(problems[0], error="invalid_redirect_uri")

    secret = random_secret() if method.startswith("client_secret") else None
    client = Client(
        client_id=f"c_{random_id()}",
        secret_hash=None if secret is None else digest(secret),
        public=method == "none",
        jwks=jwks,
        name=shown_name(asked.client_name or "", redirect_uris),
        grant_types=grant_types,
        redirect_uris=redirect_uris,
    )
    session.add(client)
    if "client_credentials" in grant_types:
        account = Account(id=client.client_id)
        session.add(account)
        outbox.record_account(session, account)
    return Registered(
        client_id=client.client_id,
        client_id_issued_at=int(time.time()),
        client_name=client.name,
        redirect_uris=redirect_uris,
        grant_types=grant_types,
        response_types=["code"] if by_redirect else [],
        token_endpoint_auth_method=method,
        scope=" ".join(known_scopes(asked.scope or "")),
        client_secret=msgspec.UNSET if secret is None else secret,
        client_secret_expires_at=msgspec.UNSET if secret is None else 0,
        jwks=msgspec.UNSET if jwks is None else jwks,
    )


def _keys(asked: Registration) -> Jwks:
    if asked.jwks_uri is not None:
        raise _invalid("Send the keys themselves, as jwks: nothing is fetched for clients that register themselves.")
    if asked.jwks is None:
        raise _invalid("A client of private_key_jwt sends its public keys as jwks.")
    try:
        return checked(asked.jwks)
    except ValueError as error:
        raise _invalid(f"{_plain(str(error))}.") from None


def _read(body: bytes) -> Registration:
    try:
        return msgspec.json.decode(body, type=Registration)
    except msgspec.ValidationError as error:
        raise _invalid(_plain(str(error)) + ".") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("The body is not a valid JSON object.") from None


def shown_name(asked: str, redirect_uris: list[str]) -> str:
    """A name to show: without invisible characters, which could make it read as another."""
    shown = " ".join("".join(c for c in asked if c.isprintable()).split())
    return shown or next((urlsplit(uri).netloc for uri in redirect_uris), "") or "Unnamed client"


def _plain(text: str) -> str:
    """Error descriptions hold printable ASCII without quotes and backslashes (RFC 6749, section 5.2)."""
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "'" for c in text)


def _invalid(description: str) -> OAuth2Error:
    return OAuth2Error(description, error="invalid_client_metadata")
