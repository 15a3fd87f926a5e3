"""The client of OpenID Connect providers: the code flow with PKCE (Core 1.0, section 3.1).

Nothing that a provider says of itself is taken on trust but what comes over TLS from its issuer's own address.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

import msgspec
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import (
    prepare_grant_uri,  # pyright: ignore[reportUnknownVariableType]
    prepare_token_request,
)
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # pyright: ignore[reportUnknownVariableType]

from isthmus_auth.client_keys import Jwks, names_key
from isthmus_auth.fetching import AT_A_TIME, Fetched, Unfetchable, fetch
from isthmus_auth.openid import Claims, Distrusted, Metadata, Party, Tokens, described, printable, usable, verified
from isthmus_auth.parameters import Parameters

KEPT = 3600.0
"""Seconds for which a provider's description and keys are good, at most."""
AGAIN_AFTER = 60.0
"""Seconds until keys are asked for again because one is missing, and a provider because it did not answer."""
WAITS = 10.0
REMEMBERED = 100


@dataclass
class _Known:
    """What a provider said, and when."""

    metadata: Metadata
    until: float
    jwks: Jwks = field(default_factory=lambda: {"keys": []})
    jwks_at: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while keys are asked for, because whoever comes meanwhile needs them, too."""


class Providers:
    """Talks to providers, and remembers for a while what they say of themselves."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], _Known] = {}
        self._failed: dict[tuple[str, bool], tuple[float, str]] = {}
        self._together = asyncio.Semaphore(AT_A_TIME)

    async def begin(self, party: Party, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes (Core 1.0, section 3.1.2.1). Raises Unfetchable."""
        known = await self._discovered(party)
        asked = {
            "redirect_uri": party.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *party.scopes))),
            "state": state,
            "nonce": nonce,
            "code_challenge": cast("str", create_s256_code_challenge(verifier)),
            "code_challenge_method": "S256",
        }
        url = known.metadata.authorization_endpoint
        return cast("str", prepare_grant_uri(url, party.client_id, "code", **asked))

    async def code(self, party: Party, answer: Parameters) -> str:
        """The code in an answer, if that is this provider's (RFC 9207). Raises Distrusted, Unfetchable."""
        known = await self._discovered(party)
        issuer = answer.get("iss")
        if answer.repeated():
            raise Distrusted("the answer says something twice")
        if issuer != party.issuer and (issuer or known.metadata.authorization_response_iss_parameter_supported):
            raise Distrusted("the answer is of another issuer")
        if not answer.get("code"):
            raise Distrusted("the provider refused")
        return answer.get("code")

    async def claims(self, party: Party, code: str, nonce: str, verifier: str, wanted: set[str]) -> Claims:
        """What the provider says of whoever signed in there. Raises Distrusted, Unfetchable.

        `wanted` are claims that it is asked for once more, should the ID token not have them.
        """
        known = await self._discovered(party)
        tokens = await self._exchange(party, known.metadata, code, verifier)
        await self._find_key(party, known, tokens.id_token)
        claims = verified(tokens, known.jwks, party, nonce)
        if wanted - claims.keys() and known.metadata.userinfo_endpoint and tokens.access_token:
            return {**await self._user_info(party, known.metadata, tokens.access_token, claims["sub"]), **claims}
        return claims

    async def keys(self, party: Party, token: str) -> Jwks:
        """The provider's public keys, as they are good for this token. Raises Unfetchable."""
        known = await self._discovered(party)
        await self._find_key(party, known, token)
        return known.jwks

    async def _discovered(self, party: Party) -> _Known:
        key, now = (party.issuer, party.local), time.monotonic()
        known = self._known.get(key)
        if known is not None and known.until > now:
            return known
        until, why = self._failed.get(key, (0.0, ""))
        if until > now:
            raise Unfetchable(why)
        try:
            fetched = await self._fetch(party, f"{party.issuer.rstrip('/')}/.well-known/openid-configuration")
            metadata = described(fetched.body, party.issuer)
        except Unfetchable as error:
            _bound(self._failed)
            self._failed[key] = (now + AGAIN_AFTER, str(error))
            raise
        _bound(self._known)
        self._known[key] = _Known(metadata, now + _age(fetched))
        return self._known[key]

    async def _find_key(self, party: Party, known: _Known, id_token: str) -> None:
        """Asks for the provider's keys if they are old, or if the one that is named is missing."""
        async with known.asking:
            age = time.monotonic() - known.jwks_at
            if age < AGAIN_AFTER or (age < KEPT and names_key(known.jwks, id_token)):
                return
            known.jwks_at = time.monotonic()
            known.jwks = usable((await self._fetch(party, known.metadata.jwks_uri)).body)

    async def _exchange(self, party: Party, metadata: Metadata, code: str, verifier: str) -> Tokens:
        """Core 1.0, section 3.1.3.1."""
        body = prepare_token_request(
            "authorization_code", redirect_uri=party.redirect_uri, code=code, code_verifier=verifier
        )
        if not party.client_secret:
            client = ClientAuth(party.client_id, "", "none")
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # RFC 6749, section 2.3.1: both are encoded before they are joined.
            client = ClientAuth(quote(party.client_id, safe=""), quote(party.client_secret, safe=""))
        else:
            client = ClientAuth(party.client_id, party.client_secret, "client_secret_post")
        url, headers, body = cast(
            "tuple[str, dict[str, str], str]", client.prepare("POST", metadata.token_endpoint, {}, body)
        )
        answer = await self._fetch(party, url, headers=headers, form=body)
        try:
            return msgspec.json.decode(answer.body, type=Tokens)
        except (ValueError, RecursionError):
            raise Distrusted("the token endpoint's answer holds no ID token") from None

    async def _user_info(self, party: Party, metadata: Metadata, token: str, subject: str) -> Claims:
        """Core 1.0, section 5.3."""
        answer = await self._fetch(
            party, metadata.userinfo_endpoint, headers={"Authorization": f"Bearer {printable(token)}"}
        )
        try:
            claims = msgspec.json.decode(answer.body, type=Claims)
        except (ValueError, RecursionError):
            raise Distrusted("the userinfo endpoint's answer is no object") from None
        if claims.get("sub") != subject:
            raise Distrusted("the userinfo endpoint speaks of somebody else")
        return claims

    async def _fetch(
        self, party: Party, url: str, *, headers: dict[str, str] | None = None, form: str | None = None
    ) -> Fetched:
        try:
            async with asyncio.timeout(WAITS), self._together:
                return await fetch(url, local=party.local, headers=headers, form=form)
        except TimeoutError:
            raise Unfetchable("too many others are asked right now") from None


def _age(fetched: Fetched) -> float:
    return KEPT if fetched.max_age is None else min(max(float(fetched.max_age), AGAIN_AFTER), KEPT)


def _bound(memory: dict[tuple[str, bool], Any]) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
