"""Enterprise-managed authorization (ID-JAG): assertions of a trusted provider, and those that count for nothing."""

import time
from collections.abc import Generator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from joserfc.jwk import ECKey, OctKey
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from administrator import Administrator
from auth_server import CLIENT_ID, CLIENT_SECRET, Auth, Browser, auth_with_bus, claims
from openid_server import OpenIdServer, openid_server
from servers import TLS

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PROVIDER = {
    "label": "The company",
    "client_id": "isthmus",
    "client_secret": "",
    "allow_private_addresses": True,
    "allow_assertions": True,
    "create_people": True,
    "roles": [{"claim": "groups", "value": "analysts", "roles": ["analysts"]}],
}


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


@pytest.fixture(scope="module")
def company(admin: Administrator) -> Generator[OpenIdServer]:
    """One provider that is trusted with assertions, and one that is not."""
    admin.done("PUT", "/roles/analysts", {"name": "Analysts"})
    with openid_server() as server:
        admin.done("PUT", "/providers/company", {**PROVIDER, "issuer": server.issuer("company")})
        other = {**PROVIDER, "issuer": server.issuer("other"), "allow_assertions": False}
        admin.done("PUT", "/providers/other", other)
        yield server


@pytest.fixture(scope="module")
def own(admin: Administrator) -> dict[str, str]:
    """A client that may bring assertions."""
    made = admin.done("POST", "/clients", {"name": "Agent", "grant_types": [JWT_BEARER]})
    return {"client_id": made["client"]["client_id"], "client_secret": made["client_secret"]}


def assertion(
    auth: Auth, company: OpenIdServer, own: dict[str, str], *, header: Any = None, key: Any = None, **changes: Any
) -> str:
    usual = {"aud": auth.url, "client_id": own["client_id"], "jti": str(uuid4()), "scope": "data:read files:read"}
    said = company.claims("company", **{**usual, "resource": f"{auth.gateway}/mcp", **changes})
    return company.signed(said, {"typ": "oauth-id-jag+jwt", **(header or {})}, key)


def send(auth: Auth, own: dict[str, str], signed: str, **more: str) -> dict[str, Any]:
    return auth.token({"grant_type": JWT_BEARER, "assertion": signed, **own, **more}).json()


def test_an_assertion_makes_a_token_without_a_question(
    auth: Auth, admin: Administrator, company: OpenIdServer, own: dict[str, str]
) -> None:
    answer = send(auth, own, assertion(auth, company, own, groups=["analysts"]))
    said = claims(answer["access_token"])
    assert (answer["scope"], said["client_id"], said["aud"], "refresh_token" in answer) == (
        "data:read files:read",
        own["client_id"],
        f"{auth.gateway}/mcp",
        False,
    )
    person = admin.done("GET", f"/people/{said['sub']}")
    assert (person["email"], person["roles"]) == ("company@example.com", ["analysts"])
    again = claims(send(auth, own, assertion(auth, company, own))["access_token"])
    assert (again["sub"], again["sid"]) == (said["sub"], said["sid"])  # one session for as long as it asks for the same
    assert admin.done("GET", f"/people/{said['sub']}")["roles"] == ["analysts"]  # though this one said nothing of it
    less = send(auth, own, assertion(auth, company, own), scope="data:read")
    assert less["scope"] == "data:read"
    admin.done("PATCH", f"/people/{said['sub']}", {"disabled": True})
    assert send(auth, own, assertion(auth, company, own))["error"] == "invalid_grant"
    admin.done("PATCH", f"/people/{said['sub']}", {"disabled": False})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"aud": "https://other.example"}, "invalid_grant"),
        ({"aud": None}, "invalid_grant"),
        ({"iss": "https://other.example"}, "invalid_grant"),
        ({"iss": 7}, "invalid_grant"),
        ({"client_id": CLIENT_ID}, "invalid_grant"),
        ({"client_id": None}, "invalid_grant"),
        ({"exp": 1}, "invalid_grant"),
        ({"exp": 10**10}, "invalid_grant"),
        ({"exp": None}, "invalid_grant"),
        ({"jti": None}, "invalid_grant"),
        ({"jti": ""}, "invalid_grant"),
        ({"sub": None}, "invalid_grant"),
        ({"sub": ["somebody"]}, "invalid_grant"),
        ({"sub": "x" * 300}, "invalid_grant"),
        ({"cnf": {"jkt": "x"}}, "invalid_grant"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"resource": ["x"]}, "invalid_grant"),
        ({"scope": "nothing:known"}, "invalid_scope"),
        ({"scope": 7}, "invalid_grant"),
        ({"header": {"typ": "JWT"}}, "invalid_grant"),
        ({"header": {"kid": "two"}}, "invalid_grant"),
        ({"key": ECKey.generate_key("P-256", {"kid": "one"})}, "invalid_grant"),
        ({"header": {"alg": "HS256"}, "key": OctKey.generate_key(256, {"kid": "one"})}, "invalid_grant"),
    ],
)
def test_an_assertion_that_is_not_right_in_everything_counts_for_nothing(
    auth: Auth, company: OpenIdServer, own: dict[str, str], changes: dict[str, Any], error: str
) -> None:
    assert send(auth, own, assertion(auth, company, own, **changes))["error"] == error


