"""Sign-in at a service's own page: the example page as it is, and those who would misuse the way through it."""

import base64
import hashlib
import json
import re
import sqlite3
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from administrator import Administrator
from auth_server import EMAIL, PASSWORD, REDIRECT, Auth, Browser, answered, auth_with_bus
from browser import Form
from isthmus_auth import pending
from node import Javascript
from servers import TLS
from sites import Site, serving
from trail import reading

EXAMPLE = Path(__file__).parents[2] / "examples" / "login-page" / "index.html"
HOME = "https://isthmus.example.com"  # what the example says, for everybody to replace


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def site(auth: Auth) -> Generator[Site]:
    """Serves the example."""
    with serving() as running:
        html = EXAMPLE.read_text(encoding="utf-8").replace(HOME, auth.url)
        running.answers["/sign-in.html"] = (200, {"Content-Type": "text/html"}, html)
        yield running


@pytest.fixture(scope="module")
def page(site: Site) -> str:
    """Of another site than auth, as browsers see it."""
    return f"http://localhost:{site.port}"


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


@pytest.fixture(scope="module")
def request_of(auth: Auth, admin: Administrator, page: str) -> dict[str, str]:
    """An authorization request for a service that has the page."""
    asked = {"namespace": "sales", "label": "Sales", "login_url": f"{page}/sign-in.html?from=isthmus"}
    made = admin.done("POST", "/services", asked)
    resource = made["service"]["mcp_endpoint"]
    return auth.request(client_id=made["service"]["client_id"], resource=resource)


def sent(browser: Browser, request: dict[str, str]) -> dict[str, str]:
    """What the page is told about somebody who has to sign in first."""
    return answered(to_page(browser, request))


def to_page(browser: Browser, request: dict[str, str]) -> httpx2.Response:
    answer = browser.get(f"/authorize?{urlencode(request)}")
    assert answer.status_code == 303, answer.text
    return answer


def post(auth: Auth, page: str, state: str, password: str = PASSWORD, **changes: str) -> httpx2.Response:
    """The page's form, as browsers send it: without the cookies of auth, which are Lax."""
    form = {"email": EMAIL, "password": password, "state": state, **changes}
    return auth.post("/login", form, headers={"Origin": page, "Sec-Fetch-Site": "cross-site"})


def signed_in(browser: Browser) -> bool:
    return browser.http.get("/apps").status_code == 200


