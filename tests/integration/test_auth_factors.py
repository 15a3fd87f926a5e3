"""One's own account: second factor, password, browsers; and what strangers cannot do to it."""

import re
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path

import httpx2
import pyotp
import pytest
from pyotp.totp import TOTP

from administrator import API, Administrator
from auth_server import EMAIL, PASSWORD, Auth, Browser, auth_with_bus
from browser import Form
from isthmus_auth import attempts
from isthmus_auth.attempts import SignInAttempts, network_of
from servers import TLS

OWN = "a password of ann's own"
CODE = "/sign-in/code"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


def person(admin: Administrator, name: str) -> str:
    """Makes somebody; returns the e-mail address."""
    email = f"{name}@example.com"
    admin.done("POST", "/people", {"email": email, "password": OWN})
    return email


def sign_in(browser: Browser, email: str, password: str = OWN, then: str = "/account") -> httpx2.Response:
    """What follows the sign-in form."""
    form = Form(browser.get(f"/sign-in?next={then}").text)
    return browser.submit(form, {"email": email, "password": password})


def signed_in(auth: Auth, email: str) -> Browser:
    browser = Browser(auth)
    assert sign_in(browser, email).headers["location"] == "/account"
    return browser


def do(browser: Browser, action: str, **fields: str) -> httpx2.Response:
    """Sends a form of the account page."""
    return browser.submit(Form(browser.get("/account").text, action), {"action": action, **fields})


def secret_of(page: httpx2.Response) -> str:
    found = re.search(r'class="secret">([A-Z2-7]+)<', page.text)
    assert found, page.text
    return found[1]


def later(auth: Auth) -> None:
    """As if the time step of the last code were long ago."""
    with sqlite3.connect(auth.database, timeout=10) as database:
        database.execute("UPDATE accounts SET totp_used = 0")


def with_app(browser: Browser) -> tuple[str, list[str]]:
    """Sets an authenticator app up; its secret, and the recovery codes."""
    page = do(browser, "begin-totp", password=OWN)
    secret = secret_of(page)
    assert "<svg" in page.text
    done = browser.submit(Form(page.text, "confirm-totp"), {"action": "confirm-totp", "code": TOTP(secret).now()})
    assert done.status_code == 200, done.text
    codes = re.findall(r"<li><code>([a-z0-9-]+)</code>", done.text)
    assert len(codes) == 10
    return secret, codes


def test_after_the_password_a_code_is_asked_for_which_counts_once(auth: Auth, admin: Administrator) -> None:
    email = person(admin, "totp")
    secret, codes = with_app(signed_in(auth, email))
    browser = Browser(auth)
    before = browser.get("/sign-in") and dict(browser.http.cookies)
    answer = sign_in(browser, email, then="/apps")
    assert answer.headers["location"] == CODE
    assert dict(browser.http.cookies) != before
    # Halfway nobody is signed in.
    for path in ("/account", "/apps", "/keys", "/admin/", "/device"):
        assert browser.http.get(path).headers["location"].startswith("/sign-in"), path
    assert browser.http.get(f"{API}/me").status_code == 401
    halfway = dict(browser.http.cookies)
    wrong = browser.submit(Form(browser.get(CODE).text), {"code": "000000"})
    assert (wrong.status_code, "The code is wrong" in wrong.text) == (403, True)
    assert browser.submit(Form(browser.get(CODE).text), {"code": TOTP(secret).now()}).status_code == 403  # used above
    later(auth)
    code = TOTP(secret).now()
    answer = browser.submit(Form(browser.get(CODE).text), {"code": code})
    assert answer.headers["location"] == "/apps"
    assert browser.http.get("/apps").status_code == 200
    assert dict(browser.http.cookies)["isthmus_session"] != halfway["isthmus_session"]
    other = Browser(auth)
    sign_in(other, email)
    assert other.submit(Form(other.get(CODE).text), {"code": code}).status_code == 403
    assert other.submit(Form(other.get(CODE).text), {"code": codes[0].upper()}).status_code == 303
    again = Browser(auth)
    sign_in(again, email)
    assert again.submit(Form(again.get(CODE).text), {"code": codes[0]}).status_code == 403


def test_a_passed_step_of_one_browser_is_of_no_use_in_another(auth: Auth, admin: Administrator) -> None:
    email = person(admin, "steps")
    secret, _ = with_app(signed_in(auth, email))
    later(auth)
    victim = Browser(auth)
    sign_in(victim, email)
    form = Form(victim.get(CODE).text)
    thief = Browser(auth)
    assert thief.submit(form, {"code": TOTP(secret).now()}).status_code == 403  # another browser's form
    with sqlite3.connect(auth.database, timeout=10) as database:
        database.execute("UPDATE browser_sessions SET expires_at = 1 WHERE step != ''")
    assert victim.submit(form, {"code": TOTP(secret).now()}).headers["location"] == "/sign-in"


