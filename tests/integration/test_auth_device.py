"""Devices without a browser (RFC 8628): the code, the person, the answer, and who tries codes."""

import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auth_server import CLIENT_ID, CLIENT_SECRET, Auth, Browser, auth_with_bus, claims
from browser import Form
from isthmus_auth import attempts, device_flow

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def client(auth: Auth) -> str:
    return auth.register(grant_types=[DEVICE_CODE, "refresh_token"], redirect_uris=None, client_name="A screen")[
        "client_id"
    ]


@pytest.fixture
def browser(auth: Auth) -> Browser:
    """Of somebody who is signed in."""
    browser = Browser(auth)
    browser.sign_in("/apps")
    return browser


def begin(auth: Auth, client: str, **changes: str) -> dict[str, Any]:
    answer = auth.post("/device_authorization", {"client_id": client, "scope": "data:read data:write", **changes})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def poll(auth: Auth, client: str, device_code: str) -> httpx2.Response:
    return auth.token({"grant_type": DEVICE_CODE, "device_code": device_code, "client_id": client})


def waited(auth: Auth) -> None:
    """As if the device had waited as long as it was told."""
    with sqlite3.connect(auth.database, timeout=10) as database:
        database.execute("UPDATE device_requests SET asked_at = asked_at - interval")


def typed(browser: Browser, code: str) -> httpx2.Response:
    """The page after somebody typed the code."""
    return browser.submit(Form(browser.get("/device").text), {"user_code": code})


def answered(browser: Browser, code: str, decision: str) -> httpx2.Response:
    page = typed(browser, code)
    assert page.status_code == 200, page.text
    return browser.submit(Form(page.text), {"decision": decision})


def test_somebody_types_the_code_and_the_device_gets_what_they_allowed(
    auth: Auth, client: str, browser: Browser
) -> None:
    asked = begin(auth, client)
    assert asked["verification_uri"] == f"{auth.url}/device"
    assert poll(auth, client, asked["device_code"]).json()["error"] == "authorization_pending"
    page = typed(browser, asked["user_code"].lower().replace("-", " "))
    assert "A screen" in page.text
    assert "device that shows the code" in page.text
    form = Form(page.text)
    done = browser.submit(form, {"decision": "allow"}, [("scope", "data:read"), ("source", "**")])
    assert "A screen is connected" in done.text
    token = poll(auth, client, asked["device_code"]).json()
    said = claims(token["access_token"])
    assert (said["client_id"], said["scope"], said["aud"]) == (client, "data:read", f"{auth.gateway}/mcp")
    again = poll(auth, client, asked["device_code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    renewed = auth.token({"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": client})
    assert renewed.status_code == 200
    assert "A screen" in browser.get("/apps").text


def test_a_device_hears_that_it_was_denied(auth: Auth, client: str, browser: Browser) -> None:
    asked = begin(auth, client)
    assert "may do nothing" in answered(browser, asked["user_code"], "deny").text
    assert poll(auth, client, asked["device_code"]).json()["error"] == "access_denied"
    assert typed(browser, asked["user_code"]).status_code == 404


def test_the_code_of_an_address_is_filled_in_after_sign_in_and_still_asked_about(auth: Auth, client: str) -> None:
    asked = begin(auth, client)
    browser = Browser(auth)
    path = asked["verification_uri_complete"].removeprefix(auth.url)
    assert "Sign in" in browser.get(path).text
    page = browser.sign_in(path)
    form = Form(page.text)
    assert form.fields["user_code"] == asked["user_code"]
    assert "Do not go on if somebody sent it to you." in page.text
    assert "Allow" in browser.submit(form, {}).text


def test_a_device_that_asks_too_often_has_to_wait_longer(auth: Auth, client: str) -> None:
    code = begin(auth, client)["device_code"]
    assert poll(auth, client, code).json()["error"] == "authorization_pending"
    assert poll(auth, client, code).json()["error"] == "slow_down"
    waited(auth)
    assert poll(auth, client, code).json()["error"] == "authorization_pending"


def test_a_code_of_another_client_and_one_too_old_get_nothing(auth: Auth, client: str, browser: Browser) -> None:
    asked = begin(auth, client)
    assert answered(browser, asked["user_code"], "allow").status_code == 200
    other = auth.register(grant_types=[DEVICE_CODE], redirect_uris=None)["client_id"]
    assert poll(auth, other, asked["device_code"]).json()["error"] == "unauthorized_client"
    assert poll(auth, client, "unknown").json()["error"] == "invalid_grant"
    late = begin(auth, client)
    with sqlite3.connect(auth.database, timeout=10) as database:
        database.execute("UPDATE device_requests SET expires_at = 1 WHERE sid IS NULL")
    assert poll(auth, client, late["device_code"]).json()["error"] == "expired_token"
    assert typed(browser, late["user_code"]).status_code == 404


def test_a_client_asks_for_codes_only_as_it_is_registered(auth: Auth) -> None:
    plain = auth.register()["client_id"]
    answer = auth.post("/device_authorization", {"client_id": plain})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    wrong = auth.post("/device_authorization", {"client_id": CLIENT_ID, "client_secret": "wrong"})
    assert wrong.json()["error"] == "invalid_client"
    assert auth.post("/device_authorization", {"client_id": CLIENT_ID}).json()["error"] == "invalid_client"
    own = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert auth.post("/device_authorization", own).status_code == 200
    strange = auth.post("/device_authorization", {**own, "resource": "https://other.example/mcp"})
    assert strange.json()["error"] == "invalid_target"


def test_nobody_tries_many_codes_or_makes_many_devices_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_flow, "MOST", 3)
    server = Auth(tmp_path / "auth")
    with server.running():
        own = server.register(grant_types=[DEVICE_CODE], redirect_uris=None)["client_id"]
        for _ in range(3):
            begin(server, own)
        assert server.post("/device_authorization", {"client_id": own}).json()["error"] == "slow_down"
        browser = Browser(server)
        browser.sign_in("/apps")
        tried = [typed(browser, "BBBB-BBBB").status_code for _ in range(attempts.MOST + 1)]
        assert tried == [404] * attempts.MOST + [429]


def test_a_forged_answer_allows_nothing(auth: Auth, client: str, browser: Browser) -> None:
    asked = begin(auth, client)
    form = Form(typed(browser, asked["user_code"]).text)
    form.fields["csrf_token"] = "0" * 64
    assert browser.submit(form, {"decision": "allow"}).status_code == 403
    assert poll(auth, client, asked["device_code"]).json()["error"] == "authorization_pending"
