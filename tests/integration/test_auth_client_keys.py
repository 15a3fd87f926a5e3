"""Clients that prove who they are with a key of their own (`private_key_jwt`), and those who only pretend."""

import base64
import hmac
import json
import time
from collections.abc import Generator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from mcp.client.auth.extensions.client_credentials import SignedJWTParameters

from auth_server import CLIENT_ID, REDIRECT, VERIFIER, Auth, Browser, auth_with_bus, claims
from sites import Site, serving

KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = ECKey.generate_key("P-256", {"kid": "one"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OTHER = ECKey.generate_key("P-256", {"kid": "one"})


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth"), allow_local_clients=True) as server:
        yield server


@pytest.fixture(scope="module")
def site() -> Generator[Site]:
    with serving() as one:
        yield one


def public(*keys: Any) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


@pytest.fixture(scope="module")
def client(auth: Auth) -> str:
    """A client with two keys, which may act for itself."""
    made = auth.register(
        token_endpoint_auth_method="private_key_jwt",
        grant_types=["client_credentials", "authorization_code", "refresh_token"],
        jwks=public(KEY, RSA),
    )
    assert "client_secret" not in made
    assert [key["kid"] for key in made["jwks"]["keys"]] == ["one", "rsa"]
    return made["client_id"]


def assertion(auth: Auth, client: str, key: Any = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    now = int(time.time())
    said = {"iss": client, "sub": client, "aud": auth.url, "jti": str(uuid4()), "iat": now, "exp": now + 60, **changes}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(
        {"alg": "ES256", "kid": "one", **(header or {})}, said, key, algorithms=["ES256", "RS256", "HS256"]
    )


def proof(signed: str) -> dict[str, str]:
    return {"client_assertion_type": KIND, "client_assertion": signed}


def error(auth: Auth, signed: str, **more: str) -> str:
    answer = auth.token({"grant_type": "client_credentials", **proof(signed), **more})
    assert answer.status_code == 401, answer.text
    assert answer.json()["error_description"] == "The client is unknown, or its credentials are wrong."
    return answer.json()["error"]


def test_a_client_with_a_key_acts_for_itself_and_for_people(auth: Auth, client: str) -> None:
    for signed in (assertion(auth, client), assertion(auth, client, RSA, {"alg": "RS256", "kid": "rsa"})):
        answer = auth.token({"grant_type": "client_credentials", **proof(signed)})
        assert claims(answer.json()["access_token"])["sub"] == client
    code = auth.code(client_id=client)
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    token = auth.token({**sent, **proof(assertion(auth, client, aud=f"{auth.url}/token"))}).json()
    renewal = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    assert auth.token({**renewal, "client_id": client}).json()["error"] == "invalid_client"
    renewed = auth.token({**renewal, **proof(assertion(auth, client))}).json()
    looked_at = auth.post("/introspect", {"token": renewed["access_token"], **proof(assertion(auth, client))})
    assert looked_at.json()["active"] is True
    ended = auth.post("/revoke", {"token": renewed["refresh_token"], **proof(assertion(auth, client))})
    assert ended.status_code == 200


async def test_the_assertions_of_the_sdk_are_taken(auth: Auth, client: str) -> None:
    pem = KEY.as_pem(private=True).decode()
    made = SignedJWTParameters(issuer=client, subject=client, signing_algorithm="ES256", signing_key=pem)
    signed = await made.create_assertion_provider()(auth.url)
    # The SDK names no key: with several that is no use, so this client has one.
    one = auth.register(
        token_endpoint_auth_method="private_key_jwt", grant_types=["client_credentials"], jwks=public(KEY)
    )["client_id"]
    assert error(auth, signed) == "invalid_client"
    made = SignedJWTParameters(issuer=one, subject=one, signing_algorithm="ES256", signing_key=pem)
    signed = await made.create_assertion_provider()(auth.url)
    assert auth.token({"grant_type": "client_credentials", **proof(signed)}).status_code == 200


def test_an_assertion_counts_once(auth: Auth, client: str) -> None:
    signed = assertion(auth, client)
    assert auth.token({"grant_type": "client_credentials", **proof(signed)}).status_code == 200
    assert error(auth, signed) == "invalid_client"


@pytest.mark.parametrize(
    "changes",
    [
        {"key": OTHER},
        {"header": {"kid": "two"}},
        {"header": {"kid": "../../one"}},
        {"iss": "somebody-else"},
        {"sub": CLIENT_ID},
        {"sub": "nobody"},
        {"sub": "a\0b", "iss": "a\0b"},
        {"aud": "https://other.example"},
        {"aud": ["https://other.example"]},
        {"aud": None},
        {"exp": 1},
        {"exp": 10**10},
        {"exp": None},
        {"nbf": 10**10},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 1000},
    ],
)
def test_an_assertion_that_is_not_right_in_everything_proves_nothing(
    auth: Auth, client: str, changes: dict[str, Any]
) -> None:
    assert error(auth, assertion(auth, client, **changes)) == "invalid_client"


def test_an_assertion_for_several_servers_is_refused(auth: Auth, client: str) -> None:
    assert error(auth, assertion(auth, client, aud=[auth.url, "https://other.example"])) == "invalid_client"


def test_a_public_key_is_no_secret_to_sign_with(auth: Auth, client: str) -> None:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head, body, _ = assertion(auth, client).split(".")
    for shared in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        forged = f"{part(json.dumps({'alg': 'HS256', 'kid': 'one'}).encode())}.{body}"
        signature = part(hmac.digest(shared, forged.encode(), "sha256"))
        assert error(auth, f"{forged}.{signature}") == "invalid_client"
    assert error(auth, f"{part(json.dumps({'alg': 'none', 'kid': 'one'}).encode())}.{body}.") == "invalid_client"
    assert error(auth, f"{head}.{body}.") == "invalid_client"


def test_a_client_with_a_key_proves_it_with_nothing_else(auth: Auth, client: str) -> None:
    for more in ({}, {"client_secret": ""}, {"client_secret": "x"}, {"client_assertion": assertion(auth, client)}):
        answer = auth.token({"grant_type": "client_credentials", "client_id": client, **more})
        assert answer.json()["error"] == "invalid_client", more


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(signed=st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){1,3}", fullmatch=True))
def test_no_text_for_an_assertion_breaks_anything(auth: Auth, signed: str) -> None:
    answer = auth.token({"grant_type": "client_credentials", **proof(signed)})
    assert answer.status_code in (400, 401)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "A client of private_key_jwt sends its public keys as jwks."),
        ({"jwks_uri": "https://a.example/keys"}, "Send the keys themselves, as jwks"),
        ({"jwks": {}}, "jwks must be a JWK set"),
        ({"jwks": {"keys": []}}, "jwks must have 1 to 10 keys"),
        ({"jwks": {"keys": [{"kty": "EC"}] * 11}}, "jwks must have 1 to 10 keys"),
        ({"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "?", "y": "?"}]}}, "a key that cannot be read"),
        ({"jwks": {"keys": [{"kty": "??"}]}}, "neither EC nor OKP nor RSA"),
        ({"jwks": {"keys": [KEY.as_dict(private=True)]}}, "jwks holds a secret"),
        ({"jwks": {"keys": [OctKey.generate_key(256).as_dict(private=True)]}}, "jwks holds a secret"),
        ({"jwks": {"keys": [{"kty": "RSA", "e": "AQAB", "n": "x" * 171}]}}, "fewer than 2048 bits"),
    ],
)
def test_what_is_wrong_with_the_keys_of_a_registration_is_said(
    auth: Auth, changes: dict[str, Any], sentence: str
) -> None:
    asked = {"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", **changes}
    answer = auth.post("/register", json=asked)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_client_metadata"
    assert sentence in answer.json()["error_description"]


def test_a_document_may_name_where_keys_are_and_those_may_change(auth: Auth, site: Site) -> None:
    keys = OKPKey.generate_key("Ed25519", {"kid": "ed"})
    site.answers["/keys"] = (200, {"Content-Type": "application/json"}, json.dumps(public(KEY, keys)))
    client = site.describe("/app", token_endpoint_auth_method="private_key_jwt", jwks_uri=site.url("/keys"))
    request = auth.request(client_id=client, redirect_uri="http://127.0.0.1/callback")
    code = Browser(auth).allow(request)["code"]
    sent = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "http://127.0.0.1/callback",
        "code_verifier": VERIFIER,
    }
    assert auth.token({**sent, "client_id": client}).json()["error"] == "invalid_client"
    token = auth.token({**sent, **proof(assertion(auth, client))}).json()
    assert claims(token["access_token"])["client_id"] == client
    new = ECKey.generate_key("P-256", {"kid": "new"})
    site.answers["/keys"] = (200, {"Content-Type": "application/json"}, json.dumps(public(new)))
    renewal = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    renewed = auth.token({**renewal, **proof(assertion(auth, client, new, {"kid": "new"}))})
    assert renewed.status_code == 200, renewed.text
    assert site.visits.count("/keys") == 2
    assert error(auth, assertion(auth, client)) == "invalid_client"  # the one before is gone, nobody is asked again
    assert site.visits.count("/keys") == 2


def test_nobody_is_asked_for_keys_in_the_name_of_a_client_that_nobody_allowed_anything(auth: Auth, site: Site) -> None:
    keys = {"Content-Type": "application/json"}, json.dumps(public(KEY))
    site.answers["/idle-keys"] = (200, *keys)
    client = site.describe("/idle", token_endpoint_auth_method="private_key_jwt", jwks_uri=site.url("/idle-keys"))
    browser = Browser(auth)
    browser.consent(auth.request(client_id=client, redirect_uri="http://127.0.0.1/callback"))
    assert site.visits.count("/idle-keys") == 1
    assert error(auth, assertion(auth, client, OTHER, {"kid": "unknown"})) == "invalid_client"
    assert site.visits.count("/idle-keys") == 1
