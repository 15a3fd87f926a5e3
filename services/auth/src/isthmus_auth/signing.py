"""The keys that sign access tokens, and the tokens (RFC 9068).

One key signs. The one that comes next is known to verifiers before it does, and the one before for as long as a token
of it may be valid: so keys change while no token is refused.
"""

import hmac
import os
import secrets
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from isthmus import policy
from isthmus.policy import StateKeys
from isthmus_auth.hashing import random_id

ACCESS_LIFETIME = 3600
"""Seconds that an access token is valid, unless its MCP service says otherwise."""

LONGEST_ACCESS = 24 * 3600
"""Seconds that any access token is valid, at most."""

ANNOUNCED_FOR = 900
"""Seconds between the announcement of a key and its first signature: verifiers may keep the set of keys for 300."""

ALGORITHM = "ES256"


class Subject(msgspec.Struct, frozen=True):
    """Who a token is for, and where it counts."""

    sub: str
    sid: str | None
    """None: a client that acts for itself."""
    namespace: str
    audience: str
    until: int = 0
    """When it ends, whatever its lifetime would be (seconds since the epoch); 0: then."""
    actor: str = ""
    """The client that acts for the one it was issued to (RFC 8693, section 4.1)."""


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


class StoredKey(msgspec.Struct, frozen=True):
    """A key as its file has it."""

    jwk: dict[str, str | list[str]]
    """Private (RFC 7517)."""
    signs_from: int
    """Seconds since the epoch."""


