"""Codes of an authenticator app (RFC 6238), and the codes on paper that stand in for it once."""

import secrets
import time

import segno
from pyotp import random_base32
from pyotp.totp import TOTP
from sqlalchemy import delete
from sqlalchemy.orm import Session

from isthmus_auth.hashing import digest
from isthmus_auth.models import Account, RecoveryCode
from isthmus_auth.sealing import Sealing

STEP = 30
"""Seconds that a code is shown."""
RECOVERY_CODES = 10
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of recovery codes: none that looks like another."""


def new_secret() -> str:
    """160 random bits, in base 32."""
    return random_base32(32)


def address(secret: str, email: str) -> str:
    """What an authenticator app reads: `otpauth://totp/…`."""
    return TOTP(secret).provisioning_uri(name=email, issuer_name="Isthmus")


def picture(uri: str) -> str:
    """The same as a QR code: an SVG without styles of its own."""
    return segno.make(uri, error="m").svg_inline(scale=5, border=2, omitsize=False, dark="#000", light="#fff")


def matching_step(secret: str, code: str, after: int) -> int:
    """The time step that the code is of: this one, or one beside it, and later than `after`; 0: none."""
    typed = "".join(code.split())
    if len(typed) != 6 or not (typed.isascii() and typed.isdecimal()):
        return 0
    now = int(time.time()) // STEP
    generator = TOTP(secret)
    steps = (step for step in (now - 1, now, now + 1) if step > after)
    return next((step for step in steps if secrets.compare_digest(generator.at(step * STEP), typed)), 0)


def accept(session: Session, sealing: Sealing, account: Account, code: str) -> bool:
    """Whether the code is right; it counts once. A recovery code does, too."""
    if account.totp_secret is None:
        return False
    secret = sealing.open(account.totp_secret, sealed_for(account))
    if step := matching_step(secret, code, account.totp_used):
        account.totp_used = step
        return True
    row = session.get(RecoveryCode, _hash(account, code), with_for_update=True)
    if row is None or row.account_id != account.id:
        return False
    session.delete(row)
    return True


def turn_on(session: Session, sealing: Sealing, account: Account, secret: str, step: int) -> list[str]:
    """Asks for codes of this secret from now on; returns the recovery codes, which are shown this once."""
    account.totp_secret = sealing.seal(secret, sealed_for(account))
    account.totp_used = step
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account.id))
    codes = ["".join(secrets.choice(LETTERS) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(code_hash=_hash(account, code), account_id=account.id) for code in codes)
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def turn_off(session: Session, account: Account) -> None:
    """Asks for no codes any more."""
    account.totp_secret = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account.id))


def sealed_for(account: Account) -> str:
    """What the secret is sealed for."""
    return f"totp {account.id}"


def _hash(account: Account, code: str) -> str:
    plain = "".join(c for c in code.lower() if c.isalnum())
    return digest(f"{account.id} {plain}")
