"""Settings from the environment."""

import pytest

from isthmus.errors import ConfigurationError
from isthmus.origins import Origins, OriginSettings
from isthmus.policy import key
from isthmus.settings import read_settings


class Example(OriginSettings, frozen=True, kw_only=True):
    port: int = 1
    ratio: float = 0.5


def test_the_defaults_work_with_an_empty_environment() -> None:
    assert read_settings(Example, {}) == Example()


def test_values_are_converted_and_empty_ones_count_as_absent() -> None:
    found = read_settings(Example, {"ISTHMUS_PORT": "80", "ISTHMUS_RATIO": "2", "ISTHMUS_NATS_URL": ""})
    assert (found.port, found.ratio, found.nats_url) == (80, 2.0, "nats://127.0.0.1:4222")


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigurationError, match="ISTHMUS_PORT"):
        read_settings(Example, {"ISTHMUS_PORT": "http"})


def test_every_address_derives_from_the_public_one() -> None:
    origins = Origins.of(OriginSettings(public_url="https://mcp.example.com/"))
    assert origins.issuer == "https://mcp.example.com"
    assert origins.endpoint() == "https://mcp.example.com/mcp"
    assert origins.endpoint("sales") == "https://mcp.example.com/mcp/sales"
    assert origins.metadata("sales") == "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/sales"


def test_ids_that_no_key_can_hold_go_in_as_their_hash() -> None:
    assert key("user", "u_1") == "user.u_1"
    hashed = key("user", "ann@example.com")
    assert hashed.startswith("user.")
    assert "@" not in hashed
    assert hashed != key("user", "bob@example.com")
    assert "." not in key("user", "a.b").removeprefix("user.")
