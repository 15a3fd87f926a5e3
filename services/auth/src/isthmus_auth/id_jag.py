"""Enterprise-managed authorization: an assertion of the company's provider says for whom a client acts; nobody is asked
here (Identity Assertion JWT Authorization Grant, draft-ietf-oauth-identity-assertion-authz-grant)."""

import asyncio
import time
from typing import Any, cast

import msgspec
from authlib.oauth2.drafts.id_jag import IDJAGGrant  # pyright: ignore[reportMissingImports, reportUnknownVariableType]
from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select

from isthmus_auth import authorizations
from isthmus_auth.client_keys import use_once
from isthmus_auth.fetching import Unfetchable
from isthmus_auth.flows import IsthmusGrant
from isthmus_auth.models import Account, Client, Provider
from isthmus_auth.openid import Claims, Party
from isthmus_auth.parameters import Parameters
from isthmus_auth.provider_people import account_of, linked
from isthmus_auth.providers import party
from isthmus_auth.requested import OFFLINE, find_resource, known_scopes, offered_scopes
from isthmus_auth.server import CONFIDENTIAL_METHODS, IssuerKeys
from isthmus_auth.signing import Subject
from isthmus_auth.site import Site

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LEEWAY = 60
"""Seconds by which clocks may differ, as the library has it."""
LONGEST_VALID = 3600
"""Seconds that an assertion may be valid from now: as long it is remembered, so that it counts once."""


class AssertionGrant(IsthmusGrant, IDJAGGrant):  # pyright: ignore[reportUntypedBaseClass]  (the stubs know no drafts)
    """For clients that an administrator set up for it, and providers that an administrator trusts with it."""

    TOKEN_ENDPOINT_AUTH_METHODS = CONFIDENTIAL_METHODS

    @property
    def _said(self) -> Claims:
        """The claims of the assertion, verified."""
        return cast("Any", self.request).id_jag_claims

    def get_audiences(self) -> list[str]:
        return [self.server.origins.issuer]

    def resolve_issuer_key(self, issuer: object, headers: object) -> KeySet:
        known = self.server.issuer_keys
        if known is None or issuer != known.issuer or not known.jwks.get("keys"):
            raise InvalidGrantError("The assertion is of no issuer that is trusted here.")
        return KeySet.import_key_set(cast("Any", known.jwks))

    def check_jti(self, claims: Claims, jti: object) -> bool:
        expires_at = int(claims["exp"])
        if expires_at > time.time() + LONGEST_VALID:
            raise InvalidGrantError("The assertion is valid for too long.")
        return use_once(self.server.session, str(claims["iss"]), jti, expires_at + LEEWAY)

    def authenticate_user(self, subject: object) -> Account | None:
        claims = self._said
        provider = self.server.session.scalar(_trusted(str(claims["iss"])))
        valid = isinstance(subject, str) and 1 <= len(subject) <= 255 and subject.isprintable()
        if provider is None or not valid:
            return None
        # Assertions say less of people than sign-ins do: what those gave stays.
        known = linked(self.server.session, provider, str(subject))
        return known or account_of(self.server.session, provider, claims)

    def check_id_jag_permission(self, client: Client, user: Account, scopes: object) -> bool:
        """What the roles allow is looked at with each call; here it is only to be ours to give."""
        claims = self._said
        session, origins = self.server.session, self.server.origins
        named = claims.get("resource")
        if named is not None and not isinstance(named, str):
            return False
        asked = self.asked.get("resource")
        if asked and named and asked != named:
            return False
        resource = find_resource(session, origins, client, asked or named or "")
        wanted = self.request.scope or ""
        scope = [one for one in known_scopes(wanted) if one != OFFLINE] if wanted else offered_scopes("")
        if not scope:
            raise InvalidScopeError("None of the scopes is known here.")
        self.request.scope = " ".join(scope)
        before = authorizations.latest(session, client, user.id, resource.namespace)
        if before is None or before.scope != self.request.scope or before.resource != resource.url:
            before = authorizations.grant(session, client, user.id, resource, self.request.scope, ["**"])
            session.flush()
        self._subject = Subject(user.id, before.sid, resource.namespace, resource.url)
        return True

    def create_token_response(self) -> tuple[int, dict[str, str | int], list[tuple[str, str]]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.request.user = self._subject
        return super().create_token_response()  # pyright: ignore[reportReturnType, reportUnknownVariableType]


async def issuer_keys(site: Site, asked: Parameters) -> IssuerKeys | None:
    """The keys of whoever an assertion says it is of, if that is trusted here; strangers are asked nothing."""
    issuer = _issuer(asked.get("assertion"))
    if asked.get("grant_type") != JWT_BEARER or not issuer:
        return None
    known = await asyncio.to_thread(_party, site, issuer)
    if known is None:
        return None
    try:
        return IssuerKeys(issuer, await site.providers.keys(known, asked.get("assertion")))
    except Unfetchable:
        return None


def _party(site: Site, issuer: str) -> Party | None:
    with site.sessions.begin() as session:
        row = session.scalar(_trusted(issuer))
        return None if row is None else party(row, site.origins, site.sealing)


def _trusted(issuer: str) -> Any:
    return select(Provider).where(Provider.issuer == issuer, Provider.allow_assertions).limit(1)


def _issuer(assertion: str) -> str:
    """Unverified."""
    try:
        said = msgspec.json.decode(jws.extract_compact(assertion.encode()).payload, type=dict[str, Any]).get("iss")
    except (JoseError, ValueError, RecursionError):
        return ""
    return said if isinstance(said, str) and "\0" not in said else ""
