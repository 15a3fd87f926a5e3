"""The pages: signing in without JavaScript, forged forms, headers, the console."""

import re
from collections.abc import Generator

import httpx2
import pytest

from auth_server import CLIENT_ID, EMAIL, PASSWORD, Auth, Browser, Form, auth_with_bus


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


def test_the_console_asks_to_sign_in_and_then_goes_on_to_the_page_that_was_asked_for(auth: Auth) -> None:
    page = Browser(auth).sign_in("/admin/services/default")
    assert page.status_code == 200
    assert CLIENT_ID in page.text
    assert f"{auth.gateway}/mcp<" in page.text
    assert EMAIL in page.text


def test_the_pages_need_no_script(auth: Auth) -> None:
    for page in (Browser(auth).get("/sign-in").text, Browser(auth).sign_in("/admin/").text):
        assert all('src="/static/' in script for script in page.split("<script")[1:])
        assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", page)


def test_signing_in_changes_the_session_id(auth: Auth) -> None:
    browser = Browser(auth)
    browser.get("/sign-in")
    before = browser.http.cookies["isthmus_session"]
    browser.sign_in()
    assert browser.http.cookies["isthmus_session"] != before


def test_signing_out_ends_the_session_on_the_server_too(auth: Auth) -> None:
    browser = Browser(auth)
    form = Form(browser.sign_in().text)
    session = browser.http.cookies["isthmus_session"]
    answer = browser.submit(form, {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fadmin%2F")
    again = auth.get("/admin/", headers={"Cookie": f"isthmus_session={session}"})
    assert again.status_code == 303


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(auth: Auth) -> None:
    cookie = auth.get("/sign-in").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Max-Age=43200" in cookie


def test_a_wrong_password_and_an_unknown_address_are_answered_alike(auth: Auth) -> None:
    said: list[str] = []
    for email in (EMAIL, "nobody@example.com"):
        browser = Browser(auth)
        answer = browser.submit(Form(browser.get("/sign-in").text), {"email": email, "password": "wrong"})
        assert answer.status_code == 403
        said.append(answer.text.replace(email, "").split('name="csrf_token"')[0])
    assert said[0] == said[1]
    assert "The e-mail address or the password is wrong." in said[0]


def test_the_address_is_compared_without_regard_to_case(auth: Auth) -> None:
    browser = Browser(auth)
    answer = browser.submit(Form(browser.get("/sign-in").text), {"email": f" {EMAIL.upper()} ", "password": PASSWORD})
    assert answer.status_code == 303


def test_too_many_attempts_are_stopped_for_that_address_alone(auth: Auth) -> None:
    browser = Browser(auth)
    form = Form(browser.get("/sign-in").text)
    codes = [browser.submit(form, {"email": "a@example.com", "password": "x"}).status_code for _ in range(11)]
    assert codes == [403] * 10 + [429]
    assert browser.submit(form, {"email": "b@example.com", "password": "x"}).status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", "é", "0" * 64])
def test_a_form_without_its_token_is_refused(auth: Auth, token: str) -> None:
    browser = Browser(auth)
    form = Form(browser.get("/sign-in").text)
    answer = browser.submit(form, {"email": EMAIL, "password": PASSWORD, "csrf_token": token})
    assert answer.status_code == 403
    assert "out of date" in answer.text


def test_a_token_of_another_browser_is_refused(auth: Auth) -> None:
    other = Form(Browser(auth).get("/sign-in").text)
    browser = Browser(auth)
    form = Form(browser.get("/sign-in").text)
    stolen = {"email": EMAIL, "password": PASSWORD, "csrf_token": other.fields["csrf_token"]}
    assert browser.submit(form, stolen).status_code == 403


def test_a_form_from_another_site_is_refused(auth: Auth) -> None:
    browser = Browser(auth)
    form = Form(browser.get("/sign-in").text)
    fields = {"email": EMAIL, "password": PASSWORD}
    assert browser.submit(form, fields, headers={"Origin": "https://evil.example.com"}).status_code == 403
    assert browser.submit(form, fields, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.submit(form, fields, headers={"Origin": "null"}).status_code == 303


def test_a_forged_consent_is_refused(auth: Auth) -> None:
    browser = Browser(auth)
    form = browser.consent(auth.request())
    for forged in (
        browser.submit(form, {"decision": "allow", "csrf_token": ""}),
        browser.submit(form, {"decision": "allow"}, headers={"Origin": "https://evil.example.com"}),
    ):
        assert forged.status_code == 403
        assert "location" not in forged.headers


def test_a_changed_request_in_the_consent_form_is_checked_again(auth: Auth) -> None:
    browser = Browser(auth)
    form = browser.consent(auth.request())
    forged = form.fields["request"].replace("127.0.0.1", "evil.example.com")
    answer = browser.submit(form, {"decision": "allow", "request": forged})
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize("then", ["https://evil.example.com/", "//evil.example.com", "/\\evil", "javascript:x", ""])
def test_after_signing_in_nobody_is_sent_elsewhere(auth: Auth, then: str) -> None:
    browser = Browser(auth)
    form = Form(browser.http.get("/sign-in", params={"next": then}).text)
    assert form.fields["next"] == "/admin/"
    answer = browser.submit(form, {"email": EMAIL, "password": PASSWORD, "next": then})
    assert answer.headers["location"] == "/admin/"


def test_every_page_has_the_security_headers(auth: Auth) -> None:
    signed_in = Browser(auth)
    signed_in.sign_in()
    pages = [auth.get("/sign-in"), auth.get("/nothing"), auth.get("/authorize"), signed_in.get("/admin/")]
    for page in pages:
        assert policy(page)["form-action"] == "'self'"
    consent = signed_in.http.get("/authorize", params=auth.request())
    assert "form-action" not in policy(consent)
    for page in [*pages, consent]:
        assert policy(page)["default-src"] == "'none'"
        assert policy(page)["frame-ancestors"] == "'none'"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "server" not in page.headers


def test_the_stylesheet_is_there(auth: Auth) -> None:
    sheet = auth.get("/static/style.css")
    assert sheet.headers["content-type"].startswith("text/css")
    assert "prefers-color-scheme: dark" in sheet.text


def test_with_https_the_cookie_is_bound_to_the_host_and_secure(tmp_path_factory: pytest.TempPathFactory) -> None:
    with auth_with_bus(tmp_path_factory.mktemp("https"), public_url="https://mcp.example.com") as auth:
        cookie = auth.get("/sign-in").headers["set-cookie"]
        assert cookie.startswith("__Host-isthmus_session=")
        assert "Secure" in cookie
        said = auth.get("/.well-known/oauth-authorization-server").json()
        assert said["issuer"] == "https://mcp.example.com"
        assert auth.get("/mcp-services/default").json()["mcp_endpoint"] == "https://mcp.example.com/mcp"


def policy(page: httpx2.Response) -> dict[str, str]:
    """The directives of a page's Content-Security-Policy."""
    return dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