def test_an_assertion_counts_once_and_for_its_own_client_alone(
    auth: Auth, admin: Administrator, company: OpenIdServer, own: dict[str, str]
) -> None:
    signed = assertion(auth, company, own)
    other = admin.done("POST", "/clients", {"name": "Thief", "grant_types": [JWT_BEARER]})
    thief = {"client_id": other["client"]["client_id"], "client_secret": other["client_secret"]}
    assert send(auth, thief, signed)["error"] == "invalid_grant"
    assert "access_token" in send(auth, own, signed)
    assert send(auth, own, signed)["error"] == "invalid_grant"
    assert send(auth, {"client_id": own["client_id"]}, assertion(auth, company, own))["error"] == "invalid_client"
    plain = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    assert send(auth, plain, assertion(auth, company, plain))["error"] == "unauthorized_client"
    public = auth.register(grant_types=[JWT_BEARER, "authorization_code"])
    assert public["grant_types"] == ["authorization_code"]


def test_a_provider_that_only_signs_people_in_is_not_asked_for_its_keys(
    auth: Auth, company: OpenIdServer, own: dict[str, str]
) -> None:
    before = len(company.visits)
    signed = company.signed(
        company.claims("other", aud=auth.url, client_id=own["client_id"], jti="1"), {"typ": "oauth-id-jag+jwt"}
    )
    assert send(auth, own, signed)["error"] == "invalid_grant"
    stranger = company.signed({**company.claims("stranger"), "jti": "2"}, {"typ": "oauth-id-jag+jwt"})
    assert send(auth, own, stranger)["error"] == "invalid_grant"
    for broken in ("", "x", "a.b.c", "é.é.é", "." * 20):
        assert send(auth, own, broken)["error"] in ("invalid_grant", "invalid_request")
    assert len(company.visits) == before


def test_who_is_meant_sees_it_among_the_connected_apps_and_ends_it(
    auth: Auth, admin: Administrator, company: OpenIdServer, own: dict[str, str]
) -> None:
    token = send(auth, own, assertion(auth, company, own))["access_token"]
    browser = Browser(auth)
    asked = dict(httpx2.URL(browser.http.get("/sign-in/with/company").headers["location"]).params)
    company.tokens["company"] = company.signed(company.claims("company", nonce=asked["nonce"]))
    answer = {"code": "c", "state": asked["state"], "iss": company.issuer("company")}
    assert browser.http.get("/sign-in/with/company/callback", params=answer).status_code == 303
    page = browser.get("/apps").text
    assert "Agent" in page
    form = {"csrf_token": page.partition('name="csrf_token" value="')[2][:64], "client_id": own["client_id"]}
    assert browser.http.post("/apps", data=form, headers={"Origin": auth.url}).status_code == 303
    asked = {"token": token, **own}
    assert auth.post("/introspect", asked).json() == {"active": False}
    assert admin.done("GET", "/providers/company")["allow_assertions"] is True


async def test_the_sdk_s_client_signs_in_with_an_assertion(
    auth: Auth, company: OpenIdServer, own: dict[str, str]
) -> None:
    class Storage:
        tokens: OAuthToken | None = None

        async def get_tokens(self) -> OAuthToken | None:
            return self.tokens

        async def set_tokens(self, tokens: OAuthToken) -> None:
            self.tokens = tokens

        async def get_client_info(self) -> OAuthClientInformationFull | None:
            return None

        async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
            raise AssertionError

    async def fetch(audience: str, resource: str) -> str:
        return assertion(auth, company, own, aud=audience, resource=resource)

    storage = Storage()
    provider = IdentityAssertionOAuthProvider(
        f"{auth.gateway}/mcp", storage, own["client_id"], own["client_secret"], auth.url, fetch
    )
    sent: list[str] = []

    def resource(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers.get("authorization", ""))
        return httpx2.Response(200 if sent[-1] else 401)

    async with httpx2.AsyncClient(verify=TLS) as real:

        async def transport(request: httpx2.Request) -> httpx2.Response:
            return resource(request) if request.url.path == "/mcp" else await real.send(request)

        async with httpx2.AsyncClient(auth=provider, transport=httpx2.MockTransport(transport)) as http:
            await http.post(f"{auth.gateway}/mcp")
    assert storage.tokens is not None
    assert sent[-1] == f"Bearer {storage.tokens.access_token}"
    assert claims(storage.tokens.access_token)["exp"] > time.time()
