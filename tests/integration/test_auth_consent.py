"""What a person is asked and shares, what is remembered of it, and how it ends."""

import asyncio
from collections.abc import Generator
from urllib.parse import urlencode

import msgspec
import pytest

from auth_server import CLIENT_ID, REDIRECT, Auth, Browser, answered, auth_with_bus, claims
from browser import Form
from isthmus import bus, policy
from shelf import Shelf, make_worker, served

SITE = "https://app.example/callback"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture
def app(auth: Auth) -> dict[str, str]:
    """The request of an app that runs on a site of its own; every test has another one."""
    client_id = auth.register(redirect_uris=[SITE], client_name="An app")["client_id"]
    return auth.request(client_id=client_id, redirect_uri=SITE)


def token_of(auth: Auth, request: dict[str, str], code: str) -> dict[str, str]:
    answer = auth.token(
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": request["redirect_uri"],
            "code_verifier": "v" * 43,
            "client_id": request["client_id"],
        }
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shared(auth: Auth, token: dict[str, str]) -> tuple[str, ...]:
    """The sources that gateways hear of."""
    assert auth.nats is not None
    client = await bus.connect(auth.nats.settings("gateway"), "gateway")
    store = await client.jetstream().key_value(policy.BUCKET)
    entry = await store.get(policy.key("consent", claims(token["access_token"])["sid"]))
    await client.close()
    return msgspec.json.decode(entry.value or b"", type=policy.Consent).sources


async def test_the_person_chooses_the_sources(auth: Auth, app: dict[str, str]) -> None:
    assert auth.nats is not None
    async with served(make_worker(Shelf()), auth.nats):
        browser = Browser(auth)
        form = await asyncio.to_thread(browser.consent, app)
        assert [value for name, value in form.offered if name == "source"] == ["**", "db.closed", "db.shelf"]
        assert ("source", "**") in form.boxes
        boxes = [("scope", "data:read"), ("source", "db.shelf"), ("source", "db.none"), ("scope", "sql:run")]
        answer = await asyncio.to_thread(browser.submit, form, {"decision": "allow"}, boxes)
        token = token_of(auth, app, answered(answer)["code"])
        assert token["scope"] == "data:read"
        assert await shared(auth, token) == ("db.shelf",)
        again = await asyncio.to_thread(browser.consent, {**app, "prompt": "consent"})
        assert (
            again.boxes == [("scope", "data:read"), ("scope", "data:write"), ("source", "db.shelf")]
            or (
                "source",
                "db.shelf",
            )
            in again.boxes
        )
        nothing = [("scope", "data:read")]
        refused = await asyncio.to_thread(browser.submit, again, {"decision": "allow"}, nothing)
        assert refused.status_code == 400
        assert "Choose at least one permission and one source" in refused.text


def test_reading_and_writing_are_asked_for_apart(auth: Auth, app: dict[str, str]) -> None:
    browser = Browser(auth)
    browser.sign_in()
    page = browser.get(f"/authorize?{urlencode(app)}").text
    look, change = page.index("It may look"), page.index("It may make changes")
    assert look < page.index('value="data:read"') < change < page.index('value="data:write"')


def test_what_was_allowed_is_not_asked_again_where_only_the_site_gets_the_code(auth: Auth, app: dict[str, str]) -> None:
    browser = Browser(auth)
    browser.allow(app)
    answer = browser.http.get("/authorize", params=app)
    assert (answer.status_code, sorted(answered(answer))) == (302, ["code", "iss", "state"])
    assert token_of(auth, app, answered(answer)["code"])["scope"] == "data:read data:write"
    more = browser.http.get("/authorize", params={**app, "scope": "data:read sql:run"})
    assert more.status_code == 200
    assert [value for name, value in Form(more.text).boxes if name == "scope"] == ["data:read", "sql:run"]
    assert browser.http.get("/authorize", params={**app, "prompt": "consent"}).status_code == 200
    local = auth.request(client_id=auth.register()["client_id"])
    browser.allow(local)
    assert browser.http.get("/authorize", params=local).status_code == 200


def test_another_person_is_asked_for_themselves(auth: Auth, app: dict[str, str]) -> None:
    Browser(auth).allow(app)
    other = Browser(auth)
    assert "/sign-in" in other.http.get("/authorize", params=app).headers["location"]


def test_a_request_that_must_not_ask_is_answered_without_asking(auth: Auth, app: dict[str, str]) -> None:
    browser = Browser(auth)
    silent = {**app, "prompt": "none"}
    assert answered(browser.http.get("/authorize", params=silent))["error"] == "login_required"
    browser.sign_in()
    told = answered(browser.http.get("/authorize", params=silent))
    assert (told["error"], told["state"], told["iss"]) == ("consent_required", app["state"], auth.url)
    browser.allow(app)
    assert answered(browser.http.get("/authorize", params=silent))["code"]
    for changes in ({"prompt": "none login"}, {"max_age": "soon"}, {"max_age": "-1"}):
        assert answered(browser.http.get("/authorize", params={**app, **changes}))["error"] == "invalid_request"


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}])
def test_a_client_can_ask_for_a_new_sign_in(auth: Auth, app: dict[str, str], changes: dict[str, str]) -> None:
    browser = Browser(auth)
    browser.sign_in()
    assert browser.http.get("/authorize", params={**app, "max_age": "1000"}).status_code == 200
    answer = browser.http.get("/authorize", params={**app, **changes, "login_hint": "ann@example.com"})
    assert "/sign-in" in answer.headers["location"]
    page = browser.get(answer.headers["location"])
    assert 'value="ann@example.com"' in page.text
    form = Form(page.text)
    signed_in = browser.submit(form, {"email": "admin@example.com", "password": "correct horse battery staple"})
    assert browser.http.get(signed_in.headers["location"]).status_code == 200


def test_a_connected_app_is_listed_and_ended(auth: Auth, app: dict[str, str]) -> None:
    browser = Browser(auth)
    token = token_of(auth, app, browser.allow(app)["code"])
    page = browser.get("/apps")
    assert "An app" in page.text
    assert "Create, change and delete rows of databases" in page.text
    csrf = page.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    headers = {"Origin": auth.url}
    for wrong in ({"client_id": app["client_id"]}, {"client_id": app["client_id"], "csrf_token": "0" * 64}):
        assert browser.http.post("/apps", data=wrong, headers=headers).status_code == 403
    right = {"client_id": app["client_id"], "csrf_token": csrf}
    assert browser.http.post("/apps", data=right, headers=headers).status_code == 303
    assert app["client_id"] not in browser.get("/apps").text
    refreshed = auth.token(
        {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], "client_id": app["client_id"]}
    )
    assert refreshed.json()["error"] == "invalid_grant"
    assert browser.http.get("/authorize", params=app).status_code == 200
    assert "/sign-in" in Browser(auth).http.get("/apps").headers["location"]


def test_the_names_of_apps_are_shown_as_text(auth: Auth) -> None:
    name = "<script>alert(1)</script>\"'><img src=x>"
    client_id = auth.register(client_name=name)["client_id"]
    browser = Browser(auth)
    page = browser.get(f"/authorize?{urlencode(auth.request(client_id=client_id, redirect_uri=REDIRECT))}")
    if "/sign-in" in str(page.url):
        page = browser.sign_in(f"/authorize?{urlencode(auth.request(client_id=client_id, redirect_uri=REDIRECT))}")
    browser.submit(Form(page.text), {"decision": "allow"})
    for shown in (page.text, browser.get("/apps").text):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "&lt;script&gt;" in shown
    assert CLIENT_ID