@dataclass(frozen=True)
class SigningKey:
    """A private P-256 key. Its `kid` is its thumbprint (RFC 7638)."""

    private: ECKey
    kid: str
    signs_from: int

    @classmethod
    def of(cls, stored: StoredKey) -> "SigningKey":
        """The key of a line of the file."""
        kid = ECKey.import_key(stored.jwk).thumbprint()
        return cls(ECKey.import_key({**stored.jwk, "kid": kid}), kid, stored.signs_from)

    def stored(self) -> StoredKey:
        """The line of the file."""
        return StoredKey({**self.private.as_dict(private=True)}, self.signs_from)

    def public(self) -> dict[str, str | list[str]]:
        """What verifiers need."""
        return {**self.private.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": ALGORITHM}

    def state_key(self) -> str:
        """What gateways seal `requestState` with: derived, so that it is as lasting as the key."""
        secret = str(self.private.as_dict(private=True)["d"]).encode()
        return hmac.digest(secret, b"isthmus request state", "sha256").hex()


@dataclass(frozen=True)
class KeyRing:
    """The keys that count, in the order in which they sign."""

    keys: tuple[SigningKey, ...]

    @cached_property
    def kids(self) -> frozenset[str]:
        """The names of the keys."""
        return frozenset(key.kid for key in self.keys)

    @cached_property
    def jwks(self) -> bytes:
        """The JWK set (RFC 7517) that verifiers need, as JSON."""
        return msgspec.json.encode({"keys": [key.public() for key in self.keys]})

    @cached_property
    def verifying(self) -> KeySet:
        """For checking tokens."""
        return KeySet([key.private for key in self.keys])

    def same_as(self, other: "KeyRing") -> bool:
        """Whether both hold the same keys for the same times."""
        return [(k.kid, k.signs_from) for k in self.keys] == [(k.kid, k.signs_from) for k in other.keys]

    def entries(self) -> dict[str, bytes]:
        """What gateways hear: entries of the policy bucket."""
        state_keys = StateKeys(tuple(key.state_key() for key in reversed(self.keys)))
        return {policy.JWKS: self.jwks, policy.STATE_KEY: msgspec.json.encode(state_keys)}


class SigningKeys:
    """The keys of a folder. Any thread may call its methods."""

    def __init__(self, folder: Path) -> None:
        """Makes a first key if there is none. Of two that make one at once, the first wins."""
        self._path = folder / "signing-keys.json"
        self._changing = threading.Lock()
        self._announced: frozenset[str] = frozenset()
        if not self._path.exists():
            self._write((_new_key(),), replace=False)
        self.ring = KeyRing(())
        self.ring = self._read()

    @property
    def signing(self) -> SigningKey:
        """The newest key whose time has come and that the gateways know."""
        now = time.time()
        ready = [key for key in self.ring.keys if key.signs_from <= now and key.kid in self._announced]
        return ready[-1] if ready else self.ring.keys[0]

    def announced(self, ring: KeyRing) -> None:
        """The gateways know these keys."""
        self._announced = ring.kids

    def add(self, after: int = ANNOUNCED_FOR) -> SigningKey:
        """Makes the key that signs from so many seconds on."""
        with self._changing:
            key = _new_key(after)
            self._write((*self._read().keys, key))
            self.ring = self._read()
            return key

    def remove(self, kid: str) -> bool:
        """Ends a key with all tokens that it has signed; whether there was one. One that can sign always remains."""
        with self._changing:
            ring = self._read()
            if kid not in ring.kids:
                return False
            left = [key for key in ring.keys if key.kid != kid]
            if not any(key.signs_from <= time.time() for key in left):
                left.insert(0, _new_key())
            self._write(tuple(left))
            self.ring = self._read()
            return True

    def tidy(self, longest: int) -> None:
        """Reads what another instance has changed, forgets keys whose tokens have all expired, and makes the next key
        when the newest has signed for so many seconds (0: never)."""
        now = int(time.time())
        newest = self._read().keys[-1]
        if longest and newest.signs_from + longest < now:
            self.add()
        with self._changing:
            keys = self._read().keys
            ended = now - LONGEST_ACCESS - policy.CLOCK_LEEWAY
            kept = tuple(k for k, n in zip(keys, (*keys[1:], None), strict=True) if n is None or n.signs_from > ended)
            if kept != keys:
                self._write(kept)
            self.ring = self._read()

    def access_token(self, issuer: str, client_id: str, subject: Subject, scope: str, lifetime: int) -> str:
        """A signed JWT of type `at+jwt`, valid from now for so many seconds."""
        now = int(time.time())
        claims: dict[str, str | int | dict[str, str]] = {
            "iss": issuer,
            "sub": subject.sub,
            "client_id": client_id,
            "jti": random_id(),
            "scope": scope,
            "service": subject.namespace,
            "aud": subject.audience,
            "iat": now,
            "exp": min(now + lifetime, subject.until or now + lifetime),
        }
        if subject.actor:
            claims["act"] = {"sub": subject.actor}
        if subject.sid is not None:
            claims["sid"] = subject.sid
        key = self.signing
        return jwt.encode({"alg": ALGORITHM, "typ": "at+jwt", "kid": key.kid}, claims, key.private, [ALGORITHM])

    def claims(self, token: str, issuer: str) -> Claims | None:
        """What a token of ours says that has not expired; None: it is none."""
        try:
            decoded = jwt.decode(token, self.ring.verifying, algorithms=[ALGORITHM])
            claims = msgspec.convert(decoded.claims, Claims)
        except (JoseError, ValueError):
            return None
        ours = decoded.header.get("typ") == "at+jwt" and claims.iss == issuer
        return claims if ours and claims.exp > time.time() else None

    def _read(self) -> KeyRing:
        stored = msgspec.json.decode(self._path.read_bytes(), type=list[StoredKey])
        ring = KeyRing(tuple(SigningKey.of(key) for key in sorted(stored, key=lambda key: key.signs_from)))
        return self.ring if self.ring.same_as(ring) else ring

    def _write(self, keys: tuple[SigningKey, ...], *, replace: bool = True) -> None:
        draft = self._path.with_name(f"{self._path.stem}.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode([key.stored() for key in keys]))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(self._path)
            return
        try:
            self._path.hardlink_to(draft)  # unlike a rename, this never replaces a key
        except FileExistsError:
            pass
        finally:
            draft.unlink()


def _new_key(after: int = 0) -> SigningKey:
    made = ECKey.generate_key("P-256")
    return SigningKey.of(StoredKey({**made.as_dict(private=True)}, int(time.time()) + after))
