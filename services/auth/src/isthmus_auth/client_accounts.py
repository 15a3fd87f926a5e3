"""Clients as administrators see them: set up, given roles of their own, ended.

A client that acts for itself (client credentials) does so as an account of the same id: that is a service account.
"""

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus_auth import api_keys, outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.client_keys import Jwks, checked
from isthmus_auth.clients import GRANT_TYPES, shown_name
from isthmus_auth.exchange import EXCHANGE
from isthmus_auth.hashing import digest, random_id, random_secret
from isthmus_auth.models import SET_UP, Account, Authorization, Client, Revocation, Service
from isthmus_auth.people import Attributes, Words, roles_of
from isthmus_auth.redirects import problem
from isthmus_auth.seed import CLI, CONSOLE
from isthmus_auth.signing import LONGEST_ACCESS

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Uris = Annotated[list[Annotated[str, Meta(max_length=2048)]], Meta(max_length=50)]
Grants = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(min_length=1, max_length=10)]
Method = Literal["secret", "private_key_jwt", "none"]
Origin = Literal["service", "administrator", "registration", "document", "command line", "console"]

OWN = "client_credentials"
THE_CONSOLE = "This is the console itself: it acts for whoever is signed in to it, and stays as it is."
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class ClientInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A client."""

    client_id: str
    name: str
    origin: Origin
    """Who made it known: an MCP service has one of its own, others registered themselves or have a document."""
    namespace: str | None
    """The one MCP service it may ask for; null: any."""
    method: Method
    """How it proves who it is."""
    redirect_uris: list[str]
    grant_types: list[str]
    roles: list[str]
    """What it may do for itself; people's roles count where it acts for people."""
    attributes: dict[str, str]
    disabled: bool
    """Whether it may not act for itself now."""
    created_at: int
    """Seconds since the epoch."""


class NewClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client to set up."""

    name: Name
    method: Method = "secret"
    namespace: str | None = None
    redirect_uris: Uris = []
    grant_types: Grants = msgspec.field(default_factory=lambda: ["authorization_code", "refresh_token"])
    jwks: dict[str, Any] | None = None
    jwks_uri: Annotated[str, Meta(max_length=2048)] | None = None
    roles: Words = []
    attributes: Attributes = {}


class ClientChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be another; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    redirect_uris: Uris | msgspec.UnsetType = msgspec.UNSET
    grant_types: Grants | msgspec.UnsetType = msgspec.UNSET
    roles: Words | msgspec.UnsetType = msgspec.UNSET
    attributes: Attributes | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class ClientSecret(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client, with its secret if it has one, which is shown this once."""

    client: ClientInfo
    client_secret: str | None = None


def find(session: Session, text: str, after: str, limit: int) -> list[ClientInfo]:
    """Clients in order of their ids, after one of them; only those with the text in id or name."""
    statement = select(Client).where(Client.client_id > after)
    if text:
        in_id, in_name = (column.icontains(text, autoescape=True) for column in (Client.client_id, Client.name))
        statement = statement.where(in_id | in_name)
    return [_info(session, row) for row in session.scalars(statement.order_by(Client.client_id).limit(limit))]


def get(session: Session, client_id: str) -> ClientInfo:
    """Raises Refusal."""
    return _info(session, _row(session, client_id))


def create(session: Session, asked: NewClient) -> ClientSecret:
    """Sets a client up. Raises Refusal."""
    _check(asked.grant_types, asked.redirect_uris)
    if asked.method == "none" and {OWN, EXCHANGE, JWT_BEARER} & {*asked.grant_types}:
        raise Refusal(400, "A client that proves nothing of itself acts for people alone, by code or device.")
    if asked.namespace is not None and session.get(Service, asked.namespace) is None:
        raise Refusal(400, "There is no MCP service of that namespace.")
    if (asked.roles or asked.attributes) and OWN not in asked.grant_types:
        raise Refusal(400, f"Roles and attributes are for clients that act for themselves: grant type {OWN}.")
    secret = random_secret() if asked.method == "secret" else None
    client = Client(
        client_id=f"{SET_UP}{random_id()}",
        secret_hash=None if secret is None else digest(secret),
        public=asked.method == "none",
        jwks=_keys(asked),
        jwks_uri=asked.jwks_uri,
        name=shown_name(asked.name, asked.redirect_uris),
        namespace=asked.namespace,
        grant_types=asked.grant_types,
        redirect_uris=list(dict.fromkeys(asked.redirect_uris)),
    )
    session.add(client)
    if OWN in asked.grant_types:
        account = Account(
            id=client.client_id,
            attributes=asked.attributes,
            disabled=False,
            is_admin=False,
            roles=roles_of(session, asked.roles),
        )
        session.add(account)
        outbox.record_account(session, account)
    session.flush()
    return ClientSecret(client=_info(session, client), client_secret=secret)


