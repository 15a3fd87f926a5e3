"""Settings from the environment."""

from pathlib import Path

import msgspec
import pytest

from isthmus.configuration import read_sources
from isthmus.errors import ConfigurationError
from isthmus.origins import Origins, OriginSettings
from isthmus.policy import key
from isthmus.proxies import trusted_proxies
from isthmus.settings import read_settings


class Example(OriginSettings, frozen=True, kw_only=True):
    port: int = 1
    ratio: float = 0.5


class Target(msgspec.Struct):
    url: str


def test_the_defaults_work_with_an_empty_environment() -> None:
    assert read_settings(Example, {}) == Example()


def test_values_are_converted_and_empty_ones_count_as_absent() -> None:
    found = read_settings(Example, {"ISTHMUS_PORT": "80", "ISTHMUS_RATIO": "2", "ISTHMUS_NATS_URL": ""})
    assert (found.port, found.ratio, found.nats_url) == (80, 2.0, "nats://127.0.0.1:4222")


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match="ISTHMUS_PORT"):
        read_settings(Example, {"ISTHMUS_PORT": "http"})


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p123\n")
    environ = {"ISTHMUS_NATS_PASSWORD_FILE": str(tmp_path / "password")}
    assert read_settings(Example, environ).nats_password == "p123"
    with pytest.raises(ConfigurationError, match="ISTHMUS_NATS_PASSWORD and ISTHMUS_NATS_PASSWORD_FILE are both set"):
        read_settings(Example, {**environ, "ISTHMUS_NATS_PASSWORD": "p456"})
    with pytest.raises(ConfigurationError, match="ISTHMUS_NATS_PASSWORD_FILE") as missing:
        read_settings(Example, {"ISTHMUS_NATS_PASSWORD_FILE": str(tmp_path / "other")})
    assert str(tmp_path) not in missing.value.message


def test_a_source_takes_its_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    (tmp_path / "isthmus.toml").write_text('[databases.sales]\nurl = "postgresql://reader:${SALES}@db/sales"\n')
    environ = {"ISTHMUS_CONFIG": str(tmp_path / "isthmus.toml"), "SALES_FILE": str(tmp_path / "password")}
    found = read_sources("databases", Target, environ)
    assert found["sales"].url == "postgresql://reader:hunter2@db/sales"


def test_every_address_derives_from_the_public_one() -> None:
    origins = Origins.of(OriginSettings(public_url="https://mcp.example.com/"))
    assert origins.issuer == "https://mcp.example.com"
    assert origins.endpoint() == "https://mcp.example.com/mcp"
    assert origins.endpoint("sales") == "https://mcp.example.com/mcp/sales"
    assert origins.metadata("sales") == "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/sales"


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://mcp.example.com", "https://mcp.example.com"),
        ("https://mcp.example.com/", "https://mcp.example.com"),
        ("HTTPS://MCP.Example.com:443", "https://mcp.example.com"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("https://localhost:8443/", "https://localhost:8443"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin_is_what_browsers_make_of_it(written: str, origin: str) -> None:
    assert Origins.of(read_settings(OriginSettings, {"ISTHMUS_PUBLIC_URL": written})).issuer == origin


@pytest.mark.parametrize(
    "written",
    [
        "mcp.example.com",
        "ftp://mcp.example.com",
        "https://",
        "https://mcp.example.com/isthmus",
        "https://mcp.example.com?a=b",
        "https://mcp.example.com#top",
        "https://ann@mcp.example.com",
        "https://mcp.example.com:http",
    ],
)
def test_what_is_no_origin_is_refused_by_the_name_of_its_variable(written: str) -> None:
    with pytest.raises(ConfigurationError, match="ISTHMUS_PUBLIC_URL takes an origin"):
        read_settings(OriginSettings, {"ISTHMUS_PUBLIC_URL": written})


def test_proxies_are_addresses_and_networks_and_nobody_by_default() -> None:
    assert trusted_proxies(OriginSettings().trusted_proxies) == []
    assert trusted_proxies("127.0.0.1, 10.0.0.0/8 ::1,") == ["127.0.0.1", "10.0.0.0/8", "::1"]


@pytest.mark.parametrize("written", ["*", "proxy", "10.0.0.1/8", "127.0.0.1;10.0.0.1"])
def test_a_proxy_that_is_no_address_is_refused_at_the_start(written: str) -> None:
    with pytest.raises(ConfigurationError, match="ISTHMUS_TRUSTED_PROXIES takes addresses"):
        read_settings(OriginSettings, {"ISTHMUS_TRUSTED_PROXIES": written})


def test_ids_that_no_key_can_hold_go_in_as_their_hash() -> None:
    assert key("user", "u_1") == "user.u_1"
    hashed = key("user", "ann@example.com")
    assert hashed.startswith("user.")
    assert "@" not in hashed
    assert hashed != key("user", "bob@example.com")
    assert "." not in key("user", "a.b").removeprefix("user.")