def test_codes_cannot_be_tried_out(auth: Auth, admin: Administrator) -> None:
    email = person(admin, "guess")
    secret, _ = with_app(signed_in(auth, email))
    later(auth)
    browser = Browser(auth)
    sign_in(browser, email)
    form = Form(browser.get(CODE).text)
    tried = [browser.submit(form, {"code": f"{number:06}"}).status_code for number in range(attempts.MOST + 1)]
    assert tried[-1] == 429
    assert browser.submit(form, {"code": TOTP(secret).now()}).status_code == 429


def test_what_protects_the_account_is_changed_with_its_password_alone(auth: Auth, admin: Administrator) -> None:
    browser = signed_in(auth, person(admin, "protected"))
    for action in ("begin-totp", "password", "begin-passkey"):
        refused = do(browser, action, password="wrong")
        assert (refused.status_code, "Your password is wrong; nothing was changed." in refused.text) == (403, True)
    with_app(browser)
    assert do(browser, "remove-totp", password="wrong").status_code == 403
    form = Form(do(browser, "begin-totp", password=OWN).text, "confirm-totp")
    other = signed_in(auth, person(admin, "somebody"))
    stolen = other.http.post(
        "/account",
        data={
            **Form(other.get("/account").text, "password").fields,
            "action": "confirm-totp",
            "totp": form.fields["totp"],
        },
        headers={"Origin": auth.url},
    )
    assert "Begin anew" in stolen.text
    assert (
        "No code is asked for any more."
        in browser.submit(
            Form(browser.get("/account").text, "begin-totp"), {"action": "remove-totp", "password": OWN}
        ).text
    )
    assert sign_in(Browser(auth), "protected@example.com").headers["location"] == "/account"


def test_a_secret_lies_sealed_in_the_database(auth: Auth, admin: Administrator) -> None:
    secret, codes = with_app(signed_in(auth, person(admin, "sealed")))
    files = b"".join(path.read_bytes() for path in auth.folder.glob("auth.db*"))
    assert secret.encode() not in files
    assert not any(code.encode() in files or code.replace("-", "").encode() in files for code in codes)
    assert pyotp.random_base32() != pyotp.random_base32()


@pytest.mark.parametrize(
    ("new", "again", "sentence"),
    [
        ("short", "short", "A password has 12 to 1000 characters."),
        ("a long new password", "another long password", "The two new passwords are not the same."),
        ("the name is picky indeed", "the name is picky indeed", "must not hold the name"),
        (OWN, OWN, "That is the password of now"),
    ],
)
def test_what_is_wrong_with_a_new_password_is_said(
    auth: Auth, admin: Administrator, new: str, again: str, sentence: str
) -> None:
    if not admin.done("GET", "/people?search=picky@")["people"]:
        person(admin, "picky")
    refused = do(signed_in(auth, "picky@example.com"), "password", password=OWN, new_password=new, repeated=again)
    assert refused.status_code == 400
    assert sentence in refused.text
    assert sign_in(Browser(auth), "picky@example.com").status_code == 303


def test_another_password_signs_every_other_browser_out(auth: Auth, admin: Administrator) -> None:
    email = person(admin, "many")
    here, there = signed_in(auth, email), signed_in(auth, email)
    assert here.get("/account").text.count("127.0.0.1") == 2
    new = "quite another password"
    done = do(here, "password", password=OWN, new_password=new, repeated=new)
    assert "Your password is changed" in done.text
    assert there.http.get("/account").status_code == 303
    assert here.http.get("/account").status_code == 200
    assert sign_in(Browser(auth), email).status_code == 403
    third = Browser(auth)
    assert sign_in(third, email, new).status_code == 303
    do(here, "sign-out-others")
    assert third.http.get("/account").status_code == 303


