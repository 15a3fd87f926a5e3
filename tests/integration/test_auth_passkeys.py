"""Passkeys in a real browser with a virtual authenticator, and answers of such that were tampered with."""

import sqlite3
from collections.abc import Generator
from typing import Any, cast

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import CDPSession, Page, expect

from auth_server import EMAIL, PASSWORD, Auth, Browser
from browser import Form
from chromium import chromium

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    """An auth service that calls itself localhost: WebAuthn knows no addresses, and there it needs no TLS."""
    server = Auth(tmp_path_factory.mktemp("site") / "auth")
    server.changes["issuer"] = f"http://localhost:{server.port}"
    with server.running():
        yield server


@pytest.fixture(scope="module")
def browser() -> Generator[Chromium]:
    with chromium() as browser:
        yield browser


def fresh(browser: Chromium, site: Auth) -> tuple[Page, CDPSession, str]:
    """A page of a new profile, with an authenticator of its own."""
    context = browser.new_context(base_url=site.changes["issuer"])
    context.set_default_timeout(10_000)
    page = context.new_page()
    control = context.new_cdp_session(page)
    control.send("WebAuthn.enable")
    made = cast("dict[str, str]", control.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR}))
    return page, control, made["authenticatorId"]


def credentials(control: CDPSession, authenticator: str) -> list[dict[str, Any]]:
    """What the authenticator holds."""
    answer: Any = cast("Any", control).send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
    return answer["credentials"]


def sign_in(page: Page) -> None:
    page.goto("/account")
    page.fill("#email", EMAIL)
    page.fill("#password", PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()


def make_passkey(page: Page) -> None:
    page.fill("#passkey-password", PASSWORD)
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_text("You can sign in with this passkey from now on.")).to_be_visible()


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_passkey_is_made_signs_in_and_is_removed(browser: Chromium, site: Auth) -> None:
    page, control, authenticator = fresh(browser, site)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    sign_in(page)
    make_passkey(page)
    sign_out(page)
    page.goto("/sign-in?next=/account")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    (held,) = credentials(control, authenticator)
    with sqlite3.connect(site.database, timeout=10) as database:
        counts = database.execute("SELECT sign_count FROM passkeys").fetchall()
    assert (held["signCount"],) in counts
    page.get_by_role("radio").first.check()
    page.fill("#passkey-password", PASSWORD)
    page.get_by_role("button", name="Remove the chosen one").click()
    expect(page.get_by_text("The passkey opens nothing any more.")).to_be_visible()
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("That passkey is not known here")).to_be_visible()
    assert [text for text in problems if "403" not in text] == []
    page.context.close()


def test_an_answer_that_was_used_or_taken_elsewhere_signs_nobody_in(browser: Chromium, site: Auth) -> None:
    page, control, authenticator = fresh(browser, site)
    sign_in(page)
    make_passkey(page)
    sign_out(page)
    with page.expect_request("**/sign-in/passkey") as sent:
        page.get_by_role("button", name="Sign in with a passkey").click()
    used = sent.value.post_data or ""
    expect(page.get_by_role("heading", name="Welcome to Isthmus")).to_be_visible()

    def replayed(to: Page) -> int:
        """The status of the same form, sent once more by this browser."""
        token = to.locator("input[name=csrf_token]").first.get_attribute("value") or ""
        fields = dict(part.split("=", 1) for part in used.split("&"))
        body = "&".join(f"{name}={token if name == 'csrf_token' else value}" for name, value in fields.items())
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": site.changes["issuer"]}
        return to.request.post("/sign-in/passkey", data=body, headers=headers, max_redirects=0).status

    page.goto("/account")
    assert replayed(page) == 403
    other, _, _ = fresh(browser, site)
    other.goto("/sign-in")
    assert replayed(other) == 403
    # One whose counter went back is a copy.
    (held,) = credentials(control, authenticator)
    copy = {**held, "signCount": 0}
    control.send("WebAuthn.clearCredentials", {"authenticatorId": authenticator})
    control.send("WebAuthn.addCredential", {"authenticatorId": authenticator, "credential": copy})
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("That passkey is not known here")).to_be_visible()
    page.context.close()
    other.context.close()


def test_who_does_not_prove_to_be_the_owner_of_the_device_is_not_signed_in(browser: Chromium, site: Auth) -> None:
    page, control, authenticator = fresh(browser, site)
    sign_in(page)
    make_passkey(page)
    sign_out(page)
    control.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("Nothing came of it. Try again.")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize(
    "credential", ["", "{}", "[]", '{"rawId": 7}', '{"rawId": "AAAA"}', '{"rawId": "\\u0000"}', "x" * 50_000]
)
def test_no_answer_breaks_anything(site: Auth, credential: str) -> None:
    client = Browser(site)
    page = client.get("/sign-in").text
    challenge = page.partition('name="challenge" value="')[2].partition('"')[0]
    form = Form(page)
    form.action = "/sign-in/passkey"
    headers = {"Origin": site.changes["issuer"]}
    for sealed in (challenge, "", "AAAA", "?"):
        answer = client.submit(form, {"credential": credential, "challenge": sealed}, headers=headers)
        assert answer.status_code in (403, 413)
