"""Clients that prove who they are with a key of their own: `private_key_jwt` (RFC 7523, section 3).

Public keys come with a client's registration, or from its `jwks_uri`. Such an address is asked only for clients that
an administrator set up or that somebody has allowed something: strangers make this server fetch nothing.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from authlib.oauth2.rfc6749 import InvalidClientError
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet
from sqlalchemy import exists, select
from sqlalchemy.orm import Session, sessionmaker

from isthmus_auth.fetching import Unfetchable, fetch
from isthmus_auth.hashing import digest
from isthmus_auth.models import Authorization, Client, UsedAssertion

METHOD = "private_key_jwt"
ALGORITHMS = ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"]
"""What clients may sign with: `token_endpoint_auth_signing_alg_values_supported`."""

MOST_KEYS = 10
SMALLEST_RSA = 2048
"""Bits."""
LONGEST_VALID = 600
"""Seconds that an assertion may be valid from now: as long it is remembered, so that it counts once."""
LONGEST_ID = 255
AGAIN_AFTER = 60.0
"""Seconds until the keys of a client are asked for again."""
REMEMBERED = 1000

Jwks = dict[str, list[dict[str, Any]]]
"""A JWK set (RFC 7517, section 5)."""


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def checked(data: object) -> Jwks:
    """The public keys of a JWK set, as they may be kept. Raises ValueError with what is wrong."""
    try:
        keys = msgspec.convert(data, _Set).keys
    except msgspec.ValidationError:
        raise ValueError("jwks must be a JWK set, {'keys': [...]}") from None
    if not 1 <= len(keys) <= MOST_KEYS:
        raise ValueError(f"jwks must have 1 to {MOST_KEYS} keys")
    return {"keys": [_checked_key(key) for key in keys]}


def names_key(jwks: Mapping[str, object] | None, assertion: str) -> bool:
    """Whether the key that an assertion names is in the set, as far as it names one."""
    try:
        kid = jws.extract_compact(assertion.encode()).headers().get("kid")
    except (JoseError, ValueError):
        return True  # it is refused anyway
    keys = cast("Sequence[Mapping[str, object]]", (jwks or {}).get("keys", ()))
    return bool(keys) and (kid is None or any(key.get("kid") == kid for key in keys))


def use_once(session: Session, issuer: str, name: object, expires_at: int) -> bool:
    """Marks an assertion as used; False: it was used before."""
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_ID:
        return False
    key = digest(msgspec.json.encode([issuer, name]).decode())
    if session.get(UsedAssertion, key) is not None:
        return False
    session.add(UsedAssertion(id_hash=key, expires_at=expires_at))
    session.flush()
    return True


class PrivateKeyJwt(JWTBearerClientAssertion):
    """The check of an assertion, for one request."""

    def __init__(self, session: Session, issuer: str) -> None:
        super().__init__(leeway=30)  # pyright: ignore[reportDeprecated]  (the stubs take it for the form with a URL)
        self._session = session
        self._issuer = issuer

    def get_audiences(self) -> list[str]:
        """This server, and its token endpoint, which older clients name."""
        return [self._issuer, f"{self._issuer}/token"]

    def resolve_client_public_key(self, client: Client) -> KeySet:
        if not client.jwks or not client.jwks.get("keys"):
            raise InvalidClientError
        return KeySet.import_key_set(cast("Any", client.jwks))

    def process_assertion_claims(self, assertion: str, resolve_key: KeySet) -> dict[str, Any]:
        """As the library does it, for asymmetric algorithms alone."""
        try:
            token = jwt.decode(assertion, resolve_key, algorithms=ALGORITHMS)
        except (JoseError, ValueError) as error:
            raise InvalidClientError from error
        self.verify_claims(token.claims)
        return token.claims

    def verify_claims(self, claims: Any) -> None:
        # An assertion for several servers could be carried from one of them to another.
        if not isinstance(claims.get("aud"), str):
            raise InvalidClientError
        super().verify_claims(claims)

    def authenticate_client(self, client: Client) -> Client:
        """Whether this is the client's method is asked by who calls."""
        return client

    def validate_jti(self, claims: dict[str, Any], jti: object) -> bool:
        expires_at = int(claims["exp"])
        if expires_at > time.time() + LONGEST_VALID:
            return False
        return use_once(self._session, str(claims["iss"]), jti, expires_at + self.leeway)


class ClientKeys:
    """Asks clients' `jwks_uri` when an assertion names a key that is not known."""

    def __init__(self, sessions: sessionmaker[Session], *, local: bool) -> None:
        """`local`: such addresses may be on this machine or in its network."""
        self._sessions = sessions
        self._local = local
        self._asked: dict[str, float] = {}

    async def refresh(self, client_id: str, assertion: str) -> None:
        """Sees that the client's keys are those of now, as far as they can be had."""
        uri = await asyncio.to_thread(self._missing, client_id, assertion)
        if not uri or self._asked.get(client_id, 0.0) > time.monotonic() - AGAIN_AFTER:
            return
        if len(self._asked) >= REMEMBERED:
            self._asked.clear()
        self._asked[client_id] = time.monotonic()
        try:
            jwks = await fetched(uri, local=self._local)
        except Unfetchable:
            return  # the keys of before still count
        await asyncio.to_thread(self._keep, client_id, uri, jwks)

    def _missing(self, client_id: str, assertion: str) -> str:
        """Where to ask for the key; empty: nowhere."""
        with self._sessions.begin() as session:
            client = session.get(Client, client_id)
            if client is None or not client.jwks_uri or names_key(client.jwks, assertion):
                return ""
            known = client.set_up or session.scalar(
                select(exists().where(Authorization.client_id == client_id, Authorization.revoked_at.is_(None)))
            )
            return client.jwks_uri if known else ""

    def _keep(self, client_id: str, uri: str, jwks: Jwks) -> None:
        with self._sessions.begin() as session:
            client = session.get(Client, client_id)
            if client is not None and client.jwks_uri == uri:
                client.jwks = jwks


async def fetched(uri: str, *, local: bool) -> Jwks:
    """The keys at an address. Raises Unfetchable."""
    document = await fetch(uri, local=local)
    try:
        return checked(msgspec.json.decode(document.body))
    except (ValueError, RecursionError) as error:
        raise Unfetchable(f"its keys cannot be used ({error})") from None


def client_of(assertion: str) -> str:
    """The client that an assertion says it is of, unverified; empty: it says none."""
    try:
        payload = jws.extract_compact(assertion.encode()).payload
        said = msgspec.json.decode(payload, type=dict[str, Any]).get("sub")
    except (JoseError, ValueError, RecursionError):
        return ""
    return said if isinstance(said, str) and "\0" not in said else ""


def _checked_key(data: dict[str, Any]) -> dict[str, Any]:
    if "d" in data or data.get("kty") == "oct":
        raise ValueError("jwks holds a secret; send public keys")
    if data.get("kty") not in ("EC", "OKP", "RSA"):
        raise ValueError("a key of jwks is neither EC nor OKP nor RSA")
    if data["kty"] == "RSA" and len(str(data.get("n", ""))) < SMALLEST_RSA // 6:  # base64url
        raise ValueError(f"an RSA key of jwks has fewer than {SMALLEST_RSA} bits")
    try:
        key = JWKRegistry.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError):
        raise ValueError("jwks has a key that cannot be read") from None
    kid = data.get("kid")
    named = {"kid": kid} if isinstance(kid, str) and 1 <= len(kid) <= LONGEST_ID else {}
    return {**{n: v for n, v in key.as_dict(private=False).items() if n in ("kty", "crv", "x", "y", "n", "e")}, **named}
