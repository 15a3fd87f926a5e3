"""What a client asks for: scopes, and the resource that its tokens are meant for (RFC 8707)."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus.scopes import DEFAULT_SCOPES, is_scope
from isthmus_auth.models import Client, Service
from isthmus_auth.parameters import Parameters

OFFLINE = "offline_access"
"""Accepted because clients ask for it; refresh tokens come with it and without."""


class InvalidTargetError(OAuth2Error):
    """RFC 8707, section 2."""

    error = "invalid_target"


class Resource(msgspec.Struct, frozen=True):
    """An MCP endpoint of a service."""

    namespace: str
    label: str
    url: str


class Approval(msgspec.Struct, frozen=True):
    """That an account allows what a client asked for, as far as these scopes and sources."""

    account_id: str
    scope: str
    sources: tuple[str, ...] = ("**",)
    """Globs over `<kind>.<source>`."""


def known_scopes(text: str) -> list[str]:
    """The scopes of a request that mean something here, in order, each once; the others are ignored."""
    return [scope for scope in dict.fromkeys(text.split()) if is_scope(scope) or scope == OFFLINE]


def offered_scopes(text: str, allowed: Sequence[str] = ()) -> list[str]:
    """What the consent page offers for a request: what it asks for, or else the default, as far as the service
    allows scopes (empty: all)."""
    asked = [scope for scope in known_scopes(text) if scope != OFFLINE and (not allowed or scope in allowed)]
    usual = [scope for scope in DEFAULT_SCOPES if not allowed or scope in allowed]
    return asked or usual or list(allowed)


@dataclass(frozen=True)
class Manner:
    """How the person is to be asked (OpenID Connect Core, section 3.1.2.1)."""

    silent: bool = False
    """`prompt=none`: not at all."""
    anew: bool = False
    """`prompt=login`: they are to sign in, whoever is."""
    choosing: bool = False
    """`prompt=select_account`: the same, for another account maybe."""
    asking: bool = False
    """`prompt=consent`: about the consent, whatever was allowed before."""
    max_age: int | None = None
    """Seconds since they signed in, at most."""

    @classmethod
    def of(cls, asked: Parameters) -> "Manner":
        """Raises InvalidRequestError."""
        prompts = asked.get("prompt").split()
        age = asked.get("max_age")
        if "none" in prompts and len(prompts) > 1:
            raise InvalidRequestError("The prompt none goes with no other.")
        if age and not (age.isascii() and age.isdecimal() and len(age) < 10):
            raise InvalidRequestError("max_age must be a number of seconds.")
        return cls(
            "none" in prompts,
            "login" in prompts,
            "select_account" in prompts,
            "consent" in prompts,
            int(age) if age else None,
        )


def find_resource(session: Session, origins: Origins, client: Client, url: str) -> Resource:
    """The endpoint that `url` names; empty: the one the client belongs to, else the default service's.

    Raises InvalidTargetError if there is no such endpoint, or if the client belongs to another service.
    """
    for service in session.scalars(select(Service)):
        urls = [origins.endpoint(service.namespace)]
        if service.is_default:
            urls.insert(0, origins.endpoint())
        own = client.namespace == service.namespace or (client.namespace is None and (bool(url) or service.is_default))
        if own and (not url or url in urls):
            return Resource(service.namespace, service.label, url or urls[0])
    raise InvalidTargetError("The resource is no MCP endpoint that this client may use.")
