"""Secrets that are needed as they are, so that no digest would do: encrypted, with a key outside the database."""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
"""Bytes (NIST SP 800-38D, section 8.2.2)."""


class Sealing:
    """AES-256-GCM with the key of a folder, which is made if there is none."""

    def __init__(self, folder: Path) -> None:
        self._cipher = AESGCM(_key(folder / "sealing.key"))

    def seal(self, secret: str, what: str) -> bytes:
        """Encrypts it; `what` it is of has to be said again."""
        nonce = secrets.token_bytes(NONCE)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), what.encode())

    def open(self, sealed: bytes, what: str) -> str:
        """Raises ValueError for anything that was not sealed here for just this."""
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], what.encode()).decode()
        except InvalidTag:
            raise ValueError(f"The secret of {what} was sealed with another key, or for something else.") from None


def _key(path: Path) -> bytes:
    """Of two that make one at once, the first wins."""
    if not path.exists():
        draft = path.with_name(f"sealing.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(AESGCM.generate_key(256))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
