"""The addresses that clients see: everything derives from one or two origins."""

from urllib.parse import urlsplit

import msgspec

from isthmus.errors import ConfigurationError
from isthmus.proxies import trusted_proxies
from isthmus.settings import PREFIX, BusSettings

ENDPOINT_PATH = "/mcp"
METADATA_PATH = "/.well-known/oauth-protected-resource"


class OriginSettings(BusSettings, frozen=True, kw_only=True):
    """Where clients reach Isthmus; the services that need this are on the bus, and Structs have one base."""

    public_url: str = ""
    """The one origin of a proxy in front of both auth and gateway; replaces the two below."""
    issuer: str = "http://127.0.0.1:7411"
    """The origin of auth, byte for byte the `iss` of every token (RFC 8414, RFC 9207)."""
    gateway_url: str = "http://127.0.0.1:7410"
    """The origin of the mcp-gateway."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies, separated by commas, that say where a request comes from; empty: nobody."""

    def __post_init__(self) -> None:
        parse_origin(self.public_url, f"{PREFIX}PUBLIC_URL")
        parse_origin(self.issuer, f"{PREFIX}ISSUER")
        parse_origin(self.gateway_url, f"{PREFIX}GATEWAY_URL")
        trusted_proxies(self.trusted_proxies)


class Origins(msgspec.Struct, frozen=True):
    """`issuer` and `gateway` are origins without a trailing slash."""

    issuer: str
    gateway: str

    @classmethod
    def of(cls, settings: OriginSettings) -> "Origins":
        """The public origin where there is one, else the two that the services have."""
        return cls(
            issuer=parse_origin(settings.public_url or settings.issuer),
            gateway=parse_origin(settings.public_url or settings.gateway_url),
        )

    def endpoint(self, namespace: str = "") -> str:
        """The MCP endpoint of a service, and the `resource` (RFC 8707) that its tokens are for."""
        return f"{self.gateway}{ENDPOINT_PATH}" + (f"/{namespace}" if namespace else "")

    def metadata(self, namespace: str = "") -> str:
        """The protected resource metadata of that endpoint (RFC 9728, section 3.1)."""
        return f"{self.gateway}{METADATA_PATH}{ENDPOINT_PATH}" + (f"/{namespace}" if namespace else "")


def parse_origin(url: str, name: str = "the address") -> str:
    """The origin as browsers write it (RFC 6454, section 6.2), so that it equals what they send; empty stays empty.

    Raises ConfigurationError if it is anything else than an origin of http or https.
    """
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    rest = (parts.username, parts.password, parts.path.strip("/"), parts.query, parts.fragment)
    if parts.scheme not in ("https", "http") or not parts.hostname or any(rest):
        raise ConfigurationError(f"{name} takes an origin such as https://mcp.example.com, not {url!r}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = port in (None, 443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}"
