"""The key that signs access tokens, and the tokens (RFC 9068)."""

import hmac
import os
import secrets
import time
from pathlib import Path

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from isthmus.policy import StateKeys
from isthmus_auth.hashing import random_id

ACCESS_LIFETIME = 3600
"""Seconds that an access token is valid."""

ALGORITHM = "ES256"


class Subject(msgspec.Struct, frozen=True):
    """Who a token is for, and where it counts."""

    sub: str
    sid: str | None
    """None: a client that acts for itself."""
    namespace: str
    audience: str


class Claims(msgspec.Struct, frozen=True):
    """What an access token says (RFC 9068, section 2.2)."""

    iss: str
    sub: str
    client_id: str
    jti: str
    scope: str
    service: str
    aud: str
    iat: int
    exp: int
    sid: str = ""


class SigningKey:
    """A private P-256 key. Its `kid` is its thumbprint (RFC 7638)."""

    def __init__(self, private: ECKey) -> None:
        self._private = private
        self.kid = private.thumbprint()
        public = {**private.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": ALGORITHM}
        self.jwks = msgspec.json.encode({"keys": [public]})
        """The JWK set (RFC 7517) that verifiers need, as JSON."""
        secret = hmac.digest(str(private.as_dict(private=True)["d"]).encode(), b"isthmus request state", "sha256")
        self.state_keys = msgspec.json.encode(StateKeys((secret.hex(),)))
        """What gateways seal `requestState` with, derived from the key so that it is as lasting as that; as JSON."""

    def access_token(self, issuer: str, client_id: str, subject: Subject, scope: str) -> str:
        """A signed JWT of type `at+jwt`, valid from now for ACCESS_LIFETIME."""
        now = int(time.time())
        claims: dict[str, str | int] = {
            "iss": issuer,
            "sub": subject.sub,
            "client_id": client_id,
            "jti": random_id(),
            "scope": scope,
            "service": subject.namespace,
            "aud": subject.audience,
            "iat": now,
            "exp": now + ACCESS_LIFETIME,
        }
        if subject.sid is not None:
            claims["sid"] = subject.sid
        header = {"alg": ALGORITHM, "typ": "at+jwt", "kid": self.kid}
        return jwt.encode(header, claims, self._private, algorithms=[ALGORITHM])

    def claims(self, token: str, issuer: str) -> Claims | None:
        """What a token of ours says that has not expired; None: it is none."""
        try:
            decoded = jwt.decode(token, self._private, algorithms=[ALGORITHM])
            claims = msgspec.convert(decoded.claims, Claims)
        except (JoseError, ValueError):
            return None
        ours = decoded.header.get("typ") == "at+jwt" and claims.iss == issuer
        return claims if ours and claims.exp > time.time() else None


def load_key(folder: Path) -> SigningKey:
    """The key in this folder, made if there is none. Of two that make one at once, the first wins."""
    path = folder / "signing-key.json"
    if not path.exists():
        made = ECKey.generate_key("P-256")
        draft = folder / f"signing-key.{secrets.token_hex(8)}.tmp"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(made.as_dict(private=True)))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)  # unlike a rename, this never replaces a key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return SigningKey(ECKey.import_key(msgspec.json.decode(path.read_bytes(), type=dict[str, str | list[str]])))
