"""Revocation (RFC 7009) and introspection (RFC 7662)."""

from collections.abc import Generator
from typing import Any

import pytest

from auth_server import CLIENT_ID, CLIENT_SECRET, REDIRECT, VERIFIER, Auth, auth_with_bus, claims
from isthmus import bus, policy

OWN = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


def tokens(auth: Auth) -> dict[str, Any]:
    return auth.exchange(auth.code()).json()


def of_another_client(auth: Auth) -> tuple[dict[str, str], dict[str, Any]]:
    """A public client, and tokens of it."""
    client = {"client_id": auth.register()["client_id"]}
    code = auth.code(**client)
    answer = auth.token(
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
            **client,
        }
    )
    return client, answer.json()


def active(auth: Auth, token: str) -> bool:
    answer = auth.post("/introspect", {"token": token, **OWN})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()["active"]


def test_a_revoked_refresh_token_ends_all_of_its_authorization(auth: Auth) -> None:
    token = tokens(auth)
    assert active(auth, token["access_token"])
    assert active(auth, token["refresh_token"])
    assert auth.post("/revoke", {"token": token["refresh_token"], **OWN}).status_code == 200
    assert not active(auth, token["refresh_token"])
    assert not active(auth, token["access_token"])
    assert auth.refresh(token["refresh_token"]).json()["error"] == "invalid_grant"


async def test_a_revoked_access_token_is_void_alone_and_gateways_hear_of_it(auth: Auth) -> None:
    token = tokens(auth)
    answer = auth.post(
        "/revoke", {"token": token["access_token"], "token_type_hint": "access_token"}, auth=tuple(OWN.values())
    )
    assert answer.status_code == 200
    assert not active(auth, token["access_token"])
    assert active(auth, token["refresh_token"])
    assert auth.nats is not None
    client = await bus.connect(auth.nats.settings("gateway"), "gateway")
    store = await client.jetstream().key_value(policy.BUCKET)
    claimed = claims(token["access_token"])
    entry = await store.get(policy.key("revoked", "token", claimed["jti"]))
    assert entry.value == b'{"before":%d}' % (claimed["iat"] + 1)
    await client.close()


def test_a_client_ends_no_tokens_but_its_own_and_is_not_told_whether_there_are_others(auth: Auth) -> None:
    own, (other, others) = tokens(auth), of_another_client(auth)
    for client, foreign in ((OWN, others), (other, own)):
        for kind in ("access_token", "refresh_token"):
            answer = auth.post("/revoke", {"token": foreign[kind], **client})
            assert (answer.status_code, answer.text) == (200, "{}")
    assert auth.post("/revoke", {"token": "unknown", **OWN}).text == "{}"
    assert active(auth, own["access_token"])
    assert (
        auth.token({"grant_type": "refresh_token", "refresh_token": others["refresh_token"], **other}).status_code
        == 200
    )


def test_a_client_must_say_who_it_is(auth: Auth) -> None:
    token = tokens(auth)["access_token"]
    public = {"client_id": auth.register()["client_id"]}
    wrong = {**OWN, "client_secret": "wrong"}
    nobody: dict[str, str] = {}
    for path, others in (("/revoke", [{"client_id": "x"}]), ("/introspect", [public])):
        for client in (nobody, wrong, *others):
            answer = auth.post(path, {"token": token, **client})
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert auth.post(path, {**OWN}).json()["error"] == "invalid_request"
    assert active(auth, token)


def test_introspection_tells_what_a_token_is_worth(auth: Auth) -> None:
    token = tokens(auth)
    described = auth.post("/introspect", {"token": token["access_token"], **OWN}).json()
    claimed = claims(token["access_token"])
    for name in ("scope", "client_id", "sub", "aud", "iss", "jti", "iat", "exp"):
        assert described[name] == claimed[name]
    assert (described["active"], described["token_type"]) == (True, "Bearer")
    refresh = auth.post("/introspect", {"token": token["refresh_token"], **OWN}).json()
    assert (refresh["client_id"], refresh["scope"]) == (CLIENT_ID, "data:read data:write")


@pytest.mark.parametrize("cut", ["", "x", "a.b.c"])
def test_what_is_no_token_is_not_active(auth: Auth, cut: str) -> None:
    token = tokens(auth)["access_token"]
    head, body, signature = token.split(".")
    for broken in (cut or "0", f"{head}.{body}.{signature[::-1]}", f"{head}.{body}.", f"{body}.{head}.{signature}"):
        assert not active(auth, broken)


def test_a_service_may_ask_about_tokens_for_itself_and_others_may_not(auth: Auth) -> None:
    _, others = of_another_client(auth)
    assert active(auth, others["access_token"])  # the test's client is that of the default service
    assert not active(auth, others["refresh_token"])
    stranger = auth.register(token_endpoint_auth_method="client_secret_post")
    asked = {"client_id": stranger["client_id"], "client_secret": stranger["client_secret"]}
    assert auth.post("/introspect", {"token": others["access_token"], **asked}).json() == {"active": False}


def test_the_metadata_names_the_endpoints(auth: Auth) -> None:
    described = auth.get("/.well-known/oauth-authorization-server").json()
    assert described["revocation_endpoint"] == f"{auth.url}/revoke"
    assert described["introspection_endpoint"] == f"{auth.url}/introspect"
    assert "none" not in described["introspection_endpoint_auth_methods_supported"]
