"""Browsers that an account knows, because somebody signed in to it with them before. It opens nothing: it is only that
what strangers try does not keep such a browser out."""

import base64
import binascii

from litestar.datastructures import Cookie

from isthmus.origins import Origins
from isthmus_auth.browser import cookie_name
from isthmus_auth.hashing import random_id
from isthmus_auth.models import Account
from isthmus_auth.sealing import Sealing

LIFETIME = 365 * 24 * 3600
"""Seconds."""
MOST = 4
"""Accounts that a browser remembers, the latest first."""


def device_of(sealing: Sealing, account: Account, sent: str) -> str:
    """By what name the account knows the browser that sent this cookie; empty: it does not."""
    for token in sent.split(".")[:MOST]:
        try:
            return sealing.open(base64.urlsafe_b64decode(token), f"device {account.id}")
        except (ValueError, binascii.Error):
            continue
    return ""


def known_from_now_on(sealing: Sealing, origins: Origins, account: Account, sent: str) -> Cookie:
    """The cookie by which the account knows the browser that sent this one."""
    token = base64.urlsafe_b64encode(sealing.seal(random_id(), f"device {account.id}")).decode()
    others = [one for one in sent.split(".")[:MOST] if one and not device_of(sealing, account, one)]
    return Cookie(
        key=cookie_name(origins, "devices"),
        value=".".join([token, *others][:MOST]),
        path="/",
        max_age=LIFETIME,
        httponly=True,
        secure=origins.issuer.startswith("https://"),
        samesite="lax",
    )