def test_a_password_that_others_know_is_changed_before_anything_else(tmp_path: Path) -> None:
    server = Auth(tmp_path / "auth", changes={"issuer": "https://data.example", "gateway_url": "https://data.example"})
    with server.running(), httpx2.Client(base_url=server.url, headers={"Host": "data.example"}, verify=TLS) as http:
        jar: dict[str, str] = {}

        def ask(method: str, path: str, **fields: str) -> httpx2.Response:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}
            if method == "POST":
                headers["Origin"] = "https://data.example"
            answer = http.request(method, path, data=fields or None, headers=headers)
            for line in answer.headers.get_list("set-cookie"):
                name, _, value = line.partition(";")[0].partition("=")
                assert name.startswith("__Host-")
                assert "Secure" in line
                jar[name] = value
            return answer

        form = Form(ask("GET", "/sign-in").text)
        answer = ask("POST", "/sign-in", **{**form.fields, "email": EMAIL, "password": PASSWORD})
        assert answer.headers["location"] == "/sign-in/password"
        assert ask("GET", "/admin/").headers["location"].startswith("/sign-in")
        assert ask("GET", f"{API}/me").status_code == 401
        page = ask("GET", "/sign-in/password")
        form = Form(page.text)
        same = {"new_password": PASSWORD, "repeated": PASSWORD}
        assert "That is the password of now" in ask("POST", form.action, **{**form.fields, **same}).text
        new = {"new_password": "my very own password", "repeated": "my very own password"}
        answer = ask("POST", form.action, **{**form.fields, **new})
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")
        assert ask("GET", f"{API}/me").json()["email"] == EMAIL
        jar.clear()
        form = Form(ask("GET", "/sign-in").text)
        again = ask("POST", "/sign-in", **{**form.fields, "email": EMAIL, "password": "my very own password"})
        assert again.headers["location"] == "/admin/"


def attack(auth: Auth, email: str, address: str) -> int:
    """A wrong password for somebody, from this address."""
    with httpx2.Client(
        base_url=auth.url, transport=httpx2.HTTPTransport(local_address=address), headers={"Origin": auth.url}
    ) as http:
        form = Form(http.get("/sign-in").text)
        data = {**form.fields, "email": email, "password": "a wrong password"}
        return http.post(
            "/sign-in", data=data, headers={"Cookie": f"isthmus_session={http.cookies['isthmus_session']}"}
        ).status_code


def test_an_attacker_with_200_addresses_does_not_keep_out_who_signed_in_before(
    auth: Auth, admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the server counts is tried out without its passwords, which take 50 ms each.
    seen = SignInAttempts()
    answers = [seen.allow(f"203.0.113.{number}", "ann@example.com", "") for number in range(200)]
    assert answers == [True] * 100 + [False] * 100
    assert not seen.allow("198.51.100.1", "ann@example.com", "")
    assert seen.allow("198.51.100.1", "ann@example.com", "ann's laptop")
    assert seen.allow("198.51.100.1", "ben@example.com", "")
    # And once for real: the browser that is known is not kept out by its own address either.
    email = person(admin, "owner")
    browser = signed_in(auth, email)
    answers = [attack(auth, email, "127.0.0.2") for _ in range(attempts.MOST + 1)]
    assert answers == [403] * attempts.MOST + [429]
    browser.http.cookies.delete("isthmus_session")
    assert sign_in(browser, email).status_code == 303


def test_one_network_does_not_try_many_accounts() -> None:
    seen = SignInAttempts()
    answers = [seen.allow("203.0.113.1", f"{number}@example.com", "") for number in range(60)]
    assert answers == [True] * 50 + [False] * 10
    assert seen.is_first_refused("203.0.113.1", "x", "") is False
    assert seen.allow("203.0.113.2", "0@example.com", "")
    # Who knows a password uses nothing up.
    busy = SignInAttempts()
    for number in range(200):
        assert busy.allow("203.0.113.1", f"{number}@example.com", "")
        busy.succeeded("203.0.113.1", f"{number}@example.com", "")


def test_a_known_browser_cannot_try_passwords_for_ever_either() -> None:
    seen = SignInAttempts()
    answers = [seen.allow("a", "b", "laptop") for _ in range(attempts.MOST + 1)]
    assert answers == [True] * attempts.MOST + [False]
    assert seen.is_first_refused("a", "b", "laptop")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_stands_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_device_s_cookie_of_one_account_is_worth_nothing_for_another(auth: Auth, admin: Administrator) -> None:
    ann, ben = person(admin, "anna"), person(admin, "benn")
    browser = signed_in(auth, ann)
    answers = [sign_in(browser, ben, "wrong password").status_code for _ in range(attempts.MOST + 1)]
    assert answers == [403] * attempts.MOST + [429]  # as from any browser
    assert sign_in(browser, ann).status_code == 303
    forged = Browser(auth)
    forged.http.cookies.set("isthmus_devices", "AAAA.BBBB.!!!!." + "x" * 3000)
    assert sign_in(forged, ann).status_code == 303
    assert time.time() > 0
