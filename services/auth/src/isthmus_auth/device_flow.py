"""Devices without a browser: the device authorization grant (RFC 8628)."""

import secrets
import time
from collections.abc import Mapping
from typing import cast

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AccessDeniedError, InvalidGrantError, UnauthorizedClientError
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceCodeGrant, ExpiredTokenError, SlowDownError
from authlib.oauth2.rfc8628 import AuthorizationPendingError as PendingError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth.flows import IsthmusGrant, TokenAnswer, subject_of
from isthmus_auth.hashing import digest, random_secret
from isthmus_auth.models import Client, DeviceRequest
from isthmus_auth.parameters import Parameters
from isthmus_auth.requested import find_resource
from isthmus_auth.server import AUTH_METHODS
from isthmus_auth.signing import Subject

LIFETIME = 600
"""Seconds for a person to type the code and answer."""
INTERVAL = 5
"""Seconds between two questions of a device, at least; each that comes sooner adds as many."""
MOST = 100
"""Requests of one client that wait at a time."""

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Of user codes: none that makes words or looks like another (RFC 8628, section 6.1)."""
LENGTH = 8


class DeviceGrant(IsthmusGrant, DeviceCodeGrant):
    """Devices ask until somebody has answered; what was allowed is handed out once."""

    GRANT_TYPE = DEVICE_CODE_GRANT_TYPE
    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS

    def query_device_credential(self, device_code: str) -> DeviceRequest:  # pyright: ignore[reportIncompatibleMethodOverride]
        row = self.server.session.get(DeviceRequest, digest(device_code), with_for_update=True)
        if row is None:
            raise InvalidGrantError("The device code is not known, or was used.")
        return row

    def validate_device_credential(self, credential: DeviceRequest) -> Subject:  # pyright: ignore[reportIncompatibleMethodOverride]
        now = int(time.time())
        if credential.expires_at <= now:
            raise ExpiredTokenError
        if credential.denied:
            raise AccessDeniedError
        if credential.authorization is not None:
            subject = subject_of(self.server, self.asked, credential.authorization)
            if subject is None:
                raise InvalidGrantError("What was allowed is void again.")
            return subject
        early = now - credential.asked_at < credential.interval
        credential.asked_at = now
        if early:
            credential.interval += INTERVAL
            raise SlowDownError
        raise PendingError

    def create_token_response(self) -> TokenAnswer:  # pyright: ignore[reportIncompatibleMethodOverride]
        answer = cast("TokenAnswer", super().create_token_response())
        self.server.session.delete(self.request.credential)
        return answer


def begin(session: Session, origins: Origins, client: Client, asked: Parameters) -> Mapping[str, object]:
    """A request of a device, and what the device is told (RFC 8628, section 3.2). Raises OAuth2Error."""
    if not client.check_grant_type(DEVICE_CODE_GRANT_TYPE):
        raise UnauthorizedClientError("This client is not registered for device codes.")
    find_resource(session, origins, client, asked.get("resource"))
    now = int(time.time())
    waiting = select(func.count()).where(DeviceRequest.client_id == client.client_id, DeviceRequest.expires_at > now)
    if (session.scalar(waiting) or 0) >= MOST:
        raise OAuth2Error("Too many devices wait already. Try again in ten minutes.", error="slow_down")
    device_code, user_code = random_secret(), "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
    session.add(
        DeviceRequest(
            device_code_hash=digest(device_code),
            user_code_hash=digest(user_code),
            client_id=client.client_id,
            resource=asked.get("resource"),
            scope=asked.get("scope"),
            expires_at=now + LIFETIME,
            interval=INTERVAL,
        )
    )
    shown = f"{user_code[:4]}-{user_code[4:]}"
    return {
        "device_code": device_code,
        "user_code": shown,
        "verification_uri": f"{origins.issuer}/device",
        "verification_uri_complete": f"{origins.issuer}/device?user_code={shown}",
        "expires_in": LIFETIME,
        "interval": INTERVAL,
    }


def waiting(session: Session, user_code: str) -> DeviceRequest | None:
    """The request of a code as somebody typed it, if nobody has answered it yet."""
    typed = "".join(c for c in user_code.upper() if c.isalnum())
    row = session.scalar(select(DeviceRequest).where(DeviceRequest.user_code_hash == digest(typed)).with_for_update())
    answered = row is None or row.denied or row.sid is not None or row.expires_at <= time.time()
    return None if answered else row
