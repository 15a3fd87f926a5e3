"""What auth believes of a request: the peer's address unless a configured proxy says more, and no foreign name."""

from pathlib import Path

import httpx2
import pytest

from auth_server import EMAIL, Auth, Browser
from browser import Form
from servers import TLS

LIMIT = 10
PROXIED = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "Forwarded": "for=198.51.100.9;proto=http"}


def attempt(browser: Browser, form: Form, forwarded: str) -> int:
    """The status of a sign-in that fails."""
    headers = {"X-Forwarded-For": forwarded}
    return browser.submit(form, {"email": EMAIL, "password": "wrong"}, headers=headers).status_code


def test_a_forged_address_evades_no_limit(tmp_path: Path) -> None:
    auth = Auth(tmp_path)
    with auth.running():
        browser = Browser(auth)
        form = Form(browser.get("/sign-in").text)
        codes = [attempt(browser, form, f"198.51.100.{number}") for number in range(LIMIT + 1)]
        assert codes == [403] * LIMIT + [429]


def test_the_address_that_a_configured_proxy_adds_is_the_one_that_is_limited(tmp_path: Path) -> None:
    auth = Auth(tmp_path, changes={"trusted_proxies": "127.0.0.0/8"})
    with auth.running():
        browser = Browser(auth)
        form = Form(browser.get("/sign-in").text)
        codes = [attempt(browser, form, f"203.0.113.{number}, 198.51.100.1") for number in range(LIMIT + 1)]
        assert codes == [403] * LIMIT + [429]  # what stands before the proxy's own word is anybody's
        assert attempt(browser, form, "198.51.100.2") == 403
        assert attempt(browser, form, "198.51.100.1") == 429


@pytest.mark.parametrize("trusted", ["", "127.0.0.1"])
def test_no_forwarded_header_changes_an_address_or_a_cookie(tmp_path: Path, trusted: str) -> None:
    auth = Auth(tmp_path, changes={"public_url": "https://mcp.example.com", "trusted_proxies": trusted})
    with auth.running():
        cookie = auth.get("/sign-in", headers=PROXIED).headers["set-cookie"]
        assert cookie.startswith("__Host-isthmus_session=")
        assert "Secure" in cookie
        said = auth.get("/.well-known/oauth-authorization-server", headers=PROXIED).text
        assert "https://mcp.example.com/token" in said
        assert "http://" not in said
        assert "evil" not in said
        assert auth.get("/", headers=PROXIED).headers["location"] == "/admin/"


def test_auth_answers_to_its_own_names_alone(tmp_path: Path) -> None:
    auth = Auth(tmp_path, changes={"public_url": "https://mcp.example.com"})

    def status(host: str) -> int:
        return auth.get("/healthz", headers={"Host": host}).status_code

    with auth.running():
        own = ["mcp.example.com", "MCP.example.com:443", "localhost:9999", f"127.0.0.1:{auth.port}", "[::1]:1"]
        assert [status(host) for host in own] == [200] * len(own)
        foreign = ["evil.example", "mcp.example.com.evil.example", "127.0.0.1.evil.example", "", "[", "169.254.1.1"]
        assert [status(host) for host in foreign] == [421] * len(foreign)
        refused = httpx2.get(f"{auth.url}/sign-in", headers={"Host": "evil.example"}, verify=TLS)
        assert "Isthmus" in refused.text
        assert "default-src 'none'" in refused.headers["content-security-policy"]
