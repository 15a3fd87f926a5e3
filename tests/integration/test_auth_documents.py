"""Clients that describe themselves in a document at their own address, and documents that are traps."""

import ipaddress
import socket
import sqlite3
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_server import VERIFIER, Auth, Browser, answered, auth_with_bus
from isthmus_auth import client_documents, fetching
from isthmus_auth.client_documents import is_document
from isthmus_auth.fetching import LARGEST, Unfetchable, fetch, is_public
from sites import Site, serving


@pytest.fixture(scope="module")
def site() -> Generator[Site]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth"), allow_local_clients=True) as server:
        yield server


@pytest.fixture(scope="module")
def browser(auth: Auth) -> Browser:
    """Somebody who is signed in."""
    browser = Browser(auth)
    browser.sign_in()
    return browser


def asks(auth: Auth, client_id: str, **changes: str) -> str:
    request = auth.request(client_id=client_id, redirect_uri="http://127.0.0.1:4711/callback", **changes)
    return f"/authorize?{urlencode(request)}"


def test_a_client_is_known_by_the_document_at_its_address(auth: Auth, site: Site) -> None:
    client_id = site.describe("/app/client.json")
    browser = Browser(auth)
    request = auth.request(client_id=client_id, redirect_uri="http://127.0.0.1:4711/callback")
    form = browser.consent(request)
    page = browser.get(f"/authorize?{urlencode(request)}").text
    assert "An app of a site" in page
    assert "This is how <strong>127.0.0.1</strong> describes the app." in page
    assert "Any program on this computer can claim to be this app." in page
    told = answered(browser.submit(form, {"decision": "allow"}))
    exchange = {
        "grant_type": "authorization_code",
        "code": told["code"],
        "redirect_uri": request["redirect_uri"],
        "code_verifier": VERIFIER,
        "client_id": client_id,
    }
    token = auth.token(exchange)
    assert token.status_code == 200, token.text
    refreshed = auth.token(
        {"grant_type": "refresh_token", "refresh_token": token.json()["refresh_token"], "client_id": client_id}
    )
    assert refreshed.status_code == 200
    assert site.visits.count("/app/client.json") == 1
    assert auth.get("/.well-known/oauth-authorization-server").json()["client_id_metadata_document_supported"] is True


def test_nobody_makes_the_server_fetch_anything_without_signing_in(auth: Auth, site: Site) -> None:
    client_id = site.describe("/unseen.json")
    for changes in ({}, {"prompt": "none"}):
        answer = Browser(auth).http.get(asks(auth, client_id, **changes))
        assert "/sign-in" in answer.headers["location"]
    assert auth.token({"grant_type": "refresh_token", "refresh_token": "x", "client_id": client_id}).status_code == 401
    assert "/unseen.json" not in site.visits


def test_a_document_is_fetched_again_when_it_is_no_longer_fresh(
    auth: Auth, site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_documents, "SHORTEST", 0)
    client_id = site.describe("/changing.json", headers={"Cache-Control": "no-store"})
    assert browser.http.get(asks(auth, client_id)).status_code == 200
    site.describe("/changing.json", redirect_uris=["https://elsewhere.example/callback"])
    answer = browser.http.get(asks(auth, client_id))
    assert answer.status_code == 400
    assert "not registered for this client" in answer.text
    assert site.visits.count("/changing.json") == 2


DOCUMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("other", {"client_id": "https://bank.example/client.json"}, "it describes another client"),
    ("slash", {"client_id": "CLIENT/"}, "it describes another client"),
    ("secret", {"client_secret": "s"}, "it holds a secret"),
    ("basic", {"token_endpoint_auth_method": "client_secret_basic"}, "it allows neither of the methods none and"),
    ("key", {"token_endpoint_auth_method": "private_key_jwt"}, "its keys are no good (jwks must be a JWK set"),
    ("script", {"redirect_uris": ["javascript:alert(1)"]}, "it names an address that is no good"),
    ("none", {"redirect_uris": []}, "it does not describe a client"),
    ("credentials", {"grant_types": ["client_credentials"]}, "it does not use authorization codes"),
    ("implicit", {"response_types": ["token"]}, "it does not use authorization codes"),
    ("type", {"redirect_uris": "https://a.example/"}, "it does not describe a client"),
]


@pytest.mark.parametrize(("name", "changes", "why"), DOCUMENTS)
def test_a_document_that_is_not_the_clients_own_is_refused(
    auth: Auth, site: Site, browser: Browser, name: str, changes: dict[str, Any], why: str
) -> None:
    path = f"/bad/{name}.json"
    if changes.get("client_id") == "CLIENT/":
        changes = {"client_id": site.url(path) + "/"}
    answer = browser.http.get(asks(auth, site.describe(path, **changes)))
    assert answer.status_code == 400
    assert why in answer.text
    assert "location" not in answer.headers


def test_a_list_of_methods_may_hold_none(auth: Auth, site: Site, browser: Browser) -> None:
    methods = ["private_key_jwt", "none"]
    client_id = site.describe(
        "/methods.json", token_endpoint_auth_method=None, token_endpoint_auth_methods_supported=methods
    )
    assert browser.http.get(asks(auth, client_id)).status_code == 200


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


TRAPS: list[tuple[str, Any, str]] = [
    ("gone", (404, {}, ""), "it answered with status 404"),
    ("moved", (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, ""), "it answered with status 302"),
    ("page", (200, {"Content-Type": "text/html"}, "<p>"), "it is not JSON"),
    ("words", (200, {"Content-Type": "application/json"}, "not json"), "it does not describe a client"),
    ("deep", (200, {"Content-Type": "application/json"}, "[" * 60_000), "it does not describe a client"),
    ("huge", (200, {"Content-Type": "application/json"}, " " * (LARGEST + 1)), "it is too large"),
    ("slow", slowly, "it did not answer in time"),
]


