"""The whole sign-in behind a reverse proxy with TLS, where auth and gateway are one public origin."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from browser import Form
from caddy import Proxy, caddy
from isthmus.launcher.client import LocalStack
from isthmus.origins import METADATA_PATH
from servers import TLS, free_port
from stack import Person, Stack, Storage, claims, running_stack

CLAUDE = "https://claude.ai/api/mcp/auth_callback"
DESCRIPTIONS = (
    "/.well-known/oauth-authorization-server",
    METADATA_PATH,
    METADATA_PATH + "/mcp",
    METADATA_PATH + "/mcp/default",
    "/mcp-services/default",
)
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@dataclass
class Published:
    """A stack that the world knows by another origin than its own."""

    stack: Stack
    local: LocalStack
    proxy: Proxy

    @property
    def origin(self) -> str:
        return self.proxy.site

    @contextmanager
    def client(self) -> Generator[httpx2.Client]:
        with httpx2.Client(base_url=self.origin, verify=self.proxy.trust) as client:
            yield client


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Generator[Published]:
    """`isthmus up --public-url`, and the proxy of docs/Caddyfile in front of it."""
    folder = tmp_path_factory.mktemp("published")
    origin = f"https://localhost:{free_port()}"
    arguments = ["--public-url", origin + "/", "--trusted-proxies", "127.0.0.1"]
    with running_stack(folder / "data", *arguments) as stack:
        local = LocalStack.of(stack.folder)
        with caddy(folder, origin, local) as proxy:
            yield Published(stack, local, proxy)


def person(published: Published, storage: Storage | None = None) -> Person:
    """Somebody who trusts the proxy's certificate."""
    return Person(published.stack.connection, storage or Storage(), tls=published.proxy.trust)


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_client_discovers_registers_signs_in_and_reads(published: Published, era: str) -> None:
    storage = Storage()
    somebody = person(published, storage)
    async with somebody.client(era) as client:
        found = await client.call_tool("query_table", {"table": "customers", "columns": ["id"], "limit": 3})
        assert not found.is_error, found.content
        assert found.structured_content is not None
        assert len(found.structured_content["rows"]) == 3
    assert somebody.sign_ins == 1
    assert storage.tokens is not None
    said = claims(storage.tokens.access_token)
    assert (said["iss"], said["aud"]) == (published.origin, f"{published.origin}/mcp")
    assert f"iss={published.origin}".replace(":", "%3A").replace("/", "%2F") in somebody.answer


def test_everything_that_describes_itself_does_so_by_the_public_name(published: Published) -> None:
    with published.client() as client:
        said = {path: client.get(path).raise_for_status() for path in DESCRIPTIONS}
        refused = client.post("/mcp", json={})
    server = said["/.well-known/oauth-authorization-server"].json()
    assert server["issuer"] == published.origin
    assert server["authorization_endpoint"] == f"{published.origin}/authorize"
    for path in (METADATA_PATH, METADATA_PATH + "/mcp"):
        assert said[path].json()["resource"] == f"{published.origin}/mcp"
        assert said[path].json()["authorization_servers"] == [published.origin]
    assert said[METADATA_PATH + "/mcp/default"].json()["resource"] == f"{published.origin}/mcp/default"
    assert said["/mcp-services/default"].json()["mcp_endpoint"] == f"{published.origin}/mcp"
    assert refused.status_code == 401
    assert f'resource_metadata="{published.origin}{METADATA_PATH}/mcp"' in refused.headers["www-authenticate"]
    for answer in [*said.values(), refused]:
        assert "http://" not in answer.text + str(answer.headers)


