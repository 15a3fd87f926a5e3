"""`isthmus admin`: the admin REST API of the stack that runs here, as its first administrator."""

import os
import re
from typing import Any

import httpx2
import msgspec

from isthmus.errors import IsthmusError
from isthmus.launcher.client import running
from isthmus.launcher.state import DataFolder

API = "/api/admin"
_TOKEN = re.compile(r'name="csrf_token" value="([0-9a-f]{64})"')


class Refused(IsthmusError):
    """The server does not do that."""


def call(folder: DataFolder, method: str, path: str, body: str) -> Any:
    """The answer as JSON; None: there is none. Raises IsthmusError."""
    run, connection = running(folder)
    key = os.environ.get("ISTHMUS_ADMIN_KEY", "")
    password = os.environ.get("ISTHMUS_ADMIN_PASSWORD") or connection.admin_password
    email = os.environ.get("ISTHMUS_ADMIN_EMAIL") or connection.admin_email
    try:
        data = msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        raise Refused("The body must be JSON.") from None
    with httpx2.Client(base_url=run.auth_url, timeout=30) as http:
        if key:
            return _answer(http, method, path, data, {"Authorization": f"Bearer {key}"})
        page = http.get("/sign-in")
        token = _TOKEN.search(page.text)
        form = {"email": email, "password": password, "csrf_token": token[1] if token else "", "next": ""}
        signed_in = http.post("/sign-in", data=form, headers=_cookie(page))
        if signed_in.status_code != 303:
            raise Refused(
                "The password of the first start does not do any more; set ISTHMUS_ADMIN_KEY to an API key of the "
                "scope admin, which is made at /keys."
            )
        session = _cookie(signed_in)
        me = http.get(f"{API}/me", headers=session)
        if me.status_code != 200:
            raise Refused(_sentence(me))
        headers = {**session, "X-CSRF-Token": me.json()["csrf_token"]}
        return _answer(http, method, path, data, headers)


def _answer(http: httpx2.Client, method: str, path: str, data: Any, headers: dict[str, str]) -> Any:
    answer = http.request(method.upper(), f"{API}/{path.strip('/')}", json=data, headers=headers)
    if answer.status_code >= 400:
        raise Refused(_sentence(answer))
    return answer.json() if answer.content else None


def _cookie(answer: httpx2.Response) -> dict[str, str]:
    """The session as a header: on loopback without TLS no client would send a cookie that wants TLS."""
    return {"Cookie": answer.headers.get("set-cookie", "").partition(";")[0]}


def _sentence(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["error_description"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered with status {answer.status_code}."
