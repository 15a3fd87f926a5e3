"""An administrator who uses the admin REST API, as a script would."""

from typing import Any

import httpx2

from auth_server import EMAIL, PASSWORD, Auth, Browser
from browser import Form

API = "/api/admin"


class Administrator:
    """Calls the API after signing in."""

    def __init__(self, auth: Auth, email: str = EMAIL, password: str = PASSWORD) -> None:
        self.browser = Browser(auth)
        form = Form(self.browser.get("/apps").text)
        answer = self.browser.submit(form, {"email": email, "password": password})
        assert answer.status_code == 303, answer.text
        me = self.browser.http.get(f"{API}/me")
        self.id = me.json().get("id", "")
        self.token = me.json().get("csrf_token", "")

    def call(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        sent = {"X-CSRF-Token": self.token, **headers}
        return self.browser.http.request(method, API + path, json=body, headers=sent)

    def done(self, method: str, path: str, body: object = None) -> Any:
        answer = self.call(method, path, body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        answer = self.call(method, path, body)
        assert 400 <= answer.status_code < 500, answer.text
        return answer.status_code, answer.json()["error_description"]
