"""The admin REST API: who may call it, what it makes, changes and deletes, and that gateways hear of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from pyotp.totp import TOTP

from administrator import API, Administrator
from auth_server import CLIENT_ID, CLIENT_SECRET, EMAIL, Auth, answered, auth_with_bus, claims, header
from browser import Form
from isthmus import bus
from isthmus_mcp_gateway.policy import PolicyWatch
from isthmus_mcp_gateway.tokens import Claims, Verifier
from servers import TLS

PASSWORD = "a long password of ann's"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


def person(admin: Administrator, name: str, **changes: Any) -> str:
    """A new person; returns the id."""
    asked = {"email": f"{name}@example.com", "password": PASSWORD, **changes}
    return admin.done("POST", "/people", asked)["person"]["id"]


CALLS: list[tuple[str, str, Any]] = [
    ("GET", "/me", None),
    ("GET", "/people", None),
    ("POST", "/people", {"email": "x@example.com"}),
    ("GET", "/people/u_1", None),
    ("PATCH", "/people/u_1", {}),
    ("DELETE", "/people/u_1", None),
    ("GET", "/roles", None),
    ("GET", "/roles/everything", None),
    ("PUT", "/roles/x", {"name": "X"}),
    ("DELETE", "/roles/x", None),
    ("GET", "/services", None),
    ("POST", "/services", {"namespace": "x", "label": "X"}),
    ("GET", "/services/default", None),
    ("PATCH", "/services/default", {"label": "X"}),
    ("POST", "/services/default/secret", None),
    ("DELETE", "/services/default", None),
    ("GET", "/clients", None),
    ("POST", "/clients", {"name": "x"}),
    ("GET", "/clients/x", None),
    ("PATCH", "/clients/x", {}),
    ("DELETE", "/clients/x", None),
    ("POST", "/client-secrets/x", None),
    ("GET", "/view?account_id=x", None),
    ("GET", "/explain?account_id=x&source=db.x&action=read&object=y", None),
    ("DELETE", "/people/u_1/factors", None),
    ("GET", "/consents", None),
    ("DELETE", "/consents/x", None),
    ("GET", "/sessions", None),
    ("DELETE", "/sessions/x", None),
    ("GET", "/audit", None),
    ("GET", "/audit/export", None),
    ("GET", "/catalog", None),
    ("GET", "/catalog/db.x", None),
    ("GET", "/keys", None),
    ("POST", "/keys", {"name": "x", "scopes": ["data:read"]}),
    ("DELETE", "/keys/x", None),
    ("GET", "/providers", None),
    ("GET", "/providers/x", None),
    ("PUT", "/providers/x", {"label": "X", "issuer": "https://x.example", "client_id": "x", "client_secret": ""}),
    ("DELETE", "/providers/x", None),
    ("GET", "/signing-keys", None),
    ("POST", "/signing-keys", {}),
    ("DELETE", "/signing-keys/x", None),
]


def test_every_call_is_for_administrators_who_are_signed_in(auth: Auth, admin: Administrator) -> None:
    person(admin, "nobody")
    other = Administrator(auth, "nobody@example.com", PASSWORD)
    described = auth.get("/api/openapi.json").json()["paths"]
    offered = {
        (verb.upper(), path.removeprefix(API)) for path, verbs in described.items() for verb in verbs if API in path
    }
    assert len(offered) == len(CALLS)
    before = [admin.done("GET", path) for path in ("/people", "/roles", "/services")]
    for method, path, body in CALLS:
        with httpx2.Client(base_url=auth.url, verify=TLS) as stranger:
            answer = stranger.request(method, API + path, json=body)
            assert answer.status_code == (401 if method == "GET" else 403), (method, path)
        token = other.browser.http.cookies
        assert token
        assert other.call(method, path, body).status_code == 403, (method, path)
        if method != "GET":
            assert admin.call(method, path, body, **{"X-CSRF-Token": "0" * 64}).status_code == 403, (method, path)
            odd = {b"X-CSRF-Token": b"\xe9"}
            assert admin.browser.http.request(method, API + path, json=body, headers=odd).status_code == 403
    assert [admin.done("GET", path) for path in ("/people", "/roles", "/services")] == before


def test_a_person_is_made_changed_and_deleted(auth: Auth, admin: Administrator) -> None:
    made = admin.done(
        "POST", "/people", {"email": " Ann@Example.com ", "roles": ["everything"], "attributes": {"team": "a"}}
    )
    ann, password = made["person"], made["password"]
    assert (ann["email"], ann["roles"], ann["attributes"]) == ("ann@example.com", ["everything"], {"team": "a"})
    assert len(password) > 30
    signed_in = Administrator(auth, "ann@example.com", password)
    assert signed_in.token == ""
    path = f"/people/{ann['id']}"
    changed = admin.done("PATCH", path, {"roles": [], "attributes": {}, "is_admin": True})
    assert (changed["roles"], changed["attributes"], changed["is_admin"]) == ([], {}, True)
    assert admin.done("GET", path) == changed
    assert "another long" not in (listed := str(admin.done("GET", "/people")))
    assert "argon2" not in listed
    admin.done("PATCH", path, {"password": "another long password"})
    assert signed_in.browser.http.get(f"{API}/me").status_code == 401  # other sessions end with the password
    admin.done("DELETE", path)
    assert admin.refused("GET", path) == (404, "There is no person of that id.")


def test_people_are_listed_in_pages_and_searched(admin: Administrator) -> None:
    for number in range(3):
        person(admin, f"page{number}")
    found = admin.done("GET", "/people?search=page")["people"]
    assert [one["email"] for one in found] == [f"page{number}@example.com" for number in range(3)]
    rest = admin.done("GET", "/people?search=page&after=page0@example.com")
    assert ([one["email"] for one in rest["people"]], rest["next_after"]) == (
        ["page1@example.com", "page2@example.com"],
        None,
    )


def test_what_is_wrong_with_a_person_is_said(admin: Administrator) -> None:
    ben = person(admin, "ben")
    for body, sentence in (
        ({"email": "ben@example.com"}, "Somebody has that e-mail address already."),
        ({"email": "no address"}, "That is no e-mail address."),
        ({"email": "c@example.com", "password": "short"}, "password: Expected `str` of length >= 12."),
        ({"email": "c@example.com", "roles": ["none"]}, "There is no role none."),
        ({"email": "c@example.com", "attributes": {"Bad Name": "x"}}, "attributes"),
        ({"email": "c@example.com", "is_root": True}, "Object contains unknown field `is_root`"),
    ):
        assert sentence in admin.refused("POST", "/people", body)[1], body
    assert admin.refused("PATCH", f"/people/{ben}", {"email": EMAIL})[0] == 409


def test_nobody_changes_their_own_rights_and_one_administrator_remains(auth: Auth, admin: Administrator) -> None:
    own = f"/people/{admin.id}"
    for body in ({"roles": ["everything"]}, {"is_admin": True}, {"disabled": True}, {"attributes": {"team": "x"}}):
        assert admin.refused("PATCH", own, body)[0] == 403
    assert admin.refused("DELETE", own)[0] == 403
    other = person(admin, "second", is_admin=True)
    second = Administrator(auth, "second@example.com", PASSWORD)
    assert admin.done("PATCH", f"/people/{other}", {"disabled": True})["disabled"] is True
    assert second.call("PATCH", own, {"disabled": True}).status_code == 401
    assert admin.done("PATCH", f"/people/{other}", {"disabled": False})["disabled"] is False
    # Both try to be the only one at the same moment.
    second = Administrator(auth, "second@example.com", PASSWORD)
    second.done("PATCH", own, {"email": EMAIL})
    assert admin.done("DELETE", f"/people/{other}") is None


def test_a_role_is_made_changed_and_deleted(admin: Administrator) -> None:
    grants = [{"sources": ["db.sales"], "actions": ["read"], "objects": ["orders"], "hidden": ["salary"]}]
    made = admin.done("PUT", "/roles/readers", {"name": "Readers", "grants": grants})
    assert made["grants"] == grants
    ben = person(admin, "reader", roles=["readers"])
    assert admin.done("PUT", "/roles/readers", {"name": "Other", "grants": []})["name"] == "Other"
    assert "readers" in [role["id"] for role in admin.done("GET", "/roles")]
    admin.done("DELETE", "/roles/readers")
    assert admin.done("GET", f"/people/{ben}")["roles"] == []
    assert admin.refused("GET", "/roles/readers")[0] == 404


@pytest.mark.parametrize(
    ("role", "body", "sentence"),
    [
        ("everything", {"name": "x"}, "The role everything is what it is."),
        ("Bad", {"name": "x"}, "The id of a role"),
        ("r", {"name": ""}, "name: Expected `str` of length >= 1."),
        (
            "r",
            {"name": "x", "grants": [{"sources": ["**"], "actions": ["own"]}]},
            "grants[0]: there is no action 'own'",
        ),
        ("r", {"name": "x", "grants": [{"sources": [], "actions": ["read"]}]}, "grants[0]: sources, actions"),
        ("r", {"name": "x", "grants": [{"sources": ["**"], "actions": ["read"], "deny": []}]}, "unknown field"),
    ],
)
def test_what_is_wrong_with_a_role_is_said(admin: Administrator, role: str, body: Any, sentence: str) -> None:
    assert sentence in admin.refused("PUT", f"/roles/{role}", body)[1]
    assert role == "everything" or admin.refused("GET", f"/roles/{role}")[0] == 404


def test_a_service_has_an_endpoint_and_a_client_whose_secret_is_shown_once(auth: Auth, admin: Administrator) -> None:
    made = admin.done("POST", "/services", {"namespace": "sales", "label": "Sales", "sources": ["db.sales"]})
    service, secret = made["service"], made["client_secret"]
    assert service["mcp_endpoint"] == f"{auth.gateway}/mcp/sales"
    assert "https://chatgpt.com/connector_platform_oauth_redirect" in service["redirect_uris"]
    assert secret not in str(admin.done("GET", "/services"))
    request = auth.request(client_id=service["client_id"], resource=service["mcp_endpoint"])
    told = answered(admin.browser.submit(admin.browser.consent(request), {"decision": "allow"}))
    token = auth.exchange(told["code"], client_id=service["client_id"], client_secret=secret)
    assert claims(token.json()["access_token"])["service"] == "sales"
    rotated = admin.done("POST", "/services/sales/secret")["client_secret"]
    refresh = token.json()["refresh_token"]
    old = auth.refresh(refresh, client_id=service["client_id"], client_secret=secret)
    assert old.json()["error"] == "invalid_client"
    assert auth.refresh(refresh, client_id=service["client_id"], client_secret=rotated).status_code == 200
    changed = admin.done("PATCH", "/services/sales", {"label": "Sales only", "redirect_uris": ["https://a.example/cb"]})
    assert (changed["label"], changed["redirect_uris"]) == ("Sales only", ["https://a.example/cb"])
    admin.done("DELETE", "/services/sales")
    assert auth.get("/mcp-services/sales").status_code == 404
    gone = auth.refresh(refresh, client_id=service["client_id"], client_secret=rotated)
    assert gone.json()["error"] == "invalid_client"


def test_a_service_limits_scopes_and_says_how_long_tokens_are_valid(auth: Auth, admin: Administrator) -> None:
    asked = {"namespace": "brief", "label": "Brief", "scopes": ["data:read"], "access_lifetime": 120}
    made = admin.done("POST", "/services", {**asked, "refresh_lifetime": 3600})
    service = made["service"]
    own = {"client_id": service["client_id"], "client_secret": made["client_secret"]}
    request = auth.request(client_id=service["client_id"], resource=service["mcp_endpoint"])
    form = admin.browser.consent(request)
    assert [value for name, value in form.offered if name == "scope"] == ["data:read"]
    told = answered(admin.browser.submit(form, {"decision": "allow"}))
    answer = auth.exchange(told["code"], **own).json()
    assert (answer["expires_in"], answer["scope"]) == (120, "data:read")
    said = claims(answer["access_token"])
    assert said["exp"] - said["iat"] == 120
    refresh = auth.post("/introspect", {"token": answer["refresh_token"], **own}).json()
    assert 3590 <= refresh["exp"] - said["iat"] <= 3600
    admin.done("PATCH", "/services/brief", {"scopes": ["files:read"], "access_lifetime": 60})
    renewed = auth.refresh(answer["refresh_token"], **own).json()
    assert (renewed["expires_in"], renewed["scope"]) == (60, "")
    for body, sentence in (
        ({"scopes": ["data:all"]}, "There is no scope 'data:all'."),
        ({"access_lifetime": 10}, "access_lifetime"),
        ({"access_lifetime": 100_000}, "access_lifetime"),
        ({"refresh_lifetime": 10**9}, "refresh_lifetime"),
    ):
        assert sentence in admin.refused("PATCH", "/services/brief", body)[1]
    admin.done("DELETE", "/services/brief")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"namespace": "default", "label": "x"}, "There is an MCP service of that namespace already."),
        ({"namespace": "Sales", "label": "x"}, "namespace"),
        ({"namespace": "a-b", "label": "x"}, "namespace"),
        ({"namespace": "ok", "label": ""}, "label"),
        ({"namespace": "ok", "label": "x", "roles": ["none"]}, "There is no role none."),
        ({"namespace": "ok", "label": "x", "sources": []}, "sources"),
        ({"namespace": "ok", "label": "x", "redirect_uris": ["javascript:alert(1)"]}, "A redirect URI must"),
        ({"namespace": "ok", "label": "x", "secret": "mine"}, "unknown field"),
    ],
)
def test_what_is_wrong_with_a_service_is_said(admin: Administrator, body: Any, sentence: str) -> None:
    assert sentence in admin.refused("POST", "/services", body)[1]
    assert [one["namespace"] for one in admin.done("GET", "/services")] == ["default"]
    assert admin.refused("DELETE", "/services/default") == (409, "The default service cannot be deleted.")


@asynccontextmanager
async def watching(auth: Auth, gateways: int) -> AsyncGenerator[list[PolicyWatch]]:
    """What gateways know."""
    assert auth.nats is not None
    clients = [await bus.connect(auth.nats.settings("gateway"), "gateway") for _ in range(gateways)]
    watches = [PolicyWatch(client, lambda _: None) for client in clients]
    for watch in watches:
        watch.start()
        await asyncio.wait_for(watch.ready.wait(), 10)
    yield watches
    for watch, client in zip(watches, clients, strict=True):
        watch.stop()
        await client.close()


async def test_every_gateway_hears_of_a_change_within_a_second(auth: Auth, admin: Administrator) -> None:
    async with watching(auth, 2) as gateways:
        now = int(time.time())

        async def reads(who: str, expected: bool) -> None:
            claimed = Claims("i", who, "c", "a", now + 60, now, "j", "default", "data:read")
            async with asyncio.timeout(1):
                for gateway in gateways:
                    while gateway.current.granted(claimed, "db.sales").allows("read") is not expected:
                        await asyncio.sleep(0.005)

        grants = [{"sources": ["db.*"], "actions": ["read"]}]
        await asyncio.to_thread(admin.done, "PUT", "/roles/quick", {"name": "Quick", "grants": grants})
        who = await asyncio.to_thread(person, admin, "quick", roles=["quick"])
        await reads(who, True)
        await asyncio.to_thread(admin.done, "PATCH", f"/people/{who}", {"disabled": True})
        await reads(who, False)
        await asyncio.to_thread(admin.done, "PATCH", f"/people/{who}", {"disabled": False})
        await reads(who, True)
        await asyncio.to_thread(admin.done, "PUT", "/roles/quick", {"name": "Quick", "grants": []})
        await reads(who, False)
        await asyncio.to_thread(admin.done, "DELETE", f"/people/{who}")
        claimed = Claims("i", who, "c", "a", now + 60, now, "j", "default", "data:read")
        async with asyncio.timeout(1):
            while not all(gateway.current.is_revoked(claimed) for gateway in gateways):
                await asyncio.sleep(0.005)


def test_what_people_allowed_is_listed_and_ended(auth: Auth, admin: Administrator) -> None:
    token = auth.exchange(auth.code()).json()
    sid = claims(token["access_token"])["sid"]
    listed = {one["sid"]: one for one in admin.done("GET", f"/consents?account_id={admin.id}")["consents"]}
    assert (listed[sid]["owner"], listed[sid]["client_id"]) == (EMAIL, CLIENT_ID)
    assert sid in [one["sid"] for one in admin.done("GET", f"/consents?client_id={CLIENT_ID}")["consents"]]
    assert admin.done("GET", "/consents?client_id=nobody")["consents"] == []
    admin.done("DELETE", f"/consents/{sid}")
    assert auth.refresh(token["refresh_token"]).json()["error"] == "invalid_grant"
    assert admin.refused("DELETE", f"/consents/{sid}")[0] == 404
    assert sid not in str(admin.done("GET", "/consents"))


def test_who_has_lost_their_second_factor_is_helped_by_another_administrator(auth: Auth, admin: Administrator) -> None:
    who = person(admin, "lost")
    browser = Administrator(auth, "lost@example.com", PASSWORD).browser
    page = browser.submit(
        Form(browser.get("/account").text, "begin-totp"), {"action": "begin-totp", "password": PASSWORD}
    )
    secret = page.text.partition('class="secret">')[2].partition("<")[0]
    browser.submit(Form(page.text, "confirm-totp"), {"action": "confirm-totp", "code": TOTP(secret).now()})
    assert admin.done("GET", f"/people/{who}")["has_totp"] is True
    assert admin.done("DELETE", f"/people/{who}/factors")["has_totp"] is False
    assert browser.http.get("/account").status_code == 303
    assert Administrator(auth, "lost@example.com", PASSWORD).browser.http.get("/account").status_code == 200
    assert admin.refused("DELETE", f"/people/{admin.id}/factors")[0] == 403


def test_the_document_of_the_api_is_there(auth: Auth) -> None:
    described = auth.get("/api/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    assert f"{API}/people" in described["paths"]


async def test_the_signing_key_changes_while_no_token_is_refused(auth: Auth, admin: Administrator) -> None:
    async with watching(auth, 2) as gateways:
        own = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        (first,) = await asyncio.to_thread(admin.done, "GET", "/signing-keys")
        assert first["signs"]
        await asyncio.to_thread(admin.done, "POST", "/signing-keys", {"after": 1})
        seen: dict[str, str] = {}
        async with asyncio.timeout(10):
            while len(seen) < 2:
                token = (await asyncio.to_thread(auth.token, own)).json()["access_token"]
                seen[header(token)["kid"]] = token
                for gateway in gateways:
                    for known in seen.values():
                        verifier = Verifier(auth.url)
                        verifier.use_keys(gateway.current.keys)
                        assert verifier.verify(known)
        assert next(iter(seen)) == first["kid"]
        assert [key["signs"] for key in await asyncio.to_thread(admin.done, "GET", "/signing-keys")] == [False, True]
        await asyncio.to_thread(admin.done, "DELETE", f"/signing-keys/{first['kid']}")
        async with asyncio.timeout(1):
            while any(first["kid"] in str(g.current.keys.as_dict()) for g in gateways if g.current.keys):
                await asyncio.sleep(0.005)
        assert (await asyncio.to_thread(admin.refused, "DELETE", f"/signing-keys/{first['kid']}"))[0] == 404
        assert len(auth.get("/jwks").json()["keys"]) == 1
