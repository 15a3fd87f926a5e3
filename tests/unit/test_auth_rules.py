"""The rules of auth that need no server: redirects, parameters, scopes, attempts, secrets."""

import pytest
from authlib.oauth2.rfc6749 import InvalidRequestError
from hypothesis import given
from hypothesis import strategies as st

from isthmus.scopes import DEFAULT_SCOPES, describe
from isthmus_auth import attempts
from isthmus_auth.attempts import Attempts
from isthmus_auth.hashing import digest, hash_password, same_secret, verify_password
from isthmus_auth.parameters import Parameters
from isthmus_auth.redirects import SERVICE_REDIRECTS, destination, is_loopback, problem, redirect_matches
from isthmus_auth.requested import known_scopes, offered_scopes


def test_every_redirect_that_services_accept_by_default_could_be_registered() -> None:
    assert [problem(uri) for uri in SERVICE_REDIRECTS] == [""] * len(SERVICE_REDIRECTS)


@pytest.mark.parametrize(
    ("registered", "requested", "same"),
    [
        ("http://localhost/cb", "http://localhost:9999/cb", True),
        ("http://localhost:1/cb", "http://localhost:2/cb", True),
        ("http://[::1]:1/", "http://[::1]:2/", True),
        ("http://127.0.0.1", "http://127.0.0.1:5/", True),
        ("http://localhost/cb", "http://127.0.0.1/cb", False),
        ("http://localhost/cb", "http://localhost/other", False),
        ("http://localhost/cb?a=1", "http://localhost:2/cb?a=2", False),
        ("https://localhost/cb", "https://localhost:2/cb", False),
        ("https://a.example/cb", "https://a.example:443/cb", False),
        ("https://a.example/cb", "https://a.example/cb/", False),
        ("https://a.example/cb", "https://A.example/cb", False),
        ("http://localhost/cb", "http://user@localhost/cb", False),
        ("myapp://cb", "myapp://cb", True),
        ("myapp://cb", "myapp://cb:1", False),
    ],
)
def test_redirects_match_exactly_but_for_the_port_of_loopback_hosts(
    registered: str, requested: str, same: bool
) -> None:
    assert redirect_matches(registered, requested) is same


@given(st.text(max_size=60))
def test_no_text_breaks_the_check_of_a_redirect(text: str) -> None:
    assert problem(text) or is_loopback(text) or not text.startswith("http:")


@given(st.sampled_from(["http://localhost", "http://127.0.0.1", "http://[::1]"]), st.text(max_size=20))
def test_a_loopback_redirect_stays_on_this_computer(host: str, rest: str) -> None:
    if is_loopback(host + rest):
        assert rest[:1] in ("", "/", ":", "?")
        assert "@" not in rest.partition("/")[0].partition("?")[0]


def test_people_read_where_the_code_goes() -> None:
    assert destination("https://claude.ai/api/mcp/auth_callback") == "claude.ai"
    assert destination("http://localhost:8787/callback") == "an app on this computer (localhost:8787)"
    assert destination("cursor://anysphere.cursor-mcp/cb") == "the app that opens cursor: links on this device"


def test_parameters_without_a_value_count_as_absent() -> None:
    assert Parameters.parse(b"scope=&state=x&empty").values == {"state": "x"}


def test_repeated_parameters_are_known() -> None:
    parameters = Parameters.parse(b"scope=a&scope=b&state=c")
    assert parameters.repeated() == {"scope"}
    assert parameters.get("scope") == "a"


@given(st.binary(max_size=200))
def test_any_bytes_are_parameters_or_an_invalid_request(raw: bytes) -> None:
    try:
        parameters = Parameters.parse(raw)
    except InvalidRequestError:
        return
    assert Parameters.parse(parameters.encode().encode()) == parameters


def test_scopes_that_mean_nothing_are_ignored() -> None:
    assert known_scopes("openid data:read data:read git:use Git:use :use offline_access") == [
        "data:read",
        "git:use",
        "offline_access",
    ]
    assert offered_scopes("openid offline_access") == list(DEFAULT_SCOPES)
    assert offered_scopes("sql:run offline_access") == ["sql:run"]
    assert describe("git:use") == "Use the git tools"


def test_attempts_are_limited_by_key_and_forgotten_after_success() -> None:
    seen = Attempts()
    assert [seen.allow(("a", "x")) for _ in range(attempts.MOST + 1)] == [True] * attempts.MOST + [False]
    assert seen.allow(("a", "y"))
    seen.succeeded(("a", "x"))
    assert seen.allow(("a", "x"))


def test_the_memory_of_attempts_is_bounded() -> None:
    seen = Attempts()
    for number in range(attempts.REMEMBERED + 100):
        seen.allow(("a", str(number)))
    assert len(seen) == attempts.REMEMBERED


def test_a_password_is_verified_by_its_hash_alone() -> None:
    stored = hash_password("hunter2")
    assert stored.startswith("$argon2id$")
    assert verify_password("hunter2", stored)
    assert not verify_password("hunter3", stored)
    assert not verify_password("hunter2", None)
    assert not verify_password("hunter2", "no hash")


def test_a_secret_is_compared_with_its_digest() -> None:
    assert same_secret("sécret", digest("sécret"))
    assert not same_secret("other", digest("sécret"))
