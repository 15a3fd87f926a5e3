"""Sign-in with OpenID Connect providers: with a real one, and with one that lies."""

import base64
import hmac
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

import httpcore2
import httpx2
import pytest
from joserfc.jwk import ECKey, OctKey

from administrator import Administrator
from auth_server import EMAIL, PASSWORD, Auth, Browser, answered, auth_with_bus, challenge
from browser import Form
from isthmus_auth import fetching, openid_client, providers
from isthmus_auth.fetching import LARGEST
from node import Javascript
from openid_server import CLIENT_ID, CLIENT_SECRET, JSON, OpenIdServer, openid_server
from servers import TLS, free_port
from trail import reading

USUAL = {
    "label": "The company",
    "client_id": CLIENT_ID,
    "client_secret": CLIENT_SECRET,
    "allow_private_addresses": True,
    "create_people": True,
}
NUMBERS = count()


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    admin = Administrator(auth)
    for role in ("readers", "writers"):
        admin.done("PUT", f"/roles/{role}", {"name": role})
    return admin


@pytest.fixture(scope="module")
def server() -> Generator[OpenIdServer]:
    with openid_server() as running:
        yield running


@dataclass
class Liar:
    """A provider of the lying server, set up under a name of its own, and a browser that goes there."""

    name: str
    auth: Auth
    server: OpenIdServer
    browser: Browser

    def begin(self) -> dict[str, str]:
        """What the provider is asked."""
        answer = self.browser.http.get(f"/sign-in/with/{self.name}")
        assert answer.status_code == 303, answer.text
        return answered(answer)

    def come_back(self, asked: dict[str, str], **changes: str) -> httpx2.Response:
        """The provider's answer, as the browser brings it."""
        answer = {"code": "the-code", "state": asked["state"], "iss": self.server.issuer(self.name), **changes}
        given = {name: value for name, value in answer.items() if value}
        return self.browser.http.get(f"/sign-in/with/{self.name}/callback", params=given)

    def say(self, asked: dict[str, str], **changes: Any) -> None:
        """Which claims the ID token will have."""
        claims = self.server.claims(self.name, **{"nonce": asked["nonce"], **changes})
        self.server.tokens[self.name] = self.server.signed(claims)

    def sign_in(self, **changes: Any) -> httpx2.Response:
        """The whole way, with these claims."""
        asked = self.begin()
        self.say(asked, **changes)
        return self.come_back(asked)


@pytest.fixture
def liar(auth: Auth, admin: Administrator, server: OpenIdServer) -> Generator[Callable[..., Liar]]:
    made: list[str] = []

    def make(**changes: Any) -> Liar:
        name = f"liar-{next(NUMBERS)}"
        admin.done("PUT", f"/providers/{name}", {**USUAL, "issuer": server.issuer(name), **changes})
        made.append(name)
        return Liar(name, auth, server, Browser(auth))

    yield make
    for name in made:
        admin.done("DELETE", f"/providers/{name}")


def person(admin: Administrator, email: str) -> dict[str, Any]:
    found = admin.done("GET", f"/people?{urlencode({'search': email})}")["people"]
    return found[0] if found else {}


def signed_in(browser: Browser) -> bool:
    return browser.http.get("/apps").status_code == 200


def email_of_its_own() -> str:
    return f"person{next(NUMBERS)}@example.com"


class Real:
    """npm `oidc-provider`, and what it says of people."""

    def __init__(self, port: int, people: Path) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self._people = people

    def knows(self, **people: dict[str, Any]) -> None:
        self._people.write_text(json.dumps(people))

    def sign_in(self, url: str, login: str) -> str:
        """Goes through its pages, and returns where they lead."""
        with httpx2.Client(verify=TLS) as http:
            for _ in range(10):
                answer = http.get(url)
                while answer.is_redirect:
                    url = urljoin(str(answer.url), answer.headers["location"])
                    if not url.startswith(self.issuer):
                        return url
                    answer = http.get(url)
                form = Form(answer.text)
                answer = http.post(form.action, data={**form.fields, "login": login, "password": "x"})
                url = urljoin(str(answer.url), answer.headers["location"])
        raise AssertionError("the pages of the provider do not end")


