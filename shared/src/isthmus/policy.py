"""Who may do what: the Structs and keys of the JetStream KV bucket that auth writes and gateways watch."""

import base64
import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from isthmus.grants import Grant, matches_any

BUCKET = "isthmus_policy"

JWKS = "jwks"
"""The key of the JWK set (RFC 7517) that access tokens are verified with."""

STATE_KEY = "state_key"
"""The key of the StateKeys that gateways seal MCP's `requestState` with."""

KEY_PREFIX = "isk_"
"""What every API key begins with, so that it is told from a JWT, and found by programs that look for leaked secrets."""

CLOCK_LEEWAY = 30
"""Seconds by which the clocks of two services may differ."""


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """An MCP service: one namespace below `/mcp/`. Key `service.<namespace>`."""

    namespace: str
    """Lower-case letters and digits."""
    label: str
    description: str = ""
    default: bool = False
    """Whether `/mcp` itself is this service."""
    sources: tuple[str, ...] = ("**",)
    """Globs over `<kind>.<source>` that this service exposes."""
    roles: tuple[str, ...] = ()
    """The only roles that count here; empty: all."""
    scopes: tuple[str, ...] = ()
    """The only scopes that count here; empty: all."""

    def offers(self, scope: str) -> bool:
        """Whether the scope counts here."""
        return not self.scopes or scope in self.scopes


class Role(msgspec.Struct, frozen=True, omit_defaults=True):
    """Key `role.<id>`."""

    id: str
    name: str
    grants: tuple[Grant, ...] = ()
    tools_off: tuple[str, ...] = ()
    """Globs over the names of tools that these grants are not for."""
    calls_per_minute: int = 0
    """Calls that a user of this role may make; 0: as many as they like. Of several roles the most generous counts."""

    def grants_for(self, tool: str) -> tuple[Grant, ...]:
        """The grants that count in calls of a tool; empty: of nothing that is a tool."""
        return () if tool and matches_any(self.tools_off, tool) else self.grants


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person, or a client that acts for itself. Key `user.<id>`; the id is the `sub` of access tokens."""

    id: str
    roles: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    """What row filters may name as `{user.<attribute>}`; `id` is always there."""
    disabled: bool = False


class Consent(msgspec.Struct, frozen=True):
    """What a user shared with a client. Key `consent.<sid>`, `sid` as in the access token."""

    sources: tuple[str, ...] = ("**",)
    """Globs over `<kind>.<source>`."""


class ApiKey(msgspec.Struct, frozen=True):
    """A bearer token of its own. Key `key.<SHA-256 of the token>`; what it shares is the Consent of its id."""

    id: str
    sub: str
    """The account it acts for."""
    service: str
    """The namespace that it is for."""
    scope: str
    issued_at: int
    expires_at: int
    """Seconds since the epoch, as `issued_at`."""


class StateKeys(msgspec.Struct, frozen=True):
    """Secrets that all gateways share, so that each can open what another one sealed."""

    keys: tuple[str, ...]
    """The first one seals, all of them open."""


class Revoked(msgspec.Struct, frozen=True):
    """Tokens of this token, session, user or client are void if issued before. Key `revoked.<what>.<id>`."""

    before: int
    """Seconds since the epoch; a token whose `iat` is smaller is void."""


def counting(user: User | None, service: Service | None, roles: Mapping[str, Role]) -> list[Role]:
    """The roles that count for a user in a service. `roles` are all that there are, by their ids."""
    if user is None or user.disabled or service is None:
        return []
    wanted = [name for name in user.roles if not service.roles or name in service.roles]
    return [roles[name] for name in wanted if name in roles]


def grants_of(roles: Iterable[Role], source: str, tool: str = "") -> list[Grant]:
    """What these roles grant on a source, `<kind>.<source>`, in calls of a tool."""
    return [grant for role in roles for grant in role.grants_for(tool) if matches_any(grant.sources, source)]


def key(section: str, *ids: str) -> str:
    """The key of one entry, such as `key("user", "u_1")`. Ids that no key can hold go in as their hash."""
    return ".".join((section, *(_key_part(part) for part in ids)))


def _key_part(text: str) -> str:
    if text and all(c.isascii() and (c.isalnum() or c in "_-") for c in text):
        return text
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