@pytest.mark.parametrize(("name", "trap", "why"), TRAPS)
def test_a_trap_at_the_address_is_left_alone(
    auth: Auth, site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch, name: str, trap: Any, why: str
) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 1.0)
    path = f"/trap/{name}.json"
    site.answers[path] = trap
    for _ in range(2):
        answer = browser.http.get(asks(auth, site.url(path)))
        assert answer.status_code == 400
        assert f"What 127.0.0.1 says of this app cannot be used: {why}" in answer.text
    assert site.visits.count(path) == 1  # a failure is remembered for a moment


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "[::1]", "localhost", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",  # noqa: S104  (not to bind)
        "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fc00::1]",
        "[ff02::1]", "[::]", "100.64.0.1", "224.0.0.1", "255.255.255.255", "127.1", "2130706433", "0x7f.1",
    ],
)  # fmt: skip
async def test_no_document_is_fetched_from_inside(site: Site, host: str) -> None:
    before = len(site.visits)
    with pytest.raises(Unfetchable, match=r"not one of the public internet|cannot be reached"):
        await fetch(f"http://{host}:{site.port}/app/client.json")
    assert len(site.visits) == before


async def test_a_name_that_changes_its_mind_leads_nowhere_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def fickle(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != "fickle.example":
            return look_up(host, port, *arguments, **options)
        asked.append(host)
        return look_up("203.0.114.1" if len(asked) == 1 else "127.0.0.1", port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fickle)
    monkeypatch.setattr(fetching, "SECONDS", 0.5)
    before = len(site.visits)
    with pytest.raises(Unfetchable, match=r"did not answer in time|cannot be reached"):
        await fetch(f"http://fickle.example:{site.port}/app/client.json")
    assert asked == ["fickle.example"]
    assert len(site.visits) == before


async def test_a_name_with_one_address_inside_is_not_visited_at_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(host: Any, port: int, *_: Any, **__: Any) -> Any:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("203.0.114.1", port)), (*kind, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(Unfetchable, match="not one of the public internet"):
        await fetch(f"http://both.example:{site.port}/app/client.json")


@given(st.ip_addresses(v=4))
def test_an_address_is_as_public_as_the_one_it_wraps(inner: ipaddress.IPv4Address) -> None:
    for wrapped in (f"::ffff:{inner}", f"64:ff9b::{inner}"):
        assert is_public(ipaddress.ip_address(wrapped)) == is_public(inner)
    packed = inner.packed.hex()
    assert is_public(ipaddress.ip_address(f"2002:{packed[:4]}:{packed[4:]}::")) == is_public(inner)


@pytest.mark.parametrize(
    ("client_id", "is_one"),
    [
        ("https://app.example/client.json", True),
        ("https://app.example:8443/a/b?c=d", True),
        ("https://app.example", False),
        ("https://app.example/", False),
        ("http://app.example/client.json", False),
        ("https://user@app.example/client.json", False),
        ("https://app.example/a/../client.json", False),
        ("https://app.example/./client.json", False),
        ("https://app.example/a/%2e%2E/client.json", False),
        ("https://app.example:0/client.json", False),
        ("https://app.example/client.json#", False),
        ("https://app.example/client.json#x", False),
        ("https://app.example\\@evil.example/client.json", False),
        ("https:///client.json", False),
        ("https://app.example/" + "a" * 300, False),
        ("https://app.example/\u2028", False),
        ("c_registered", False),
        ("file:///etc/passwd", False),
        ("http://127.0.0.1/client.json", False),
    ],
)
def test_what_can_be_the_address_of_a_document(client_id: str, is_one: bool) -> None:
    assert is_document(client_id, local=False) is is_one


def test_documents_on_this_machine_take_a_setting(tmp_path: Path, site: Site) -> None:
    auth = Auth(tmp_path / "auth")
    with auth.running():
        browser = Browser(auth)
        browser.sign_in()
        answer = browser.http.get(asks(auth, site.describe("/local.json")))
        assert (answer.status_code, "location" in answer.headers) == (400, False)
    assert "/local.json" not in site.visits


def test_an_address_that_registers_very_many_clients_is_told_to_wait(tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth")
    with auth.running():
        body = {"redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback", "https://a.example/"]}
        answers = [auth.post("/register", json=body) for _ in range(101)]
    assert {answer.status_code for answer in answers[:100]} == {201}
    assert answers[100].status_code == 429
    assert len({answer.json()["client_id"] for answer in answers[:100]}) == 100


def test_clients_that_nobody_uses_go_after_a_month(tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth")
    with auth.running():
        used = auth.register()["client_id"]
        auth.code(client_id=used)
        unused = [auth.register()["client_id"], *(register_confidential(auth) for _ in range(2))]
        young = auth.register()["client_id"]
    with sqlite3.connect(auth.database) as database:
        old = "update clients set created_at = created_at - 31 * 24 * 3600 where client_id != ?"
        database.execute(old, (young,))
        database.execute("insert into account_roles values (?, 'everything')", (unused[2],))
    with auth.running(), sqlite3.connect(auth.database) as database:
        left = {row[0] for row in database.execute("select client_id from clients")}
        accounts = {row[0] for row in database.execute("select id from accounts")}
    assert {used, young, unused[2], "isthmus-test", "isthmus-cli", "isthmus-console"} == left
    assert unused[1] not in accounts
    assert unused[2] in accounts


def register_confidential(auth: Auth) -> str:
    """A client that may act for itself, once somebody gives it a role."""
    asked = {"token_endpoint_auth_method": "client_secret_post", "grant_types": ["client_credentials"]}
    return auth.register(redirect_uris=[], **asked)["client_id"]
