"""Attacks that cross what other tests look at one by one: time, text that is shown, headers, every call of the API."""

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

import httpx2
import pytest
import schemathesis
from argon2 import PasswordHasher
from hypothesis import HealthCheck, Phase, given, settings

from administrator import API, Administrator
from auth_server import CLIENT_ID, CLIENT_SECRET, EMAIL, PASSWORD, Auth, Browser, auth_with_bus
from browser import Form
from isthmus_auth import hashing
from isthmus_auth.attempts import Attempts
from servers import TLS

SCRIPT = "<script>alert(1)</script>"
ATTRIBUTE = "\" onmouseover='alert(1)' x=\""
TRIES = 300
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


def slower(one: Callable[[], object], other: Callable[[], object]) -> float:
    """In what part of the pairs the first of two calls took longer: about half, if time tells nothing."""
    longer = 0
    for number in range(TRIES // 2):
        took: dict[bool, float] = {}
        for first in (number % 2 == 0, number % 2 != 0):
            began = time.perf_counter()
            (one if first else other)()
            took[first] = time.perf_counter() - began
        longer += took[True] > took[False]
    return longer / (TRIES // 2)


def allowed(_counted: Attempts, _key: tuple[str, ...]) -> bool:
    return True


def nothing_told(share: float) -> bool:
    """Four standard deviations around a half: by chance it is further off once in 16,000 runs."""
    return abs(share - 0.5) < 4 * 0.5 / (TRIES // 2) ** 0.5


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    """An auth service whose passwords take less work, and that counts no attempts: a difference shows all the more."""
    patch = pytest.MonkeyPatch()
    patch.setattr(hashing, "_PASSWORDS", PasswordHasher(time_cost=2, memory_cost=4096, parallelism=1))
    patch.setattr(Attempts, "allow", allowed)
    server = Auth(tmp_path_factory.mktemp("quick") / "auth")
    with server.running():
        yield server
    patch.undo()


@pytest.mark.alone
def test_time_does_not_tell_whether_an_account_is_there(quick: Auth) -> None:
    with httpx2.Client(base_url=quick.url, verify=TLS, headers={"Origin": quick.url}) as http:
        form = Form(http.get("/sign-in").text)

        def sign_in(email: str) -> None:
            answer = http.post("/sign-in", data={**form.fields, "email": email, "password": "a wrong password"})
            assert answer.status_code == 403

        assert nothing_told(slower(lambda: sign_in(EMAIL), lambda: sign_in("nobody@example.org")))


@pytest.mark.alone
def test_time_does_not_tell_how_much_of_a_client_secret_is_right(quick: Auth) -> None:
    with httpx2.Client(base_url=quick.url, verify=TLS) as http:

        def ask(secret: str) -> None:
            sent = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": secret}
            assert http.post("/token", data=sent).status_code == 401

        assert nothing_told(slower(lambda: ask(CLIENT_SECRET[:-1] + "!"), lambda: ask("!" + CLIENT_SECRET[1:])))


def test_whatever_is_shown_is_shown_as_text(auth: Auth, admin: Administrator) -> None:
    for number, text in enumerate((SCRIPT, ATTRIBUTE)):
        service = admin.done("POST", "/services", {"namespace": f"xss{number}", "label": text, "description": text})[
            "service"
        ]
        client = admin.done(
            "POST", "/clients", {"name": text, "method": "none", "redirect_uris": ["https://a.example"]}
        )
        admin.done(
            "PUT",
            f"/providers/xss{number}",
            {"label": text[:60], "issuer": "https://a.example", "client_id": "x", "client_secret": ""},
        )
        admin.done("POST", "/keys", {"name": text, "scopes": ["data:read"], "namespace": service["namespace"]})
        admin.browser.http.headers["User-Agent"] = text
        request = auth.request(
            client_id=client["client"]["client_id"], redirect_uri="https://a.example", resource=service["mcp_endpoint"]
        )
        consent = admin.browser.get(f"/authorize?{urlencode(request)}")
        form = Form(consent.text)
        asked_again = admin.browser.submit(form, {"decision": "allow"}, [])
        pages = [consent, asked_again]
        admin.browser.submit(form, {"decision": "allow"})
        other = Browser(auth)
        other.http.headers["User-Agent"] = text
        other.sign_in("/account")
        pages += [other.get(path) for path in ("/account", "/apps", "/keys", "/admin/")]
        pages.append(Browser(auth).get(f"/sign-in?next={quote('/authorize?' + urlencode({'login_hint': text}))}"))
        pages.append(admin.browser.get(f"/device?user_code={quote(text)}"))
        for page in pages:
            assert "alert(1)" in page.text or page.status_code != 200 or "device" in str(page.url), page.url
            assert SCRIPT not in page.text, page.url
            assert "onmouseover='" not in page.text, page.url
        admin.done("DELETE", f"/providers/xss{number}")
        admin.done("DELETE", f"/services/xss{number}")
        admin.done("DELETE", f"/clients/{client['client']['client_id']}")


def test_nothing_that_is_sent_becomes_a_header(auth: Auth) -> None:
    split = "x\r\nSet-Cookie: isthmus_session=evil\r\n\r\n<html>"
    answers = [
        auth.get(f"/authorize?{urlencode({**auth.request(), name: split})}")
        for name in (
            "state",
            "redirect_uri",
            "client_id",
            "scope",
            "resource",
            "code_challenge",
            "login_hint",
            "prompt",
        )
    ]
    answers.append(auth.get(f"/sign-in?{urlencode({'next': '/authorize?' + split})}"))
    answers.append(auth.get(f"/sign-in/with/{quote(split, safe='')}"))
    answers.append(auth.get(f"/mcp-services/{quote(split, safe='')}"))
    answers.append(auth.get(f"/device?{urlencode({'user_code': split})}"))
    for answer in answers:
        assert "evil" not in answer.headers.get("set-cookie", ""), answer.url
        assert "\r" not in answer.headers.get("location", ""), answer.url
        assert answer.status_code < 500


def test_no_page_can_be_framed_and_none_holds_a_script_of_its_own(auth: Auth, admin: Administrator) -> None:
    consent = admin.browser.get(f"/authorize?{urlencode(auth.request())}")
    paths = ("/sign-in", "/account", "/apps", "/keys", "/device", "/admin/", "/nothing")
    for page in (consent, *(admin.browser.get(path) for path in paths)):
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, page.url
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.text.count("<script") == page.text.count('<script src="/static/')


def test_a_session_that_was_planted_signs_nobody_in(auth: Auth) -> None:
    planted = "p" * 43
    victim = Browser(auth)
    victim.http.cookies.set("isthmus_session", planted)
    victim.sign_in("/apps")
    assert victim.http.get("/apps").status_code == 200
    attacker = Browser(auth)
    attacker.http.cookies.set("isthmus_session", planted)
    assert attacker.http.get("/apps").status_code == 303
    with sqlite3.connect(auth.database, timeout=10) as database:
        stored = {row[0] for row in database.execute("SELECT id_hash FROM browser_sessions")}
    assert hashlib.sha256(planted.encode()).hexdigest() not in stored


def test_no_call_of_the_api_breaks_anything(auth: Auth, admin: Administrator) -> None:
    secret = admin.done("POST", "/keys", {"name": "fuzz", "scopes": ["admin"]})["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    schema = schemathesis.openapi.from_url(f"{auth.url}/api/openapi.json")
    tried: dict[str, int] = {}
    with httpx2.Client(base_url=auth.url, verify=TLS, headers=headers) as http:

        def call(case: Any) -> None:
            sent: dict[str, Any] = case.as_transport_kwargs(base_url=auth.url)
            body = sent.get("data") if sent.get("json") is None else None
            url = sent["url"].removeprefix(auth.url)
            answer = http.request(
                sent["method"],
                url,
                params=sent.get("params"),
                json=sent.get("json"),
                content=body if isinstance(body, bytes | str) else None,
            )
            tried[case.method] = tried.get(case.method, 0) + 1
            assert answer.status_code < 500, (case.method, url, sent.get("json"), answer.text)
            assert answer.status_code != 401

        for found in cast("Any", schema).get_all_operations():
            operation = found.ok()

            @settings(
                max_examples=8,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
            )
            @given(case=operation.as_strategy())
            def fuzz(case: Any) -> None:
                call(case)

            fuzz()
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= tried.keys()
    assert sum(tried.values()) >= 200
    assert admin.done("GET", "/me")["email"] == EMAIL


def test_a_backup_taken_while_it_runs_brings_everything_back(tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth")
    copy = tmp_path / "copy"
    copy.mkdir()
    with auth.running():
        token = auth.exchange(auth.code()).json()
        admin = Administrator(auth)
        key = admin.done("POST", "/keys", {"name": "kept", "scopes": ["admin"]})["secret"]
        with sqlite3.connect(auth.database) as live, sqlite3.connect(copy / "auth.db") as saved:
            live.backup(saved)
        for name in ("signing-keys.json", "sealing.key"):
            (copy / name).write_bytes((auth.folder / name).read_bytes())
        later = auth.exchange(auth.code()).json()
    restored = Auth(copy, port=auth.port)
    with restored.running():
        own = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        asked = {"token": token["access_token"], **own}
        assert restored.post("/introspect", asked).json()["active"] is True
        assert restored.refresh(token["refresh_token"]).status_code == 200
        assert restored.refresh(later["refresh_token"]).json()["error"] == "invalid_grant"  # came after the backup
        answer = restored.get(f"{API}/me", headers={"Authorization": f"Bearer {key}"})
        assert answer.json()["email"] == EMAIL
        assert Browser(restored).sign_in("/account").status_code == 200


def test_no_secret_is_in_the_log_at_its_most_talkative(
    auth: Auth, admin: Administrator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    code = auth.code()
    token = auth.exchange(code).json()
    made = admin.done("POST", "/clients", {"name": "Logged", "grant_types": [DEVICE_CODE]})
    own = {"client_id": made["client"]["client_id"], "client_secret": made["client_secret"]}
    device = auth.post("/device_authorization", own).json()
    auth.token({"grant_type": DEVICE_CODE, "device_code": device["device_code"], **own})
    key = admin.done("POST", "/keys", {"name": "logged", "scopes": ["admin"]})["secret"]
    auth.get(f"{API}/me", headers={"Authorization": f"Bearer {key}"})
    person = admin.done("POST", "/people", {"email": "logged@example.com"})
    provider = {"label": "P", "issuer": "https://a.invalid", "client_id": "x", "client_secret": "provider-secret-4711"}
    admin.done("PUT", "/providers/logged", provider)
    auth.get("/sign-in/with/logged")
    page = admin.browser.get("/account").text
    begun = admin.browser.submit(Form(page, "begin-totp"), {"action": "begin-totp", "password": PASSWORD})
    totp = begun.text.partition('class="secret">')[2].partition("<")[0]
    auth.exchange("a wrong code 4711", client_secret="a-wrong-secret-4711")
    auth.token({"grant_type": "client_credentials", "client_assertion_type": "x", "client_assertion": "assertion-4711"})
    secrets = [code, token["access_token"], token["refresh_token"], own["client_secret"], device["device_code"], key]
    secrets += [person["password"], "provider-secret-4711", totp, "4711", PASSWORD, admin.token, CLIENT_SECRET]
    secrets += [device["user_code"], dict(admin.browser.http.cookies)["isthmus_session"]]
    assert all(secrets)
    # Of libraries the product logs warnings alone.
    told = [r for r in caplog.records if r.name.startswith("isthmus") or r.levelno >= logging.WARNING]
    written = "\n".join(record.getMessage() for record in told)
    assert [secret for secret in secrets if secret in written] == []
    admin.done("DELETE", "/providers/logged")