@pytest.fixture(scope="module")
def real(
    auth: Auth, admin: Administrator, javascript: Javascript, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Real]:
    folder, port = tmp_path_factory.mktemp("provider"), free_port()
    redirect_uri = f"{auth.url}/sign-in/with/real/callback"
    command = [*javascript.script("provider.mjs", folder), str(port), redirect_uri, str(folder / "people.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield Real(port, folder / "people.json")
        finally:
            process.kill()


@contextmanager
def trusted(admin: Administrator, real: Real, **changes: Any) -> Generator[dict[str, Any]]:
    try:
        yield admin.done("PUT", "/providers/real", {**USUAL, "issuer": real.issuer, **changes})
    finally:
        admin.call("DELETE", "/providers/real")


@pytest.mark.timeout(150)  # the first test to use JavaScript may have to install its packages
def test_somebody_signs_in_with_a_real_provider_and_has_the_roles_that_it_says(
    auth: Auth, admin: Administrator, real: Real
) -> None:
    rules = [
        {"claim": "groups", "value": "staff", "roles": ["readers"]},
        {"claim": "groups", "value": "editors", "roles": ["writers"]},
    ]
    real.knows(ann={"email": "Ann@Example.com", "email_verified": True, "name": "Ann", "groups": ["staff", "x"]})
    with trusted(admin, real, roles=rules, attributes={"full_name": "name"}) as made:
        assert made["redirect_uri"] == f"{auth.url}/sign-in/with/real/callback"
        assert "client_secret" not in made
        browser = Browser(auth)
        page = browser.get(f"/authorize?{urlencode(auth.request())}").text
        assert "Sign in with The company" in page
        link = page.partition('class="button" href="')[2].partition('"')[0].replace("&amp;", "&")
        back = real.sign_in(browser.http.get(link).headers["location"], "ann")
        assert "iss=" in back
        on = browser.http.get(back)
        assert on.status_code == 303, on.text
        told = answered(browser.submit(Form(browser.get(on.headers["location"]).text), {"decision": "allow"}))
        assert told["code"]
        ann = person(admin, "ann@example.com")
        assert (ann["roles"], ann["attributes"], ann["is_admin"]) == (["readers"], {"full_name": "Ann"}, False)

        admin.done("PATCH", f"/people/{ann['id']}", {"roles": ["everything", "readers"]})
        real.knows(ann={"email": "new@example.com", "email_verified": True, "groups": ["editors"]})
        again = Browser(auth)
        assert again.http.get(real.sign_in(again.http.get("/sign-in/with/real").headers["location"], "ann")).is_redirect
        after = person(admin, "ann@example.com")  # the same account, whatever her address is now
        assert (after["id"], after["roles"], after["attributes"]) == (ann["id"], ["everything", "writers"], {})


@pytest.mark.timeout(150)
def test_an_answer_of_a_real_provider_counts_once_and_in_its_own_browser(
    auth: Auth, admin: Administrator, real: Real
) -> None:
    real.knows(bob={"email": "bob@example.com", "email_verified": True})
    with trusted(admin, real):
        browser, other = Browser(auth), Browser(auth)
        back = real.sign_in(browser.http.get("/sign-in/with/real").headers["location"], "bob")
        assert other.http.get("/sign-in/with/real").is_redirect  # with a cookie of its own
        assert other.http.get(back).status_code == 400
        assert not signed_in(other)
        assert browser.http.get(back).status_code == 400  # it was shown to somebody else
        back = real.sign_in(browser.http.get("/sign-in/with/real").headers["location"], "bob")
        assert browser.http.get(back).is_redirect
        assert browser.http.get(back).status_code == 400


def test_an_honest_answer_is_believed_and_proves_who_asked(
    liar: Callable[..., Liar], auth: Auth, server: OpenIdServer
) -> None:
    at = liar()
    asked = at.begin()
    at.say(asked)
    assert at.come_back(asked).status_code == 303
    assert signed_in(at.browser)
    authorization, form = server.forms[-1]
    pair = f"{quote(CLIENT_ID, safe='')}:{quote(CLIENT_SECRET, safe='')}"  # RFC 6749, section 2.3.1
    assert authorization == f"Basic {base64.b64encode(pair.encode()).decode()}"
    assert form["redirect_uri"] == [f"{auth.url}/sign-in/with/{at.name}/callback"]
    assert challenge(form["code_verifier"][0]) == asked["code_challenge"]
    assert (asked["code_challenge_method"], asked["response_type"]) == ("S256", "code")


def other_key(server: OpenIdServer, claims: dict[str, Any]) -> str:
    return server.signed(claims, key=ECKey.generate_key("P-256"))


def own_key(server: OpenIdServer, claims: dict[str, Any]) -> str:
    key = ECKey.generate_key("P-256")
    return server.signed(claims, {"jwk": key.as_dict(private=False)}, key)


def public_key_as_secret(server: OpenIdServer, claims: dict[str, Any]) -> str:
    text = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{encoded(claims)}"
    mac = hmac.digest(server.key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def client_secret_as_key(server: OpenIdServer, claims: dict[str, Any]) -> str:
    return server.signed(claims, {"alg": "HS256"}, OctKey.import_key(CLIENT_SECRET))


def unsigned(_server: OpenIdServer, claims: dict[str, Any]) -> str:
    return f"{encoded({'alg': 'none'})}.{encoded(claims)}."


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def another_kid(server: OpenIdServer, claims: dict[str, Any]) -> str:
    return server.signed(claims, {"kid": "two"})


def changed(server: OpenIdServer, claims: dict[str, Any]) -> str:
    header, _, signature = server.signed(claims).split(".")
    return f"{header}.{encoded({**claims, 'sub': 'boss'})}.{signature}"


def no_token(_server: OpenIdServer, _claims: dict[str, Any]) -> str:
    return "not a token"


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize(
    "sign",
    [
        other_key,
        own_key,
        public_key_as_secret,
        client_secret_as_key,
        unsigned,
        another_kid,
        changed,
        no_token,
    ],
)
def test_an_id_token_that_the_provider_has_not_signed_is_refused(
    liar: Callable[..., Liar], sign: Callable[[OpenIdServer, dict[str, Any]], str]
) -> None:
    at = liar()
    asked = at.begin()
    at.server.tokens[at.name] = sign(at.server, at.server.claims(at.name, nonce=asked["nonce"]))
    refused(at, at.come_back(asked))


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"iss": "https://accounts.example"},
        {"iss": None},
        {"aud": "another app"},
        {"aud": None},
        {"aud": ["another app"]},
        {"aud": [CLIENT_ID, "another app"]},
        {"aud": [CLIENT_ID, "another app"], "azp": "another app"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": 9_000_000_000},
        {"nbf": 9_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "s" * 256},
        {"sub": "a\0b"},
        {"at_hash": "of another token"},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(liar: Callable[..., Liar], lie: dict[str, Any]) -> None:
    at = liar()
    refused(at, at.sign_in(**lie))


def refused(at: Liar, answer: httpx2.Response) -> None:
    assert answer.status_code == 403
    assert "That provider did not sign you in" in answer.text
    assert "set-cookie" not in answer.headers
    assert not signed_in(at.browser)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://accounts.example"},
        {"iss": ""},
        {"code": ""},
        {"code": "", "error": "access_denied", "error_description": "<b>call 555"},
    ],
)
def test_an_answer_of_somebody_else_is_refused(
    liar: Callable[..., Liar], server: OpenIdServer, changes: dict[str, str]
) -> None:
    at = liar()
    server.described[at.name] = {"authorization_response_iss_parameter_supported": True}
    asked = at.begin()
    at.say(asked)
    asked_before = len(server.forms)
    answer = at.come_back(asked, **changes)
    refused(at, answer)
    assert len(server.forms) == asked_before  # the code goes nowhere
    assert "555" not in answer.text


def test_an_answer_for_one_provider_is_none_for_another(liar: Callable[..., Liar], server: OpenIdServer) -> None:
    honest, attacker = liar(), liar()
    attacker.browser = honest.browser
    asked, before = honest.begin(), len(server.forms)
    assert attacker.come_back(asked, iss="").status_code == 400
    assert attacker.come_back({"state": "nothing"}).status_code == 400
    assert honest.come_back(asked).status_code == 400
    assert len(server.forms) == before


def test_a_service_without_issuers_in_its_answers_needs_none(liar: Callable[..., Liar]) -> None:
    at = liar()
    asked = at.begin()
    at.say(asked)
    assert at.come_back(asked, iss="").status_code == 303


def test_a_new_key_is_asked_for_once_a_minute(
    liar: Callable[..., Liar], server: OpenIdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = liar()
    assert at.sign_in().status_code == 303
    before = server.key
    try:
        server.key = ECKey.generate_key("P-256", {"kid": "one more"})
        for _ in range(3):
            asked = at.begin()
            claims = server.claims(at.name, nonce=asked["nonce"])
            server.tokens[at.name] = server.signed(claims, {"kid": "one more"})
            assert at.come_back(asked).status_code == 403
        assert server.visits.count(f"/{at.name}/jwks") == 1
        monkeypatch.setattr(openid_client, "AGAIN_AFTER", 0.0)
        asked = at.begin()
        server.tokens[at.name] = server.signed(server.claims(at.name, nonce=asked["nonce"]), {"kid": "one more"})
        assert at.come_back(asked).status_code == 303
    finally:
        server.key = before


def test_people_who_come_at_once_all_get_in(liar: Callable[..., Liar], server: OpenIdServer, auth: Auth) -> None:
    at = liar()
    people = [Liar(at.name, auth, server, Browser(auth)) for _ in range(4)]
    begun = [one.begin() for one in people]

    def come_back(number: int) -> int:
        code = f"{at.name}-{number}"
        server.tokens[code] = server.signed(server.claims(at.name, nonce=begun[number]["nonce"]))
        return people[number].come_back(begun[number], code=code).status_code

    def keys(handler: BaseHTTPRequestHandler) -> None:
        """Not before all have their tokens."""
        end = time.monotonic() + 2
        while server.visits.count(f"/{at.name}/token") < 4 and time.monotonic() < end:
            time.sleep(0.01)
        _, headers, body = server.answer(f"/{at.name}/jwks")
        handler.send_response(200)
        handler.send_header("Content-Type", headers["Content-Type"])
        handler.end_headers()
        handler.wfile.write(body.encode())

    server.answers[f"/{at.name}/jwks"] = keys
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(come_back, range(4))) == [303] * 4
    assert server.visits.count(f"/{at.name}/jwks") == 1


def test_what_the_userinfo_endpoint_says_counts_for_the_same_person_alone(
    liar: Callable[..., Liar], admin: Administrator, server: OpenIdServer
) -> None:
    email = email_of_its_own()
    for subject, status in (("somebody else", 403), ("somebody", 303)):
        at = liar()
        server.described[at.name] = {"userinfo_endpoint": f"{server.issuer(at.name)}/me"}
        said = {"sub": subject, "email": email, "email_verified": True, "iss": "https://accounts.example"}
        server.answers[f"/{at.name}/me"] = (200, JSON, json.dumps(said))
        assert at.sign_in(email=None).status_code == status
        assert bool(person(admin, email)) is (status == 303)


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """A byte at a time, for longer than anybody should wait."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)  # the pace of the trap
    except OSError:
        return


METADATA_SERVICE = "http://169.254.169.254/latest/meta-data/"
TRAPS: list[Any] = [
    (302, {"Location": METADATA_SERVICE}, ""),
    (404, {}, ""),
    (200, {"Content-Type": "text/html"}, "<p>"),
    (200, JSON, "[" * 60_000),
    (200, JSON, '{"issuer": "\xff"}'),
    (200, JSON, " " * (LARGEST + 1)),
    slowly,
]


@pytest.mark.parametrize("where", [".well-known/openid-configuration", "token", "jwks"])
@pytest.mark.parametrize("trap", TRAPS, ids=["moved", "gone", "page", "deep", "garbled", "huge", "slow"])
def test_a_trap_at_the_provider_is_left_alone(
    liar: Callable[..., Liar], server: OpenIdServer, monkeypatch: pytest.MonkeyPatch, where: str, trap: Any
) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.3)
    at = liar()
    server.answers[f"/{at.name}/{where}"] = trap
    if where.startswith("."):
        for _ in range(2):
            assert at.browser.http.get(f"/sign-in/with/{at.name}").status_code == 502
        assert server.visits.count(f"/{at.name}/{where}") == 1  # a failure is remembered for a while
    else:
        refused(at, at.sign_in())


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://accounts.example"},
        {"issuer": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://accounts.example/auth"},
        {"token_endpoint": "http://10.0.0.1/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": ""},
        {"jwks_uri": "http://[fd00::1]/jwks"},
        {"jwks_uri": "https://user:pass@accounts.example/jwks"},
        {"userinfo_endpoint": "http://accounts.example/me"},
    ],
    ids=str,
)
def test_a_provider_that_describes_itself_wrongly_is_not_asked(
    liar: Callable[..., Liar], server: OpenIdServer, described: dict[str, Any]
) -> None:
    at = liar()
    server.described[at.name] = described
    assert at.browser.http.get(f"/sign-in/with/{at.name}").status_code == 502


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "[64:ff9b::a9fe:a9fe]"])
@pytest.mark.parametrize("field", ["token_endpoint", "jwks_uri"])
def test_a_provider_inside_leads_to_no_place_where_a_cloud_keeps_its_secrets(
    liar: Callable[..., Liar], server: OpenIdServer, monkeypatch: pytest.MonkeyPatch, host: str, field: str
) -> None:
    connected: list[str] = []
    backend: Any = httpcore2.AnyIOBackend
    connect = backend.connect_tcp

    async def recorded(self: Any, host: str, *arguments: Any) -> Any:
        connected.append(host)
        return await connect(self, host, *arguments)

    monkeypatch.setattr(backend, "connect_tcp", recorded)
    at = liar()
    server.described[at.name] = {field: f"https://{host}/"}
    refused(at, at.sign_in())
    assert set(connected) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "issuer", ["HERE", "https://localhost:PORT", "https://10.0.0.1", "https://[::ffff:127.0.0.1]:PORT", "https://[::1]"]
)
def test_a_provider_outside_leads_nowhere_inside(liar: Callable[..., Liar], server: OpenIdServer, issuer: str) -> None:
    issuer = issuer.replace("HERE", server.issuer("inside")).replace("PORT", str(server.port))
    before = len(server.visits)
    at = liar(issuer=issuer, allow_private_addresses=False)
    assert at.browser.http.get(f"/sign-in/with/{at.name}").status_code == 502
    assert len(server.visits) == before


def test_an_account_is_linked_by_its_address_only_if_that_is_allowed_and_vouched_for(
    liar: Callable[..., Liar], admin: Administrator
) -> None:
    email = email_of_its_own()
    account = admin.done("POST", "/people", {"email": email, "roles": ["writers"]})["person"]["id"]
    for claims in ({"email_verified": False}, {"email_verified": None}, {"email_verified": "true"}):
        nobody(liar(link_by_email=True).sign_in(email=email, **claims))
    nobody(liar().sign_in(email=email))
    at = liar(link_by_email=True)
    assert at.sign_in(email=email.upper()).status_code == 303
    assert at.browser.http.get("/apps").text.count(email)
    assert person(admin, email)["id"] == account
    assert person(admin, email)["roles"] == ["writers"]
    at.browser = Browser(at.auth)
    assert at.sign_in(email="x@example.com").status_code == 303  # from now on by its subject
    assert email in at.browser.http.get("/apps").text


def nobody(answer: httpx2.Response) -> None:
    assert answer.status_code == 403
    assert "that gives you no account here" in answer.text
    assert "set-cookie" not in answer.headers


def test_strangers_get_no_account_unless_that_is_allowed(liar: Callable[..., Liar], admin: Administrator) -> None:
    email = email_of_its_own()
    nobody(liar(create_people=False).sign_in(email=email))
    nobody(liar().sign_in(email=None))
    nobody(liar().sign_in(email=email, email_verified=False))
    nobody(liar().sign_in(email="no address"))
    assert person(admin, email) == {}


def test_only_addresses_of_the_named_domains_are_let_in(liar: Callable[..., Liar]) -> None:
    at = liar(email_domains=["corp.example"])
    for email in ("a@evil.example", "a@evil-corp.example", "a@sub.corp.example", "corp.example"):
        nobody(at.sign_in(sub=email, email=email))
    nobody(at.sign_in(email="a@corp.example", email_verified=False))
    assert at.sign_in(email="A@Corp.example").status_code == 303
    nobody(at.sign_in(email="a@elsewhere.example"))  # also once there is an account


def test_whoever_is_disabled_stays_out(liar: Callable[..., Liar], admin: Administrator) -> None:
    at, email = liar(), email_of_its_own()
    assert at.sign_in(email=email).status_code == 303
    admin.done("PATCH", f"/people/{person(admin, email)['id']}", {"disabled": True})
    assert not signed_in(at.browser)
    nobody(at.sign_in(email=email))
    assert not signed_in(at.browser)


def test_a_person_of_a_provider_has_no_password(liar: Callable[..., Liar], auth: Auth) -> None:
    at, email = liar(), email_of_its_own()
    assert at.sign_in(email=email).status_code == 303
    browser = Browser(auth)
    for password in ("", "None"):
        form = Form(browser.get("/sign-in").text)
        assert browser.submit(form, {"email": email, "password": password}).status_code == 403


def test_roles_and_attributes_follow_the_claims(liar: Callable[..., Liar], admin: Administrator) -> None:
    email = email_of_its_own()
    rules = [
        {"claim": "realm_access.roles", "value": "reader", "roles": ["readers"]},
        {"claim": "https://x.example/admin", "value": "true", "roles": ["writers"]},
    ]
    at = liar(roles=rules, attributes={"branch": "branch", "level": "org.level"})
    url, realm = "https://x.example/admin", "realm_access"
    steps: list[tuple[dict[str, Any], list[str], dict[str, str]]] = [
        ({realm: {"roles": ["reader"]}, "branch": "Bonn"}, ["readers"], {"branch": "Bonn"}),
        ({url: True, "org": {"level": 3}, "branch": ["a", "b"]}, ["writers"], {"level": "3"}),
        ({realm: {"roles": "reader"}, url: "false", "branch": "b" * 1001}, ["readers"], {}),
        ({realm: ["reader"], "org": "x"}, [], {}),
    ]
    for claims, roles, attributes in steps:
        assert at.sign_in(email=email, **claims).status_code == 303
        found = person(admin, email)
        assert (found["roles"], found["attributes"]) == (roles, attributes)


def test_deleting_a_provider_takes_the_roles_that_it_gave(
    liar: Callable[..., Liar], admin: Administrator, auth: Auth
) -> None:
    email = email_of_its_own()
    at = liar(roles=[{"claim": "sub", "value": "somebody", "roles": ["readers"]}])
    assert at.sign_in(email=email).status_code == 303
    found = person(admin, email)
    assert found["roles"] == ["readers"]
    admin.done("DELETE", f"/providers/{at.name}")
    assert person(admin, email)["roles"] == []
    assert Browser(auth).http.get(f"/sign-in/with/{at.name}").status_code == 404
    admin.done("PUT", f"/providers/{at.name}", {**USUAL, "issuer": at.server.issuer(at.name)})  # for the end


def test_a_providers_secret_is_shown_and_stored_nowhere(
    liar: Callable[..., Liar], auth: Auth, admin: Administrator
) -> None:
    secret = "a-secret-to-look-for"
    at = liar(client_secret=secret)
    assert secret not in admin.call("GET", f"/providers/{at.name}").text
    assert secret not in admin.call("GET", "/providers").text
    with sqlite3.connect(auth.database) as database:
        stored = database.execute("select client_secret from providers where name = ?", (at.name,)).fetchone()[0]
        assert secret.encode() not in stored
        assert secret not in "".join(database.iterdump())
    key = auth.folder / "sealing.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)


def test_a_secret_stays_with_its_issuer_and_client(
    liar: Callable[..., Liar], admin: Administrator, server: OpenIdServer
) -> None:
    at = liar()
    asked: dict[str, Any] = {**USUAL, "issuer": server.issuer(at.name), "label": "Another label"}
    del asked["client_secret"]
    assert admin.done("PUT", f"/providers/{at.name}", asked)["label"] == "Another label"
    assert at.sign_in(email=email_of_its_own()).status_code == 303
    for change in ({"issuer": "https://evil.example"}, {"client_id": "x"}):
        status, said = admin.refused("PUT", f"/providers/{at.name}", {**asked, **change})
        assert (status, "client_secret" in said) == (400, True)
    moved = {**asked, "issuer": "https://evil.example", "client_secret": "x"}
    assert admin.refused("PUT", f"/providers/{at.name}", moved)[0] == 409


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": "http://accounts.example"}, "http must point to localhost"),
        ({"issuer": "https://accounts.example/?a=b"}, "must not have a query"),
        ({"issuer": "ftp://accounts.example"}, "must use https"),
        ({"issuer": "https://u:p@accounts.example"}, "user name or password"),
        ({"roles": [{"claim": "a", "value": "b", "roles": ["nonsense"]}]}, "no role nonsense"),
        ({"attributes": {"Not a name": "x"}}, "attributes"),
        ({"email_domains": ["@example.com"]}, "email_domains"),
        ({"scopes": ["two words"]}, "scopes"),
        ({"client_id": ""}, "client_id"),
        ({"admin": True}, "admin"),
    ],
)
def test_what_can_be_a_provider(admin: Administrator, changes: dict[str, Any], why: str) -> None:
    asked = {**USUAL, "issuer": "https://accounts.example", **changes}
    status, said = admin.refused("PUT", "/providers/new", asked)
    assert status == 400
    assert why in said


def test_there_can_be_so_many_providers(
    admin: Administrator, liar: Callable[..., Liar], monkeypatch: pytest.MonkeyPatch
) -> None:
    liar()
    monkeypatch.setattr(providers, "MOST", 1)
    assert admin.refused("PUT", "/providers/more", {**USUAL, "issuer": "https://accounts.example"})[0] == 409
    assert admin.refused("PUT", "/providers/No_name", {**USUAL, "issuer": "https://accounts.example"})[0] == 400


def test_a_services_own_page_offers_the_providers_too(
    liar: Callable[..., Liar], admin: Administrator, auth: Auth
) -> None:
    at = liar(label='A "label" <b>')
    asked = {"namespace": "paged", "label": "Paged", "login_url": "https://login.example.com/"}
    service = admin.done("POST", "/services", asked)["service"]
    request = auth.request(client_id=service["client_id"], resource=service["mcp_endpoint"])
    browser = at.browser
    told = answered(browser.get(f"/authorize?{urlencode(request)}"))
    (button,) = json.loads(told["oauth_services"])
    assert (button["name"], button["label"]) == (at.name, 'A "label" <b>')
    assert button["url"].startswith(f"{auth.url}/sign-in/with/{at.name}?state=")
    assert Browser(auth).http.get(button["url"]).status_code == 400  # it is another browser's
    away = browser.http.get(button["url"])
    asked_there = dict(parse_qsl(urlsplit(away.headers["location"]).query))
    at.say(asked_there, email=email_of_its_own())
    on = at.come_back(asked_there)
    assert on.headers["location"].startswith("/authorize?")
    assert browser.http.get(on.headers["location"]).status_code == 200
    assert "<b>" not in Browser(auth).get("/sign-in").text
    admin.done("DELETE", "/services/paged")


@pytest.mark.parametrize("then", ["https://evil.example/", "//evil.example", "/\\evil", ""])
def test_after_a_provider_nobody_is_sent_elsewhere(liar: Callable[..., Liar], then: str) -> None:
    at = liar()
    asked = answered(at.browser.http.get(f"/sign-in/with/{at.name}", params={"next": then}))
    at.say(asked)
    assert at.come_back(asked).headers["location"] == "/admin/"


async def test_which_provider_it_was_is_on_record(liar: Callable[..., Liar], auth: Auth) -> None:
    at = liar()
    assert at.sign_in().status_code == 303
    assert at.sign_in(nonce="x").status_code == 403
    assert at.sign_in(sub="nobody", email=None).status_code == 403
    assert auth.nats is not None
    way = f"provider:{at.name}"
    async with reading(auth.nats) as trail:
        events = await trail.until(lambda events: sum(event.get("method") == way for event in events) == 3)
    found = [event for event in events if event.get("method") == way]
    assert [event.get("outcome", "ok") for event in found] == ["ok", "denied", "denied"]
    assert ["principal" in event for event in found] == [True, False, False]


def test_the_password_of_our_own_form_still_works_beside_providers(liar: Callable[..., Liar], auth: Auth) -> None:
    liar()
    browser = Browser(auth)
    wrong = browser.submit(Form(browser.get("/sign-in").text), {"email": EMAIL, "password": "wrong"})
    assert "Sign in with The company" in wrong.text
    assert browser.submit(Form(wrong.text), {"password": PASSWORD}).status_code == 303
