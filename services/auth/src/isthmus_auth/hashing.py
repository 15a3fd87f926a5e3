"""Secrets at rest: passwords are stretched, random secrets are only digested."""

import base64
import hashlib
import hmac
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

_PASSWORDS = PasswordHasher()  # argon2id with the first recommendation of RFC 9106 for constrained memory


def random_secret() -> str:
    """256 random bits in URL-safe characters."""
    return secrets.token_urlsafe(32)


def random_id() -> str:
    """128 random bits in URL-safe characters."""
    return secrets.token_urlsafe(16)


def digest(secret: str) -> str:
    """How codes, tokens, session ids and client secrets are stored.

    They are random and long, so that nobody can try them all: a plain SHA-256 keeps them as safe as a slow hash
    would, and does not cost 50 ms a request.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(secret: str, stored: str) -> bool:
    """Compares a secret with its stored digest in constant time."""
    return hmac.compare_digest(digest(secret), stored)


def hash_password(password: str) -> str:
    """An argon2id hash; takes some 50 ms and 64 MiB on purpose."""
    return _PASSWORDS.hash(password)


def verify_password(password: str, stored: str | None) -> bool:
    """Compares a password with its hash. Without a hash the same work is done, so that time tells nothing."""
    try:
        return _PASSWORDS.verify(stored or _nobody(), password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def _nobody() -> str:
    """A hash with the usual parameters that no password has."""
    salt, value = (base64.b64encode(secrets.token_bytes(n)).rstrip(b"=").decode() for n in (16, 32))
    work = f"m={_PASSWORDS.memory_cost},t={_PASSWORDS.time_cost},p={_PASSWORDS.parallelism}"
    return f"$argon2id$v=19${work}${salt}${value}"
