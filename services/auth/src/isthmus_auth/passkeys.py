"""Passkeys: credentials of WebAuthn, made by somebody who is signed in, and good for signing in by themselves.

A challenge is sealed for one browser, is good for five minutes, and counts once.
"""

import base64
import ipaddress
import secrets
import time
from urllib.parse import urlsplit

import msgspec
import webauthn
from sqlalchemy import select
from sqlalchemy.orm import Session
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from isthmus.origins import Origins
from isthmus_auth.answers import Refusal
from isthmus_auth.browser import Browser
from isthmus_auth.client_keys import use_once
from isthmus_auth.hashing import digest
from isthmus_auth.models import Account, Passkey
from isthmus_auth.sealing import Sealing

LIFETIME = 300
"""Seconds for the person and their device."""
MOST = 20
"""Passkeys of one account."""
LONGEST = 20_000
"""Characters of what a browser sends."""

WRONG = "That passkey is not known here, or took too long. Try again, or sign in with your password."


class Asked(msgspec.Struct, frozen=True):
    """What the page gives the browser, and gets back with its answer."""

    options: str
    """As JSON (WebAuthn Level 3, section 5.4)."""
    challenge: str
    """Sealed."""


class _Challenge(msgspec.Struct, frozen=True):
    value: str
    expires_at: int


class _Answer(msgspec.Struct):
    raw_id: str = msgspec.field(name="rawId")


def possible(origins: Origins) -> bool:
    """Whether there can be passkeys: they belong to a name, and an address is none."""
    try:
        ipaddress.ip_address(_host(origins))
    except ValueError:
        return True
    return False


def to_register(session: Session, sealing: Sealing, origins: Origins, browser: Browser, account: Account) -> Asked:
    """Asks for a new passkey that can be found without a name, and whose device checks who uses it."""
    challenge = secrets.token_bytes(32)
    known = session.scalars(select(Passkey).where(Passkey.account_id == account.id))
    options = webauthn.generate_registration_options(
        rp_id=_host(origins),
        rp_name="Isthmus",
        user_id=account.id.encode()[:64],
        user_name=account.email or account.id,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=row.credential_id) for row in known],
    )
    return Asked(webauthn.options_to_json(options), _sealed(sealing, browser, challenge))


def register(
    session: Session, sealing: Sealing, origins: Origins, browser: Browser, account: Account, answer: tuple[str, str]
) -> Passkey:
    """Takes the browser's answer, JSON and sealed challenge. Raises Refusal."""
    text, sealed = answer
    challenge = _opened(session, sealing, browser, sealed)
    try:
        made = webauthn.verify_registration_response(
            credential=text[:LONGEST],
            expected_challenge=challenge,
            expected_rp_id=_host(origins),
            expected_origin=origins.issuer,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        raise Refusal(400, "The passkey could not be made. Try again.") from None
    if session.get(Passkey, _hash(made.credential_id)) is not None:
        raise Refusal(409, "That passkey is known already.")
    if len(list(session.scalars(select(Passkey.id_hash).where(Passkey.account_id == account.id)))) >= MOST:
        raise Refusal(409, f"There are {MOST} passkeys already; remove one first.")
    row = Passkey(
        id_hash=_hash(made.credential_id),
        credential_id=made.credential_id,
        account_id=account.id,
        name=f"Passkey of {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC",
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        created_at=int(time.time()),
    )
    session.add(row)
    return row


def to_sign_in(sealing: Sealing, origins: Origins, browser: Browser) -> Asked:
    """Asks for any passkey of this site."""
    challenge = secrets.token_bytes(32)
    options = webauthn.generate_authentication_options(
        rp_id=_host(origins), challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    return Asked(webauthn.options_to_json(options), _sealed(sealing, browser, challenge))


def verified(
    session: Session, sealing: Sealing, origins: Origins, browser: Browser, answer: tuple[str, str]
) -> Account:
    """Whose passkey the answer is of, JSON and sealed challenge. Raises Refusal."""
    text, sealed = answer
    challenge = _opened(session, sealing, browser, sealed)
    try:
        raw = base64.urlsafe_b64decode(msgspec.json.decode(text[:LONGEST], type=_Answer).raw_id + "==")
        row = session.get(Passkey, _hash(raw), with_for_update=True)
        if row is None or row.account.disabled:
            raise Refusal(403, WRONG)
        used = webauthn.verify_authentication_response(
            credential=text[:LONGEST],
            expected_challenge=challenge,
            expected_rp_id=_host(origins),
            expected_origin=origins.issuer,
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        raise Refusal(403, WRONG) from None
    row.sign_count = used.new_sign_count
    return row.account


def _host(origins: Origins) -> str:
    """The relying party: the host of this server."""
    return urlsplit(origins.issuer).hostname or ""


def _sealed(sealing: Sealing, browser: Browser, challenge: bytes) -> str:
    body = _Challenge(challenge.hex(), int(time.time()) + LIFETIME)
    sealed = sealing.seal(msgspec.json.encode(body).decode(), _what(browser))
    return base64.urlsafe_b64encode(sealed).decode()


def _opened(session: Session, sealing: Sealing, browser: Browser, sealed: str) -> bytes:
    """Raises Refusal."""
    try:
        text = sealing.open(base64.urlsafe_b64decode(sealed[:1000]), _what(browser))
        found = msgspec.json.decode(text, type=_Challenge)
    except (ValueError, msgspec.DecodeError):
        raise Refusal(403, WRONG) from None
    if found.expires_at <= time.time() or not use_once(session, "passkey", found.value, found.expires_at):
        raise Refusal(403, WRONG)
    return bytes.fromhex(found.value)


def _what(browser: Browser) -> str:
    return f"passkey {digest(browser.id)}"


def _hash(credential_id: bytes) -> str:
    return digest(credential_id.hex())