def visit(javascript: Javascript, folder: Path, url: str) -> dict[str, Any]:
    """The page with its script, in a browser's document."""
    command = [*javascript.script("visit.mjs", folder), url, EMAIL, PASSWORD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(150)  # the first test to use JavaScript may have to install its packages
def test_somebody_signs_in_at_the_example_page(
    auth: Auth, page: str, request_of: dict[str, str], javascript: Javascript, tmp_path: Path
) -> None:
    browser = Browser(auth)
    url = to_page(browser, request_of).headers["location"]
    assert url.startswith(f"{page}/sign-in.html?from=isthmus&")
    told = dict(parse_qsl(urlsplit(url).query))
    assert told["login_url"] == f"{auth.url}/login"
    assert told["redirect_uri"] == f"{auth.url}/authorize/continue"
    assert (told["service"], told["client_id"]) == ("sales", request_of["client_id"])

    refused = post(auth, page, told["state"], "not the password")
    assert refused.status_code == 303
    again = visit(javascript, tmp_path, refused.headers["location"])
    assert again["problem"] == "The e-mail address or the password is wrong."
    assert again["address"] == f"{page}/sign-in.html"
    assert again["action"] == f"{auth.url}/login"

    accepted = httpx2.post(again["action"], data=again["fields"], headers={"Origin": page}, verify=TLS)
    assert (accepted.status_code, "set-cookie" in accepted.headers) == (303, False)
    on = browser.http.get(accepted.headers["location"])
    assert on.status_code == 303
    assert on.headers["location"].startswith("/authorize?")
    told_client = answered(browser.submit(Form(browser.get(on.headers["location"]).text), {"decision": "allow"}))
    assert told_client["state"] == request_of["state"]
    assert told_client["code"]


def test_the_example_names_its_script_and_style_to_the_browser() -> None:
    html = EXAMPLE.read_text(encoding="utf-8")
    for kind in ("script", "style"):
        found = re.search(f"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in html


@pytest.mark.timeout(150)
def test_the_example_sends_passwords_nowhere_else(
    page: str, site: Site, auth: Auth, javascript: Javascript, tmp_path: Path
) -> None:
    services = [
        {"name": "good", "label": "Good", "url": f"{auth.url}/sign-in/good"},
        {"name": "evil", "label": "Evil", "url": "https://evil.example/"},
    ]
    forged = {"login_url": "https://evil.example/login", "state": "x", "oauth_services": json.dumps(services)}
    seen = visit(javascript, tmp_path, f"{page}/sign-in.html?{urlencode(forged)}")
    assert seen["action"] == f"{auth.url}/login"
    assert seen["links"] == {"Sign in with Good": f"{auth.url}/sign-in/good"}


def test_a_state_counts_once(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    for password in (PASSWORD, "wrong"):
        state = sent(Browser(auth), request_of)["state"]
        assert post(auth, page, state, password).status_code == 303
        replayed = post(auth, page, state)
        assert replayed.status_code == 400
        assert "location" not in replayed.headers


def test_a_ticket_counts_once(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    ticket = post(auth, page, sent(browser, request_of)["state"]).headers["location"]
    assert browser.http.get(ticket).status_code == 303
    assert browser.http.get(ticket).status_code == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "AUTH", "PAGE.evil.example", "PAGE/", "HTTPS"])
def test_a_form_of_another_page_is_refused_and_changes_nothing(
    auth: Auth, page: str, request_of: dict[str, str], origin: str
) -> None:
    state = sent(Browser(auth), request_of)["state"]
    origin = origin.replace("AUTH", auth.url).replace("PAGE", page).replace("HTTPS", page.replace("http", "https"))
    form = {"email": EMAIL, "password": PASSWORD, "state": state}
    refused = auth.post("/login", form, headers={"Origin": origin} if origin else {})
    assert (refused.status_code, "location" in refused.headers) == (403, False)
    assert post(auth, page, state).status_code == 303


def test_nobody_is_signed_in_to_an_account_that_somebody_else_typed(
    auth: Auth, page: str, request_of: dict[str, str]
) -> None:
    attacker, victim = Browser(auth), Browser(auth)
    ticket = post(auth, page, sent(attacker, request_of)["state"]).headers["location"]
    sent(victim, request_of)  # with a cookie of their own
    for _ in range(2):
        refused = victim.http.get(ticket)
        assert refused.status_code == 400
        assert "isthmus_session=" not in refused.headers.get("set-cookie", "")
    assert not signed_in(victim)
    assert attacker.http.get(ticket).status_code == 400  # it was shown to somebody else


def test_a_password_typed_for_a_strangers_state_does_not_let_the_stranger_in(
    auth: Auth, page: str, request_of: dict[str, str]
) -> None:
    attacker = Browser(auth)
    state = sent(attacker, request_of)["state"]
    assert post(auth, page, state).status_code == 303  # the victim, whom the attacker gave a link to the page
    for query in ("", f"?ticket={state}", f"?state={state}"):
        assert attacker.http.get(f"/authorize/continue{query}").status_code == 400
    assert not signed_in(attacker)


def test_a_state_or_ticket_is_no_other_secret(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    location = post(auth, page, sent(browser, request_of)["state"]).headers["location"]
    assert post(auth, page, location.partition("=")[2]).status_code == 400
    assert browser.http.get(location).status_code == 303


def test_what_was_wrong_is_not_told(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    said: list[dict[str, str]] = []
    for email in (EMAIL, "nobody@example.com"):
        state = sent(Browser(auth), request_of)["state"]
        answer = answered(post(auth, page, state, "wrong", email=email))
        assert answer.pop("state") != state
        said.append(answer)
    assert said[0] == said[1]
    assert said[0]["error"] == "wrong_credentials"


def test_attempts_count_together_with_those_at_our_own_form(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    state, errors = sent(Browser(auth), request_of)["state"], list[str]()
    for _ in range(11):
        answer = answered(post(auth, page, state, "wrong", email="guessed@example.com"))
        state = answer["state"]
        errors.append(answer["error"])
    assert errors == ["wrong_credentials"] * 10 + ["too_many_attempts"]
    own = Browser(auth)
    fields = {"email": "guessed@example.com", "password": "wrong"}
    assert own.submit(Form(own.get("/sign-in").text), fields).status_code == 429


def test_a_state_is_void_after_a_while(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    state = sent(browser, request_of)["state"]
    ticket = post(auth, page, sent(browser, request_of)["state"]).headers["location"]
    with sqlite3.connect(auth.database) as database:
        database.execute("update sign_ins set expires_at = expires_at - ?", (pending.LIFETIME,))
    assert post(auth, page, state).status_code == 400
    assert browser.http.get(ticket).status_code == 400


def test_one_address_has_so_many_sign_ins_under_way(
    auth: Auth, page: str, request_of: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST", 3)
    states = [sent(Browser(auth), request_of)["state"] for _ in range(4)]
    with sqlite3.connect(auth.database) as database:
        assert database.execute("select count(*) from sign_ins").fetchone() == (3,)
    assert post(auth, page, states[-1]).status_code == 303


def test_two_tabs_of_a_browser_may_sign_in(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    states = [sent(browser, request_of)["state"] for _ in range(2)]
    tickets = [post(auth, page, state).headers["location"] for state in states]
    assert [browser.http.get(ticket).status_code for ticket in tickets] == [303, 303]


def test_the_session_is_another_after_it(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    answer = to_page(browser, request_of)
    assert "isthmus_sign_in=" in answer.headers["set-cookie"]
    for flag in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=600"):
        assert flag in answer.headers["set-cookie"]
    before = browser.http.cookies["isthmus_session"]
    browser.http.get(post(auth, page, answered(answer)["state"]).headers["location"])
    assert signed_in(browser)
    assert browser.http.cookies["isthmus_session"] != before


def test_secrets_are_stored_as_digests_alone(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    state = sent(browser, request_of)["state"]
    with sqlite3.connect(auth.database) as database:
        stored = str(database.execute("select * from sign_ins").fetchall())
    assert state not in stored
    assert browser.http.cookies["isthmus_sign_in"] not in stored


def test_other_services_and_the_console_have_our_own_form(auth: Auth, request_of: dict[str, str]) -> None:
    for path in (f"/authorize?{urlencode(auth.request())}", "/admin/", "/apps"):
        assert Form(Browser(auth).get(path).text).action == "/sign-in"


def test_a_client_that_nobody_knows_yet_leads_to_the_page_of_what_it_asks_for(
    auth: Auth, page: str, request_of: dict[str, str]
) -> None:
    client_id = "https://app.example/client.json"
    asked = {**request_of, "client_id": client_id, "redirect_uri": REDIRECT}
    assert sent(Browser(auth), asked)["client_id"] == client_id


@pytest.mark.parametrize(
    ("login_url", "why"),
    [
        ("http://login.example.com/", "http must point to localhost"),
        ("https://login.example.com/#x", "without a fragment"),
        ("https://user:pass@login.example.com/", "user name or password"),
        ("javascript:alert(1)", "must use https"),
        ("cursor://login", "must use https"),
        ("//login.example.com/", "absolute URI"),
        ("https://login.example.com:99999/", "absolute URI"),
        ("https://login.example.com/" + "a" * 1980, "2000"),
        ("https://login.example.com/\r\nX: y", "absolute URI"),
    ],
)
def test_what_can_be_the_page(admin: Administrator, request_of: dict[str, str], login_url: str, why: str) -> None:
    status, said = admin.refused("PATCH", "/services/sales", {"login_url": login_url})
    assert status == 400
    assert why in said


def test_a_service_goes_back_to_our_own_form(auth: Auth, admin: Administrator, page: str) -> None:
    asked = {"namespace": "back", "label": "Back", "login_url": f"{page}/sign-in.html"}
    service = admin.done("POST", "/services", asked)["service"]
    request = auth.request(client_id=service["client_id"], resource=service["mcp_endpoint"])
    state = sent(Browser(auth), request)["state"]
    assert admin.done("PATCH", "/services/back", {"login_url": ""})["login_url"] == ""
    assert post(auth, page, state).status_code == 400
    assert Form(Browser(auth).get(f"/authorize?{urlencode(request)}").text).action == "/sign-in"


async def test_how_somebody_signed_in_is_on_record(auth: Auth, page: str, request_of: dict[str, str]) -> None:
    browser = Browser(auth)
    browser.http.get(post(auth, page, sent(browser, request_of)["state"]).headers["location"])
    assert auth.nats is not None
    async with reading(auth.nats) as trail:
        events = await trail.until(lambda events: any(event.get("method") == "custom_page" for event in events))
    ways = {(event.get("method"), event.get("service")) for event in events if event["event"] == "sign_in"}
    assert ways == {("password", None), ("custom_page", "sales")}
