"""Every page of the console is for administrators alone, and every change of one comes from its own form."""

import re
from collections.abc import Generator

import pytest
from litestar.routes import HTTPRoute

from administrator import Administrator
from auth_server import Auth, Browser, auth_with_bus
from browser import Form
from isthmus_auth.console import ROUTES

PLACES = {
    "{namespace:str}": "default",
    "{role_id:str}": "everything",
    "{person_id:str}": "u_nobody",
    "{name:str}": "nothere",
}
EMAIL, PASSWORD = "plain@example.com", "a plain person's password"


def _paths(method: str) -> list[str]:
    found: set[str] = set()
    for route in ROUTES.routes:
        assert isinstance(route, HTTPRoute)
        if method in route.methods:
            found.add(re.sub(r"\{[^}]*\}", lambda place: PLACES[place[0]], route.path))
    return sorted(found)


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        Administrator(server).done("POST", "/people", {"email": EMAIL, "password": PASSWORD, "roles": ["everything"]})
        yield server


def test_there_are_pages_and_forms_to_look_at() -> None:
    assert len(_paths("GET")) > 20
    assert len(_paths("POST")) > 10


@pytest.mark.parametrize("path", _paths("GET"))
def test_a_page_asks_a_stranger_to_sign_in_first(auth: Auth, path: str) -> None:
    answer = auth.get(path)
    assert answer.status_code in (303, 400)  # 400: it wants to know of what
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/sign-in?next=%2Fadmin")
    part = auth.get(path, headers={"HX-Request": "true"})
    assert part.status_code in (401, 400)


def test_no_page_and_no_form_is_for_somebody_who_is_no_administrator(auth: Auth) -> None:
    browser = Browser(auth)
    browser.submit(Form(browser.get("/apps").text), {"email": EMAIL, "password": PASSWORD})
    token = Form(browser.get("/apps").text).fields["csrf_token"]
    for path in _paths("GET"):
        answer = browser.http.get(path)
        assert answer.status_code in (403, 400), path
        assert EMAIL not in answer.text
    for path in _paths("POST"):
        answer = browser.http.post(path, data={"csrf_token": token}, headers={"Origin": auth.url})
        assert answer.status_code in (403, 400), path


def test_a_form_without_its_token_or_from_another_site_changes_nothing(auth: Auth) -> None:
    browser = Browser(auth)
    token = Form(browser.sign_in().text).fields["csrf_token"]
    for path in _paths("POST"):
        for data, origin in (({}, auth.url), ({"csrf_token": token}, "https://evil.example")):
            answer = browser.http.post(path, data={**data, "action": "delete"}, headers={"Origin": origin})
            assert answer.status_code in (403, 400), path
            assert answer.status_code == 400 or "This form is out of date." in answer.text