def test_no_page_and_no_redirect_leaves_https_and_the_cookie_is_bound_to_the_host(published: Published) -> None:
    connection = published.stack.connection
    with published.client() as client:
        registered = client.post(
            "/register", json={"redirect_uris": [CLAUDE], "token_endpoint_auth_method": "none", "client_name": "Claude"}
        ).json()
        asked = {
            "response_type": "code",
            "client_id": registered["client_id"],
            "redirect_uri": CLAUDE,
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
        }
        answers = [client.get("/"), client.get(f"/authorize?{urlencode(asked)}")]
        answers.append(client.get(answers[-1].headers["location"]))
        cookie = answers[-1].headers["set-cookie"]
        assert cookie.startswith("__Host-isthmus_session=")
        assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
        assert "domain" not in cookie.lower()
        who = {"email": connection.admin_email, "password": connection.admin_password}
        answers.append(submit(client, answers[-1], published.origin, who))
        answers.append(client.get(answers[-1].headers["location"]))
        answers.append(submit(client, answers[-1], published.origin, {"decision": "allow"}))
    assert [answer.status_code for answer in answers] == [303, 303, 200, 303, 200, 303]
    for answer in answers:
        assert "http://" not in answer.text + str(answer.headers)
    assert answers[-1].headers["location"].startswith(f"{CLAUDE}?code=")
    assert all(answer.headers["location"].startswith("/") for answer in answers[:-1] if answer.is_redirect)


def test_the_console_calls_tools_though_auth_itself_could_not_use_the_public_name(published: Published) -> None:
    connection = published.stack.connection
    with published.client() as client:
        who = {"email": connection.admin_email, "password": connection.admin_password}
        signed_in = submit(client, client.get("/sign-in"), published.origin, who)
        assert signed_in.headers["location"] == "/admin/"
        form = Form(client.get("/admin/playground?tool=list_tables").text, at="/admin/playground#answer")
        sent = {"Origin": published.origin, "Content-Type": "application/x-www-form-urlencoded"}
        page = client.post(form.action, content=urlencode(form.fields), headers=sent)
    assert "customers" in page.text
    assert f"curl -sS {published.origin}/mcp " in page.text


def test_plain_http_is_sent_to_https(published: Published) -> None:
    answer = httpx2.get(f"http://localhost:{published.proxy.http_port}/mcp?a=b", verify=TLS)
    assert answer.status_code in (301, 308)
    assert answer.headers["location"] == f"{published.origin}/mcp?a=b"


def test_a_page_of_the_public_origin_may_call_and_no_other(published: Published) -> None:
    token = published.stack.command("token").stdout.strip()
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    with published.client() as client:

        def status(origin: str) -> int:
            return client.post("/mcp", json=INITIALIZE, headers={**headers, "Origin": origin}).status_code

        assert status(published.origin) == 200
        assert status(published.origin.replace("https:", "http:")) == 403
        assert status("https://evil.example") == 403


def test_a_foreign_host_is_refused_by_both_services(published: Published, tmp_path: Path) -> None:
    token = published.stack.command("token").stdout.strip()
    with caddy(tmp_path, f"http://:{free_port()}", published.local) as tunnel:  # passes every Host on, as tunnels do
        at = tunnel.site.replace("//", "//127.0.0.1")

        def statuses(host: str) -> tuple[int, int]:
            headers: dict[str, Any] = {"Host": host, "Authorization": f"Bearer {token}", "Accept": "*/*"}
            return (
                httpx2.post(f"{at}/mcp", json=INITIALIZE, headers=headers, verify=TLS).status_code,
                httpx2.get(f"{at}/sign-in", headers=headers, verify=TLS).status_code,
            )

        assert statuses(published.origin.removeprefix("https://")) == (200, 200)
        assert statuses("evil.example") == (421, 421)


def test_attempts_are_counted_by_the_address_that_the_tunnel_saw(published: Published) -> None:
    with published.client() as client:
        page = client.get("/sign-in")

        def attempt(forwarded: str) -> int:
            who = {"email": "nobody@example.com", "password": "wrong"}
            return submit(client, page, published.origin, who, {"X-Forwarded-For": forwarded}).status_code

        assert [attempt(f"203.0.113.{number}, 198.51.100.1") for number in range(11)] == [403] * 10 + [429]
        assert attempt("198.51.100.2") == 403


def submit(
    client: httpx2.Client,
    page: httpx2.Response,
    origin: str,
    values: dict[str, str],
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    """Sends the page's form as a browser does."""
    form = Form(page.text)
    body = urlencode([*{**form.fields, **values}.items(), *form.boxes])
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin, **(headers or {})}
    return client.post(form.action, content=body, headers=sent)
