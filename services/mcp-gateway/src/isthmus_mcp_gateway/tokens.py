"""Access tokens (RFC 9068), verified locally with the keys that auth publishes."""

import time
from collections import OrderedDict

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from isthmus.policy import CLOCK_LEEWAY

REMEMBERED = 4096
"""Verified tokens kept, so that a client's next call costs no signature check."""


class Claims(msgspec.Struct, frozen=True):
    """The claims of an access token that the gateway reads."""

    iss: str
    sub: str
    client_id: str
    aud: str | tuple[str, ...]
    exp: int
    iat: int
    jti: str
    service: str
    scope: str = ""
    sid: str = ""
    """The session that a user's consent is recorded under; empty for a client that acts for itself."""
    by_key: bool = False
    """Whether these are the claims of an API key."""

    def is_for(self, audiences: frozenset[str]) -> bool:
        """Whether one of these resources is among the audiences."""
        return not audiences.isdisjoint((self.aud,) if isinstance(self.aud, str) else self.aud)


class InvalidToken(Exception):
    """The token is not one of ours, or not valid any more."""


class Verifier:
    """Checks signature, type, issuer and time; audience and revocation are the gate's."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._keys: KeySet | None = None
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    def use_keys(self, keys: KeySet | None) -> None:
        """From now on only these keys count."""
        self._keys = keys
        self._verified.clear()

    def verify(self, token: str) -> Claims:
        """The token's claims; raises InvalidToken."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            self._verified[token] = claims
            if len(self._verified) > REMEMBERED:
                self._verified.popitem(last=False)
        if claims.exp + CLOCK_LEEWAY < time.time():
            raise InvalidToken
        return claims

    def _decode(self, token: str) -> Claims:
        if self._keys is None:
            raise InvalidToken
        try:
            decoded = jwt.decode(token, self._keys, algorithms=["ES256"])
            claims = msgspec.convert(decoded.claims, Claims)
        except (JoseError, ValueError, msgspec.ValidationError):
            raise InvalidToken from None
        if decoded.header.get("typ") not in ("at+jwt", "application/at+jwt") or claims.iss != self.issuer:
            raise InvalidToken
        if claims.iat > time.time() + CLOCK_LEEWAY:
            raise InvalidToken
        return claims
