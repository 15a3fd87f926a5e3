"""Clients that administrators set up, and tokens exchanged for narrower ones (RFC 8693)."""

import time
from collections.abc import Generator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from administrator import Administrator
from auth_server import CLIENT_ID, CLIENT_SECRET, VERIFIER, Auth, answered, auth_with_bus, claims

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


def made(admin: Administrator, **asked: Any) -> dict[str, str]:
    """A client that was set up, with its credentials as they are sent."""
    answer = admin.done("POST", "/clients", {"name": "A client", **asked})
    own = {"client_id": answer["client"]["client_id"]}
    return {**own, "client_secret": answer["client_secret"]} if "client_secret" in answer else own


def test_a_client_is_set_up_changed_found_and_ended(auth: Auth, admin: Administrator) -> None:
    own = made(admin, name="Robot", grant_types=["client_credentials"], roles=["everything"], attributes={"team": "a"})
    path = f"/clients/{own['client_id']}"
    info = admin.done("GET", path)
    assert (info["origin"], info["method"], info["roles"], info["attributes"]) == (
        "administrator",
        "secret",
        ["everything"],
        {"team": "a"},
    )
    ask = {"grant_type": "client_credentials", **own}
    token = auth.token(ask).json()["access_token"]
    assert claims(token)["sub"] == own["client_id"]
    changed = admin.done("PATCH", path, {"name": "Robot two", "roles": [], "disabled": True})
    assert (changed["name"], changed["roles"], changed["disabled"]) == ("Robot two", [], True)
    assert auth.token(ask).json()["error"] == "unauthorized_client"
    admin.done("PATCH", path, {"disabled": False})
    rotated = admin.done("POST", f"/client-secrets/{own['client_id']}")["client_secret"]
    assert auth.token(ask).json()["error"] == "invalid_client"
    assert auth.token({**ask, "client_secret": rotated}).status_code == 200
    assert [one["name"] for one in admin.done("GET", "/clients?search=robot%20TWO")["clients"]] == ["Robot two"]
    admin.done("DELETE", path)
    assert auth.token({**ask, "client_secret": rotated}).json()["error"] == "invalid_client"
    assert admin.refused("GET", path) == (404, "There is no client of that id.")


def test_the_clients_that_are_set_up_for_a_service_are_not_its_own(admin: Administrator) -> None:
    own = admin.done("POST", "/services", {"namespace": "several", "label": "Several"})["service"]["client_id"]
    second = made(admin, namespace="several")["client_id"]
    assert admin.done("GET", "/services/several")["client_id"] == own
    assert admin.done("POST", "/services/several/secret")["service"]["client_id"] == own
    assert admin.refused("DELETE", f"/clients/{own}")[0] == 409
    admin.done("DELETE", f"/clients/{second}")
    admin.done("DELETE", "/services/several")


def test_a_client_acts_for_people_as_it_was_set_up(auth: Auth, admin: Administrator) -> None:
    own = made(admin, redirect_uris=["https://app.example/cb"], method="none")
    request = auth.request(client_id=own["client_id"], redirect_uri="https://app.example/cb")
    told = answered(admin.browser.submit(admin.browser.consent(request), {"decision": "allow"}))
    sent = {"grant_type": "authorization_code", "redirect_uri": "https://app.example/cb", "code_verifier": VERIFIER}
    token = auth.token({**sent, "code": told["code"], **own}).json()
    assert claims(token["access_token"])["client_id"] == own["client_id"]
    admin.done("DELETE", f"/clients/{own['client_id']}")
    asked = {"token": token["access_token"], "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert auth.post("/introspect", asked).json() == {"active": False}


def test_clients_of_every_origin_are_listed(auth: Auth, admin: Administrator) -> None:
    registered = auth.register()["client_id"]
    listed = {one["client_id"]: one["origin"] for one in admin.done("GET", "/clients")["clients"]}
    assert (listed[CLIENT_ID], listed["isthmus-cli"], listed[registered]) == (
        "service",
        "command line",
        "registration",
    )
    assert admin.refused("PATCH", f"/clients/{registered}", {"name": "Mine"})[0] == 409
    assert admin.refused("DELETE", f"/clients/{CLIENT_ID}")[0] == 409
    assert admin.refused("DELETE", "/clients/isthmus-cli")[0] == 409
    assert admin.refused("POST", f"/client-secrets/{registered}") == (409, "This client has no secret.")
    admin.done("DELETE", f"/clients/{registered}")
    said = "The roles of this client follow ISTHMUS_CLIENT_ROLES; set up a client of its own instead."
    assert admin.refused("PATCH", f"/clients/{CLIENT_ID}", {"roles": []}) == (409, said)
    assert admin.refused("GET", "/clients/https://app.example/client.json")[0] == 404


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"grant_types": ["password"]}, "There is no grant type 'password'"),
        ({"method": "none", "grant_types": ["client_credentials"]}, "A client that proves nothing of itself"),
        ({"namespace": "nowhere"}, "There is no MCP service of that namespace."),
        ({"roles": ["everything"]}, "Roles and attributes are for clients that act for themselves"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "A redirect URI must"),
        ({"method": "private_key_jwt"}, "needs either jwks or jwks_uri"),
        ({"method": "private_key_jwt", "jwks_uri": "http://a.example/keys"}, "jwks_uri must be https."),
        ({"method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "x"}]}}, "jwks holds a secret"),
        ({"jwks": {"keys": []}}, "Keys are for the method private_key_jwt."),
    ],
)
def test_what_is_wrong_with_a_client_is_said(admin: Administrator, asked: dict[str, Any], sentence: str) -> None:
    assert sentence in admin.refused("POST", "/clients", {"name": "x", **asked})[1]


