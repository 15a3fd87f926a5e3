"""Clients, API keys, connected apps, providers and signing keys in the console, without JavaScript."""

import re
from collections.abc import Generator
from urllib.parse import quote

import pytest

from auth_server import CLIENT_ID, REDIRECT, Auth, auth_with_bus
from console import Boxes, Console, shown

SECRET = re.compile(r'data-copy="((?:isk_)?[A-Za-z0-9_-]{43})"')


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def console(auth: Auth) -> Console:
    return Console(auth)


def test_a_client_that_acts_for_itself_is_set_up_changed_and_ended(auth: Auth, console: Console) -> None:
    page = console.done(
        "/admin/new-client",
        "/admin/new-client",
        {"grant_types": ["client_credentials"], "roles": ["everything"]},
        name="Nightly report",
        attributes="region = north",
    )
    secret = SECRET.findall(page)[0]
    client = re.findall(r'data-copy="(s_[A-Za-z0-9_-]+)"', page)[0]
    own = {"grant_type": "client_credentials", "client_id": client}
    assert auth.token({**own, "client_secret": secret}).status_code == 200

    at = f"/admin/client?client_id={client}"
    page = console.done(at, at, {"roles": [], "disabled": ["yes"]}, name="Renamed", action="save")
    assert "Your changes are saved." in page
    assert ">Renamed" in page
    assert auth.token({**own, "client_secret": secret}).status_code == 400
    page = console.done(at, at, {"disabled": []}, action="save")
    again = SECRET.findall(console.done(at, at, action="rotate"))[0]
    assert again != secret
    assert auth.token({**own, "client_secret": again}).status_code == 200
    assert "It is deleted." in console.done(at, at, action="delete")
    assert auth.token({**own, "client_secret": again}).status_code == 401


def test_a_client_that_cannot_be_is_refused_with_a_sentence(console: Console) -> None:
    at = "/admin/new-client"
    cases: list[tuple[Boxes, dict[str, str], str]] = [
        ({"grant_types": ["client_credentials"]}, {"method": "none"}, "A client that proves nothing of itself"),
        ({"grant_types": ["authorization_code"]}, {"redirect_uris": "http://evil.example/"}, "http"),
        ({"grant_types": ["authorization_code"], "roles": ["everything"]}, {}, "Roles and attributes are for clients"),
    ]
    for boxes, fields, said in cases:
        status, sentence = console.refused(at, at, boxes, name="Odd", **fields)
        assert status == 400
        assert said in sentence


def test_clients_whose_ids_are_addresses_or_that_registered_themselves_are_shown(auth: Auth, console: Console) -> None:
    client = auth.register(client_name='<b>"Bold"</b> app')
    page = console.get("/admin/clients?search=bold")
    assert client["client_id"] in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    page = console.get(f"/admin/client?client_id={quote(client['client_id'])}")
    assert "registering itself" in page
    assert "Settings" not in shown(page)


def test_a_key_is_made_shown_this_once_and_ended(console: Console) -> None:
    page = console.done(
        "/admin/new-key", "/admin/new-key", {"scopes": ["data:read", "files:read"]}, name="Report", days="30"
    )
    secret = SECRET.findall(page)[0]
    assert secret.startswith("isk_")
    assert secret not in console.get("/admin/keys")
    page = console.get("/admin/keys?search=report")
    key = re.findall(r'name="key" value="(k_[A-Za-z0-9_-]+)"', page)[0]
    assert "data:read, files:read" in page
    assert "No key has “nothing”" in console.get("/admin/keys?search=nothing")
    answer = console.send("/admin/keys?search=report", "/admin/keys", key=key)
    assert answer.status_code == 303
    assert "There are no API keys here." in console.get("/admin/keys")
    cases: list[tuple[Boxes, dict[str, str], str]] = [
        ({"scopes": []}, {"name": "None"}, "Scopes must not be empty."),
        ({"scopes": ["data:read"]}, {"name": ""}, "Name must not be empty."),
        ({"scopes": ["data:read"]}, {"name": "Whose", "account_id": "u_nobody"}, "There is no account of that id."),
    ]
    for boxes, fields, said in cases:
        assert said in console.refused("/admin/new-key", "/admin/new-key", boxes, **fields)[1]


def test_what_somebody_allowed_is_ended_in_the_console(auth: Auth, console: Console) -> None:
    tokens = auth.exchange(auth.code(redirect_uri=REDIRECT)).json()
    page = console.get(f"/admin/apps?search={CLIENT_ID}")
    sid = re.findall(r'name="sid" value="([^"]+)"', page)
    assert len(sid) == 1
    page = console.done("/admin/apps", "/admin/apps", sid=sid[0])
    assert "It is ended" in page
    assert "No app is connected yet." in page
    assert auth.refresh(tokens["refresh_token"]).status_code == 400


def test_a_provider_is_added_changed_and_deleted(console: Console) -> None:
    at = "/admin/new-provider"
    fields = {"name": "company", "label": "Company", "issuer": "https://login.example.com", "client_id": "isthmus"}
    page = console.done(at, at, **fields, client_secret="their secret", roles="groups = sales → everything")
    assert "It is made." in page
    assert "/sign-in/with/company/callback" in page
    assert "groups = sales → everything" in page
    assert "their secret" not in page
    at = "/admin/providers/company"
    page = console.done(at, at, {"create_people": ["yes"]}, label="Our company", roles="", action="save")
    assert "Your changes are saved." in page
    assert 'name="create_people" value="yes" checked' in page
    assert "Our company" in console.get("/admin/providers")
    assert "A rule looks like" in console.refused(at, at, roles="groups sales", action="save")[1]
    assert console.refused("/admin/new-provider", "/admin/new-provider", **fields)[0] == 409
    assert "It is deleted." in console.done(at, at, action="delete")


def test_the_next_signing_key_is_made_and_one_is_ended(auth: Auth, console: Console) -> None:
    before = re.findall(r'name="end" value="([^"]+)"', console.get("/admin/providers"))
    page = console.get("/admin/providers")
    forms = [at for at in re.findall(r'<form method="post" action="([^"]+)"', page) if at == "/admin/signing-keys"]
    assert len(forms) == len(before) + 1
    made = console.browser.http.post(
        "/admin/signing-keys",
        data={"csrf_token": re.findall(r'name="csrf_token" value="([0-9a-f]+)"', page)[0]},
        headers={"Origin": auth.url},
    )
    assert made.status_code == 303
    after = re.findall(r'name="end" value="([^"]+)"', console.get("/admin/providers"))
    assert len(after) == len(before) + 1
    assert console.send("/admin/providers", "/admin/signing-keys", end=after[-1]).status_code == 303
    assert re.findall(r'name="end" value="([^"]+)"', console.get("/admin/providers")) == before
