"""The addresses that clients see: everything derives from one or two origins."""

import msgspec

from isthmus.settings import BusSettings

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


class Origins(msgspec.Struct, frozen=True):
    """`issuer` and `gateway` are origins without a trailing slash."""

    issuer: str
    gateway: str

    @classmethod
    def of(cls, settings: OriginSettings) -> "Origins":
        """The public origin where there is one, else the two that the services have."""
        return cls(
            issuer=(settings.public_url or settings.issuer).rstrip("/"),
            gateway=(settings.public_url or settings.gateway_url).rstrip("/"),
        )

    def endpoint(self, namespace: str = "") -> str:
        """The MCP endpoint of a service, and the `resource` (RFC 8707) that its tokens are for."""
        return f"{self.gateway}{ENDPOINT_PATH}" + (f"/{namespace}" if namespace else "")

    def metadata(self, namespace: str = "") -> str:
        """The protected resource metadata of that endpoint (RFC 9728, section 3.1)."""
        return f"{self.gateway}{METADATA_PATH}{ENDPOINT_PATH}" + (f"/{namespace}" if namespace else "")