def test_a_client_with_a_key_is_set_up(auth: Auth, admin: Administrator) -> None:
    key = ECKey.generate_key("P-256")
    keys = {"keys": [key.as_dict(private=False)]}
    own = made(admin, method="private_key_jwt", jwks=keys, grant_types=["client_credentials"])
    now = int(time.time())
    said = {"iss": own["client_id"], "sub": own["client_id"], "aud": auth.url, "jti": "1", "exp": now + 60}
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": "ES256"}, said, key),
    }
    assert auth.token({"grant_type": "client_credentials", **proof}).status_code == 200


def exchange(auth: Auth, own: dict[str, str], token: str, **changes: str) -> dict[str, Any]:
    sent = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN, **own, **changes}
    return auth.token({name: value for name, value in sent.items() if value}).json()


def test_a_token_is_exchanged_for_one_of_fewer_scopes_that_ends_with_the_first(
    auth: Auth, admin: Administrator
) -> None:
    own = made(admin, namespace="default", grant_types=[EXCHANGE])
    first = auth.exchange(auth.code()).json()
    said = claims(first["access_token"])
    answer = exchange(auth, own, first["access_token"], scope="data:read")
    new = claims(answer["access_token"])
    assert (answer["issued_token_type"], answer["scope"], "refresh_token" in answer) == (
        ACCESS_TOKEN,
        "data:read",
        False,
    )
    assert (new["sub"], new["sid"], new["aud"], new["service"]) == (
        said["sub"],
        said["sid"],
        said["aud"],
        said["service"],
    )
    assert (new["client_id"], new["act"], new["exp"] <= said["exp"]) == (
        own["client_id"],
        {"sub": own["client_id"]},
        True,
    )
    asked = {"token": answer["access_token"], **own}
    assert auth.post("/introspect", asked).json()["active"] is True
    assert exchange(auth, own, answer["access_token"], scope="data:read data:write")["error"] == "invalid_scope"
    auth.post("/revoke", {"token": first["refresh_token"], "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET})
    assert auth.post("/introspect", asked).json() == {"active": False}
    assert exchange(auth, own, first["access_token"])["error"] == "invalid_request"


def test_only_a_token_that_was_meant_for_the_client_is_exchanged(auth: Auth, admin: Administrator) -> None:
    stranger = made(admin, grant_types=[EXCHANGE])
    other = admin.done("POST", "/services", {"namespace": "other", "label": "Other"})["service"]
    elsewhere = made(admin, namespace="other", grant_types=[EXCHANGE])
    token = auth.exchange(auth.code()).json()["access_token"]
    for own in (stranger, elsewhere):
        refused = exchange(auth, own, token)
        assert refused["error_description"] == "The subject_token is not valid, or not meant for this client."
    own = made(admin, namespace="default", grant_types=[EXCHANGE])
    for changes, error in (
        ({"subject_token": "none"}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": token}, "invalid_request"),
        ({"scope": "files:write"}, "invalid_scope"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"resource": other["mcp_endpoint"]}, "invalid_target"),
        ({"resource": "https://evil.example"}, "invalid_target"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
    ):
        assert exchange(auth, own, token, **changes)["error"] == error, changes
    plain = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert exchange(auth, plain, token)["error"] == "unauthorized_client"
    public = auth.register(grant_types=[EXCHANGE, "authorization_code"])
    assert public["grant_types"] == ["authorization_code"]
    admin.done("DELETE", "/services/other")


def test_the_token_of_a_disabled_account_is_not_exchanged(auth: Auth, admin: Administrator) -> None:
    own = made(admin, namespace="default", grant_types=[EXCHANGE, "client_credentials"])
    first = auth.token({"grant_type": "client_credentials", **own}).json()["access_token"]
    assert "act" not in claims(exchange(auth, own, first)["access_token"])
    admin.done("PATCH", f"/clients/{own['client_id']}", {"disabled": True})
    assert exchange(auth, own, first)["error"] == "invalid_request"