def change(session: Session, client_id: str, asked: ClientChange) -> ClientInfo:
    """Raises Refusal."""
    client = _row(session, client_id)
    if client_id == CONSOLE:
        raise Refusal(409, THE_CONSOLE)
    described = (asked.name, asked.redirect_uris, asked.grant_types)
    if not client.set_up and any(field is not msgspec.UNSET for field in described):
        raise Refusal(409, "This client describes itself; only its own roles can be changed here.")
    if asked.name is not msgspec.UNSET:
        client.name = shown_name(asked.name, [])
    if asked.redirect_uris is not msgspec.UNSET:
        _check([], asked.redirect_uris)
        client.redirect_uris = list(dict.fromkeys(asked.redirect_uris))
    if asked.grant_types is not msgspec.UNSET:
        _check(asked.grant_types, [])
        if client.public and {OWN, EXCHANGE, JWT_BEARER} & {*asked.grant_types}:
            raise Refusal(400, "A client that proves nothing of itself acts for people alone, by code or device.")
        client.grant_types = asked.grant_types
    if asked.roles is not msgspec.UNSET and _is_first(client):
        raise Refusal(409, "The roles of this client follow ISTHMUS_CLIENT_ROLES; set up a client of its own instead.")
    account = session.get(Account, client_id)
    if account is None and OWN in client.grant_types:
        account = Account(id=client_id, attributes={}, disabled=False, is_admin=False)
        session.add(account)
    own = (asked.roles, asked.attributes, asked.disabled)
    if any(field is not msgspec.UNSET for field in own) and account is None:
        raise Refusal(400, f"Roles and attributes are for clients that act for themselves: grant type {OWN}.")
    if account is not None:
        if asked.roles is not msgspec.UNSET:
            account.roles = roles_of(session, asked.roles)
        if asked.attributes is not msgspec.UNSET:
            account.attributes = asked.attributes
        if asked.disabled is not msgspec.UNSET:
            account.disabled = asked.disabled
        outbox.record_account(session, account)
    return _info(session, client)


def rotate(session: Session, client_id: str) -> ClientSecret:
    """Gives a client another secret; the one before is void at once. Raises Refusal."""
    client = _row(session, client_id)
    if client.secret_hash is None:
        raise Refusal(409, "This client has no secret.")
    secret = random_secret()
    client.secret_hash = digest(secret)
    return ClientSecret(client=_info(session, client), client_secret=secret)


def remove(session: Session, client_id: str) -> None:
    """Ends a client with all that it was allowed; no token of it is valid any more. Raises Refusal."""
    client = _row(session, client_id)
    if client_id == CONSOLE:
        raise Refusal(409, THE_CONSOLE)
    if client_id == CLI:
        raise Refusal(409, "The client of the command line goes when its secret is no longer in the settings.")
    if client.service is not None and client.service.own_client is client:
        raise Refusal(409, "This is the client of an MCP service, and goes with it; its secret can be changed.")
    for sid in session.scalars(select(Authorization.sid).where(Authorization.client_id == client_id)):
        outbox.record(session, policy.key("consent", sid), None)
    now = int(time.time())
    key = policy.key("revoked", "client", client_id)
    before, expires_at = now + 1, now + LONGEST_ACCESS + policy.CLOCK_LEEWAY
    session.merge(Revocation(key=key, before=before, expires_at=expires_at))
    outbox.record(session, key, policy.Revoked(before), expires_at)
    if (account := session.get(Account, client_id)) is not None:
        api_keys.remove_of(session, client_id)
        outbox.record(session, policy.key("user", client_id), None)
        session.delete(account)
    session.delete(client)


def _is_first(client: Client) -> bool:
    """Whether it is the default service's own."""
    return client.service is not None and client.service.is_default and client.service.own_client is client


def _row(session: Session, client_id: str) -> Client:
    client = session.get(Client, client_id)
    if client is None:
        raise Refusal(404, "There is no client of that id.")
    return client


def _info(session: Session, row: Client) -> ClientInfo:
    account = session.get(Account, row.client_id)
    return ClientInfo(
        client_id=row.client_id,
        name=row.name,
        origin=_origin(row),
        namespace=row.namespace,
        method="none"
        if row.public or row.client_id == CONSOLE
        else "private_key_jwt"
        if row.secret_hash is None
        else "secret",
        redirect_uris=row.redirect_uris,
        grant_types=row.grant_types,
        roles=[role.id for role in account.roles] if account else [],
        attributes=account.attributes if account else {},
        disabled=account is not None and account.disabled,
        created_at=row.created_at,
    )


def _origin(row: Client) -> Origin:
    if row.client_id == CLI:
        return "command line"
    if row.client_id == CONSOLE:
        return "console"
    if not row.set_up:
        return "registration" if row.fresh_until is None else "document"
    return "administrator" if row.client_id.startswith(SET_UP) else "service"


def _keys(asked: NewClient) -> Jwks | None:
    if asked.method != "private_key_jwt":
        if asked.jwks is not None or asked.jwks_uri is not None:
            raise Refusal(400, "Keys are for the method private_key_jwt.")
        return None
    if (asked.jwks is None) == (asked.jwks_uri is None):
        raise Refusal(400, "The method private_key_jwt needs either jwks or jwks_uri.")
    if asked.jwks_uri is not None:
        if not asked.jwks_uri.startswith("https://"):
            raise Refusal(400, "jwks_uri must be https.")
        return {"keys": []}  # asked for with the client's first assertion
    try:
        return checked(asked.jwks)
    except ValueError as error:
        raise Refusal(400, f"{error}.") from None


def _check(grant_types: list[str], redirect_uris: list[str]) -> None:
    known = [*GRANT_TYPES, EXCHANGE, JWT_BEARER]
    if strange := [kind for kind in grant_types if kind not in known]:
        raise Refusal(400, f"There is no grant type {strange[0]!r}; there are {', '.join(known)}.")
    if problems := [said for uri in redirect_uris if (said := problem(uri))]:
        raise Refusal(400, problems[0])
