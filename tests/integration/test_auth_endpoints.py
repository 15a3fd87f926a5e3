"""What programs ask of auth: metadata, registration, tokens for clients that act for themselves, health."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from auth_server import CLI_SECRET, CLIENT_ID, CLIENT_SECRET, REDIRECT, Auth, Browser, auth_with_bus, claims
from servers import TLS


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


def own_token(auth: Auth, **changes: str) -> httpx2.Response:
    """A token for a client that acts for itself."""
    usual = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return auth.token({name: value for name, value in {**usual, **changes}.items() if value})


def test_the_metadata_says_what_clients_look_for(auth: Auth) -> None:
    answer = auth.get("/.well-known/oauth-authorization-server")
    said = answer.json()
    assert said["issuer"] == auth.url
    assert said["authorization_endpoint"] == f"{auth.url}/authorize"
    assert said["token_endpoint"] == f"{auth.url}/token"
    assert said["registration_endpoint"] == f"{auth.url}/register"
    assert said["jwks_uri"] == f"{auth.url}/jwks"
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["response_types_supported"] == ["code"]
    assert said["grant_types_supported"] == [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ]
    assert sorted(said["token_endpoint_auth_methods_supported"]) == [
        "client_secret_basic",
        "client_secret_post",
        "none",
        "private_key_jwt",
    ]
    assert said["authorization_response_iss_parameter_supported"] is True
    assert {"data:read", "sql:run", "offline_access"} <= set(said["scopes_supported"])


def test_it_does_not_claim_to_be_an_openid_provider(auth: Auth) -> None:
    assert auth.get("/.well-known/openid-configuration").status_code == 404


@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/jwks", "/register", "/token"])
def test_clients_in_a_browser_may_use_the_protocol_endpoints(auth: Auth, path: str) -> None:
    origin = {"Origin": "https://inspector.example.com", "Access-Control-Request-Method": "POST"}
    preflight = httpx2.options(auth.url + path, headers=origin, verify=TLS)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert auth.get(path, headers=origin).headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", ["/sign-in", "/authorize", "/admin/", "/mcp-services/default"])
def test_nothing_else_is_open_to_other_origins(auth: Auth, path: str) -> None:
    answer = auth.get(path, headers={"Origin": "https://inspector.example.com"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_service_tells_how_to_reach_it_but_no_secret(auth: Auth) -> None:
    assert auth.get("/mcp-services/default").json() == {
        "mcp_endpoint": f"{auth.gateway}/mcp",
        "issuer": auth.url,
        "namespace": "default",
        "label": "Isthmus",
        "description": "Every database and file store that you may use",
    }
    assert auth.get("/mcp-services/nothing").status_code == 404
    assert auth.get("/mcp-services/%00").status_code == 404


def test_it_is_alive_and_ready(auth: Auth) -> None:
    assert auth.get("/healthz").status_code == 200
    assert auth.get("/readyz").status_code == 200


def test_the_root_leads_to_the_console(auth: Auth) -> None:
    assert auth.get("/").headers["location"] == "/admin/"


def test_a_client_registers_with_everything_that_real_ones_send(auth: Auth) -> None:
    sent = {
        "redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback", "https://www.cursor.com/agents/cb"],
        "application_type": "native",
        "client_name": "Cursor\u202e \n",
        "client_uri": None,
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:saml2-bearer"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "data:read openid",
        "software_id": {"anything": [1, 2]},
    }
    client = auth.register(**sent)
    assert client["redirect_uris"] == sent["redirect_uris"]
    assert client["grant_types"] == ["authorization_code", "refresh_token"]
    assert client["client_name"] == "Cursor"
    assert client["scope"] == "data:read"
    assert "client_secret" not in client
    assert client["client_id_issued_at"] > 0


def test_each_registration_has_credentials_of_its_own(auth: Auth) -> None:
    one, other = (auth.register(token_endpoint_auth_method="client_secret_post") for _ in range(2))
    assert one["client_id"] != other["client_id"]
    assert one["client_secret"] != other["client_secret"]
    assert one["client_secret_expires_at"] == 0


def test_without_a_method_a_client_gets_a_secret(auth: Auth) -> None:
    client = auth.register(token_endpoint_auth_method=None, grant_types=None)
    assert client["token_endpoint_auth_method"] == "client_secret_basic"
    assert client["grant_types"] == ["authorization_code"]
    assert client["client_secret"]


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript://example.com/%0aalert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "http://app.example.com/cb",
        "https://app.example.com/cb#fragment",
        "https://user:password@app.example.com/cb",
        "https:///no-host",
        "/relative",
        "https://app.example.com/a b",
        "https://app.example.com/ü",
        "https://app.example.com:port/",
        "",
        "x" * 3000,
    ],
)
def test_a_dangerous_or_broken_redirect_uri_is_not_registered(auth: Auth, uri: str) -> None:
    answer = auth.post("/register", json={"redirect_uris": ["https://app.example.com/cb", uri]})
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_redirect_uri", "invalid_client_metadata")


@pytest.mark.parametrize(
    "metadata",
    [
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"grant_types": ["implicit"]},
        {"grant_types": ["client_credentials"], "token_endpoint_auth_method": "none"},
        {"response_types": ["token"]},
        {"redirect_uris": "https://app.example.com/cb"},
        {"redirect_uris": [REDIRECT] * 21},
        {"client_name": "x" * 201},
        {"client_name": 1},
        {"scope": ["data:read"]},
    ],
)
def test_metadata_that_cannot_be_registered_is_refused(auth: Auth, metadata: dict[str, Any]) -> None:
    answer = auth.post("/register", json={"redirect_uris": [REDIRECT], **metadata})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'"\xff"', b'{"client_name": "\xff"}', b"[" * 30_000, b'{"a":' * 10_000],
)
def test_a_body_that_is_no_json_object_is_refused(auth: Auth, body: bytes) -> None:
    answer = auth.post("/register", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


def test_a_registration_without_redirect_uris_is_refused(auth: Auth) -> None:
    assert auth.post("/register", json={}).json()["error"] == "invalid_redirect_uri"


def test_the_services_own_client_may_act_for_itself(auth: Auth) -> None:
    token = own_token(auth).json()
    claimed = claims(token["access_token"])
    assert (claimed["sub"], claimed["client_id"], claimed["service"]) == (CLIENT_ID, CLIENT_ID, "default")
    assert "sid" not in claimed
    assert "refresh_token" not in token
    assert set(token["scope"].split()) >= {"data:read", "data:write", "sql:run"}


def test_a_client_that_acts_for_itself_may_ask_for_less(auth: Auth) -> None:
    assert own_token(auth, scope="data:read nonsense offline_access").json()["scope"] == "data:read"
    assert own_token(auth, scope="nonsense").json()["error"] == "invalid_scope"
    assert own_token(auth, resource="https://elsewhere.example.com").json()["error"] == "invalid_target"


def test_the_command_lines_client_may_act_for_itself_and_nothing_else(auth: Auth) -> None:
    answer = own_token(auth, client_id="isthmus-cli", client_secret=CLI_SECRET)
    assert claims(answer.json()["access_token"])["sub"] == "isthmus-cli"
    page = Browser(auth).http.get("/authorize", params=auth.request(client_id="isthmus-cli"))
    assert page.status_code == 400
    assert "location" not in page.headers


def test_a_registered_client_acts_for_itself_only_if_it_registered_for_it(auth: Auth) -> None:
    able = auth.register(grant_types=["client_credentials"], token_endpoint_auth_method="client_secret_basic")
    identity = {"client_id": able["client_id"], "client_secret": able["client_secret"]}
    assert own_token(auth, **identity).status_code == 200
    unable = auth.register(token_endpoint_auth_method="client_secret_post")
    identity = {"client_id": unable["client_id"], "client_secret": unable["client_secret"]}
    assert own_token(auth, **identity).json()["error"] == "unauthorized_client"


def test_a_public_client_cannot_act_for_itself(auth: Auth) -> None:
    answer = own_token(auth, client_id=auth.register()["client_id"], client_secret="")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_other_grant_types_are_refused(auth: Auth) -> None:
    assert own_token(auth, grant_type="password").json()["error"] == "unsupported_grant_type"
    assert own_token(auth, grant_type='"\\ü').json()["error"] == "unsupported_grant_type"
    assert own_token(auth, grant_type="").json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=%FF",
        b"grant_type=\xff",
        b"grant_type=a%00b",
        b"&".join(b"a%d=1" % number for number in range(1000)),
    ],
)
def test_a_broken_token_request_is_invalid(auth: Auth, body: bytes) -> None:
    answer = auth.post("/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_huge_or_wrongly_typed_token_request_is_invalid(auth: Auth) -> None:
    huge = auth.post("/token", {"grant_type": "x" * 100_000})
    assert (huge.status_code, huge.json()["error"]) == (413, "invalid_request")
    typed = auth.post("/token", json={"grant_type": "client_credentials"})
    assert (typed.status_code, typed.json()["error"]) == (415, "invalid_request")


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic ====", "Basic /////w==", "Basic gICAgA==", "Basic AA==", "Bearer x", "Basic " + "é" * 10],
)
def test_a_broken_authorization_header_is_a_failed_authentication(auth: Auth, authorization: str) -> None:
    answer = auth.post(
        "/token", {"grant_type": "client_credentials"}, headers=[(b"authorization", authorization.encode())]
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "query",
    ["x=%FF", "x=%00", "&".join(f"a{number}=1" for number in range(100)), "x=" + "y" * 20_000, "%FF=1"],
)
def test_a_broken_authorization_request_is_a_page(auth: Auth, query: str) -> None:
    answer = auth.get(f"/authorize?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")


def test_wrong_methods_and_paths_are_answered_plainly(auth: Auth) -> None:
    assert auth.get("/token").json()["error"] == "invalid_request"
    assert auth.get("/nothing").status_code == 404
    assert "There is no such page." in auth.get("/nothing").text
    assert auth.post("/jwks").status_code == 405


def test_a_client_of_another_service_cannot_ask_for_this_one(auth: Auth) -> None:
    for url in ("/mcp/default/", "/mcp/", "/other", "/mcp/default?x"):
        assert own_token(auth, resource=auth.gateway + url).json()["error"] == "invalid_target"
    assert own_token(auth, resource=f"{auth.gateway}/mcp/default").status_code == 200


def test_secrets_are_nowhere_in_the_database(auth: Auth) -> None:
    token = auth.exchange(auth.code()).json()
    registered = auth.register(token_endpoint_auth_method="client_secret_post")
    stored = b"".join(path.read_bytes() for path in Path(auth.folder).iterdir() if path.name.startswith("auth.db"))
    assert registered["client_id"].encode() in stored
    for secret in (
        CLIENT_SECRET,
        CLI_SECRET,
        "correct horse battery staple",
        registered["client_secret"],
        token["refresh_token"],
        token["access_token"],
    ):
        assert secret.encode() not in stored
