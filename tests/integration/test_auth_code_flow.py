"""The authorization code flow, from a client's request to its tokens."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from auth_server import (
    CLIENT_ID,
    CLIENT_SECRET,
    EMAIL,
    REDIRECT,
    VERIFIER,
    Auth,
    Browser,
    answered,
    auth_with_bus,
    challenge,
    claims,
    header,
)

EVERYTHING = ("source", "**")


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


def refused(auth: Auth, **changes: str) -> dict[str, str]:
    """What the client is told about a request that is wrong."""
    answer = Browser(auth).http.get("/authorize", params=auth.request(**changes))
    assert answer.status_code == 302, answer.text
    return answered(answer)


def shown(auth: Auth, **changes: str) -> httpx2.Response:
    """The page that a person sees for a request whose client cannot be told."""
    answer = Browser(auth).http.get("/authorize", params=auth.request(**changes))
    assert "location" not in answer.headers
    return answer


def test_a_confidential_client_gets_tokens_for_what_the_user_allowed(auth: Auth) -> None:
    told = Browser(auth).allow(auth.request())
    assert told["state"] == "the state & more"
    assert told["iss"] == auth.url
    answer = auth.exchange(told["code"])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 3600, "data:read data:write")
    assert token["refresh_token"]
    assert header(token["access_token"]) | {"kid": ""} == {"alg": "ES256", "typ": "at+jwt", "kid": ""}
    claimed = claims(token["access_token"])
    assert sorted(claimed) == ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "service", "sid", "sub"]
    assert claimed["iss"] == auth.url
    assert claimed["aud"] == f"{auth.gateway}/mcp"
    assert claimed["service"] == "default"
    assert claimed["client_id"] == CLIENT_ID
    assert claimed["exp"] - claimed["iat"] == 3600


def test_a_public_client_that_registered_itself_gets_tokens(auth: Auth) -> None:
    client = auth.register()
    code = auth.code(client_id=client["client_id"])
    answer = auth.exchange(code, client_id=client["client_id"], client_secret="")
    assert answer.status_code == 200
    assert claims(answer.json()["access_token"])["client_id"] == client["client_id"]


def test_a_confidential_client_that_registered_itself_may_send_its_secret_both_ways(auth: Auth) -> None:
    client = auth.register(token_endpoint_auth_method="client_secret_basic")
    identity = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
    assert auth.exchange(auth.code(client_id=client["client_id"]), **identity).status_code == 200
    answer = auth.token(
        {
            "grant_type": "authorization_code",
            "code": auth.code(client_id=client["client_id"]),
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        },
        auth=(client["client_id"], client["client_secret"]),
    )
    assert answer.status_code == 200


def test_tokens_are_verified_with_the_published_keys(auth: Auth) -> None:
    token = auth.exchange(auth.code()).json()["access_token"]
    keys = KeySet.import_key_set(auth.get("/jwks").json())
    assert jwt.decode(token, keys, algorithms=["ES256"]).claims["iss"] == auth.url
    assert "d" not in auth.get("/jwks").json()["keys"][0]


def test_the_user_may_allow_less_than_was_asked(auth: Auth) -> None:
    told = Browser(auth).decide(auth.request(), "allow", [("scope", "data:read"), EVERYTHING])
    assert auth.exchange(told["code"]).json()["scope"] == "data:read"


def test_a_scope_that_was_not_asked_for_cannot_be_slipped_into_the_form(auth: Auth) -> None:
    told = Browser(auth).decide(auth.request(), "allow", [("scope", "data:read"), ("scope", "sql:run"), EVERYTHING])
    assert auth.exchange(told["code"]).json()["scope"] == "data:read"


def test_allowing_nothing_asks_again(auth: Auth) -> None:
    browser = Browser(auth)
    answer = browser.submit(browser.consent(auth.request()), {"decision": "allow"}, [])
    assert answer.status_code == 400
    assert "Choose at least one permission" in answer.text


def test_denying_tells_the_client(auth: Auth) -> None:
    told = Browser(auth).decide(auth.request(), "deny")
    assert (told["error"], told["iss"], told["state"]) == ("access_denied", auth.url, "the state & more")


def test_the_consent_page_names_client_user_destination_and_scopes(auth: Auth) -> None:
    client = auth.register(client_name="<b>Evil</b> app", redirect_uris=["https://app.example.com/cb"])
    browser = Browser(auth)
    form = browser.consent(auth.request(client_id=client["client_id"], redirect_uri="https://app.example.com/cb"))
    page = browser.get(f"/authorize?{form.fields['request']}").text
    assert "&lt;b&gt;Evil&lt;/b&gt; app" in page
    assert "app.example.com" in page
    assert EMAIL in page
    assert "Create, change and delete rows of databases" in page
    assert form.boxes == [("scope", "data:read"), ("scope", "data:write"), EVERYTHING]
    assert form.buttons == [("decision", "allow"), ("decision", "deny"), ("decision", "switch")]


def test_a_request_without_scope_and_resource_works(auth: Auth) -> None:
    token = auth.exchange(auth.code(scope="", resource="")).json()
    assert token["scope"] == "data:read files:read"
    assert claims(token["access_token"])["aud"] == f"{auth.gateway}/mcp"


def test_unknown_scopes_are_ignored_and_offline_access_is_accepted(auth: Auth) -> None:
    token = auth.exchange(auth.code(scope="openid data:read offline_access")).json()
    assert token["scope"] == "data:read offline_access"
    assert token["refresh_token"]


def test_the_scope_of_another_kind_of_worker_can_be_asked_for(auth: Auth) -> None:
    assert auth.exchange(auth.code(scope="git:use")).json()["scope"] == "git:use"


def test_a_request_without_redirect_uri_uses_the_only_one_registered(auth: Auth) -> None:
    client = auth.register()
    code = auth.code(client_id=client["client_id"], redirect_uri="")
    answer = auth.exchange(code, client_id=client["client_id"], client_secret="", redirect_uri="")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:1/anything/at/all",
        "http://localhost:65000/callback",
        "http://[::1]:5/cb",
        "http://localhost/no-port",
        "https://chatgpt.com/connector_platform_oauth_redirect",
        "https://claude.ai/api/mcp/auth_callback",
        "cursor://anysphere.cursor-mcp/oauth/callback",
    ],
)
def test_the_services_own_client_accepts_loopback_and_the_well_known_redirects(auth: Auth, uri: str) -> None:
    browser = Browser(auth)
    answer = browser.submit(browser.consent(auth.request(redirect_uri=uri, prompt="consent")), {"decision": "allow"})
    assert answer.headers["location"].startswith(uri + "?code=")
    assert auth.exchange(answered(answer)["code"], redirect_uri=uri).status_code == 200


def test_a_registered_loopback_redirect_matches_on_any_port_but_the_token_endpoint_wants_the_same(auth: Auth) -> None:
    client = auth.register(redirect_uris=["http://localhost/callback"])
    other = "http://localhost:50123/callback"
    code = auth.code(client_id=client["client_id"], redirect_uri=other)
    wrong = auth.exchange(
        code, client_id=client["client_id"], client_secret="", redirect_uri="http://localhost/callback"
    )
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    right = auth.exchange(code, client_id=client["client_id"], client_secret="", redirect_uri=other)
    assert right.status_code == 200


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.com/",
        "http://127.0.0.1:33418@evil.example.com/",
        "http://127.0.0.1.evil.example.com/",
        "http://evil.example.com\\@127.0.0.1/",
        "https://claude.ai/api/mcp/auth_callback/../../evil",
        "https://claude.ai:444/api/mcp/auth_callback",
        "http://localhost:8787/callback#fragment",
        "javascript:alert(1)",
        "http://127.0.0.1:port/",
        'http://127.0.0.1/"quoted"',
    ],
)
def test_a_redirect_uri_that_is_not_the_clients_is_shown_and_never_followed(auth: Auth, uri: str) -> None:
    answer = shown(auth, redirect_uri=uri)
    assert answer.status_code == 400
    assert "The redirect_uri is not registered for this client." in answer.text


def test_an_unknown_or_missing_client_is_shown_and_never_redirected(auth: Auth) -> None:
    assert shown(auth, client_id="nobody").status_code == 400
    assert shown(auth, client_id="").status_code == 400
    assert shown(auth, client_id='"\\<script>').status_code == 400


def test_a_repeated_client_or_redirect_is_shown_and_never_redirected(auth: Auth) -> None:
    for name, value in (("client_id", CLIENT_ID), ("redirect_uri", REDIRECT)):
        answer = Browser(auth).http.get("/authorize", params=[*auth.request().items(), (name, value)])
        assert answer.status_code == 400
        assert "location" not in answer.headers


def test_any_other_repeated_parameter_is_told_to_the_client(auth: Auth) -> None:
    answer = Browser(auth).http.get("/authorize", params=[*auth.request().items(), ("scope", "sql:run")])
    assert answered(answer)["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": "", "code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'code"\\ü'}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"resource": "https://elsewhere.example.com/mcp"}, "invalid_target"),
        ({"resource": "http://127.0.0.1:7410/mcp/nothing"}, "invalid_target"),
    ],
)
def test_a_wrong_request_is_told_to_the_client_with_the_issuer(auth: Auth, changes: dict[str, str], error: str) -> None:
    told = refused(auth, **changes)
    assert (told["error"], told["iss"], told["state"]) == (error, auth.url, "the state & more")
    assert "code" not in told


def test_pkce_is_required_of_public_clients_too(auth: Auth) -> None:
    client = auth.register()
    told = refused(auth, client_id=client["client_id"], code_challenge="", code_challenge_method="")
    assert told["error"] == "invalid_request"


def test_the_wrong_verifier_gets_nothing(auth: Auth) -> None:
    code = auth.code()
    for verifier, error in (("w" * 43, "invalid_grant"), ("", "invalid_request"), (challenge(), "invalid_grant")):
        answer = auth.exchange(code, code_verifier=verifier)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert auth.exchange(code).status_code == 200


def test_a_code_of_one_client_is_worth_nothing_to_another(auth: Auth) -> None:
    code = auth.code()
    other = auth.register()
    answer = auth.exchange(code, client_id=other["client_id"], client_secret="")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert auth.exchange(code).status_code == 200


def test_the_token_endpoint_may_repeat_the_resource_but_not_change_it(auth: Auth) -> None:
    code = auth.code(resource=f"{auth.gateway}/mcp/default")
    wrong = auth.exchange(code, resource="https://elsewhere.example.com/mcp")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_target")
    right = auth.exchange(code, resource=f"{auth.gateway}/mcp/default")
    assert claims(right.json()["access_token"])["aud"] == f"{auth.gateway}/mcp/default"


def test_a_wrong_secret_is_refused(auth: Auth) -> None:
    code = auth.code()
    for identity in (
        {"client_secret": "wrong"},
        {"client_secret": ""},
        {"client_id": "nobody"},
        {"client_id": "", "client_secret": ""},
    ):
        answer = auth.exchange(code, **identity)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert auth.exchange(code, client_secret=CLIENT_SECRET).status_code == 200


def test_using_a_code_twice_ends_what_the_first_use_got(auth: Auth) -> None:
    code = auth.code()
    first = auth.exchange(code).json()
    second = auth.exchange(code)
    assert (second.status_code, second.json()["error"]) == (400, "invalid_grant")
    assert auth.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_refresh_token_is_replaced_and_using_the_old_one_ends_the_session(auth: Auth) -> None:
    first = auth.exchange(auth.code()).json()
    second = auth.refresh(first["refresh_token"])
    assert second.status_code == 200
    renewed = second.json()
    assert renewed["refresh_token"] != first["refresh_token"]
    assert claims(renewed["access_token"])["sid"] == claims(first["access_token"])["sid"]
    assert auth.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert auth.refresh(renewed["refresh_token"]).json()["error"] == "invalid_grant"


def test_public_clients_have_their_refresh_tokens_replaced_too(auth: Auth) -> None:
    client = auth.register()
    identity = {"client_id": client["client_id"], "client_secret": ""}
    first = auth.exchange(auth.code(client_id=client["client_id"]), **identity).json()
    second = auth.refresh(first["refresh_token"], **identity).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert auth.refresh(first["refresh_token"], **identity).json()["error"] == "invalid_grant"
    assert auth.refresh(second["refresh_token"], **identity).json()["error"] == "invalid_grant"


def test_a_refresh_may_narrow_the_scope_but_not_widen_it(auth: Auth) -> None:
    token = auth.exchange(auth.code()).json()
    wider = auth.refresh(token["refresh_token"], scope="data:read sql:run")
    assert (wider.status_code, wider.json()["error"]) == (400, "invalid_scope")
    assert auth.refresh(token["refresh_token"], scope="data:read").json()["scope"] == "data:read"


def test_a_refresh_token_of_one_client_is_worth_nothing_to_another(auth: Auth) -> None:
    token = auth.exchange(auth.code()).json()
    other = auth.register()
    answer = auth.refresh(token["refresh_token"], client_id=other["client_id"], client_secret="")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_client_that_did_not_register_for_refresh_tokens_gets_none(auth: Auth) -> None:
    client = auth.register(grant_types=["authorization_code"])
    token = auth.exchange(auth.code(client_id=client["client_id"]), client_id=client["client_id"], client_secret="")
    assert "refresh_token" not in token.json()


def test_of_many_uses_of_one_code_at_once_one_succeeds(auth: Auth) -> None:
    code = auth.code()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(auth.exchange, [code] * 8))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


def test_another_account_can_be_used_from_the_consent_page(auth: Auth) -> None:
    browser = Browser(auth)
    answer = browser.submit(browser.consent(auth.request()), {"decision": "switch"})
    assert answer.headers["location"].startswith("/sign-in?next=%2Fauthorize")
    assert browser.get("/admin/").url.path == "/sign-in"
