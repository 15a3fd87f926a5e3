"""MCP services: endpoints below `/mcp/`, each with an OAuth client of its own; made and changed by administrators."""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus.origins import Origins
from isthmus.scopes import is_scope
from isthmus_auth import api_keys, outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.clients import GRANT_TYPES
from isthmus_auth.hashing import digest, random_id, random_secret
from isthmus_auth.models import REFRESH_LIFETIME, Account, ApiKey, Authorization, Client, Role
from isthmus_auth.models import Service as Row
from isthmus_auth.redirects import SERVICE_REDIRECTS, problem, web_problem
from isthmus_auth.signing import ACCESS_LIFETIME, LONGEST_ACCESS

Globs = Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(min_length=1, max_length=100)]
Words = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=100)]
Uris = Annotated[list[Annotated[str, Meta(max_length=2048)]], Meta(max_length=50)]
Scopes = Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=100)]
AccessLifetime = Annotated[int, Meta(ge=60, le=LONGEST_ACCESS)]
RefreshLifetime = Annotated[int, Meta(ge=60, le=90 * 24 * 3600)]
Label = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=2000)]
LoginUrl = Annotated[str, Meta(max_length=2000)]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP service."""

    namespace: str
    label: str
    description: str
    is_default: bool
    mcp_endpoint: str
    client_id: str
    """Of its own OAuth client; empty: it has none."""
    redirect_uris: list[str]
    """Of that client, beside every redirect to the user's own computer."""
    sources: list[str]
    """Globs over `<kind>.<source>`: what it exposes."""
    roles: list[str]
    """The only roles that count in it; empty: all."""
    scopes: list[str]
    """The only scopes that count in it; empty: all."""
    access_lifetime: int
    """Seconds that access tokens are valid."""
    refresh_lifetime: int
    """Seconds that refresh tokens are valid; each use begins them anew."""
    login_url: str
    """The page where people sign in for it; empty: our own."""


class NewService(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service to make."""

    namespace: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]{0,31}$")]
    """Lower-case letters and digits, a letter first."""
    label: Label
    description: Text = ""
    sources: Globs = msgspec.field(default_factory=lambda: ["**"])
    roles: Words = []
    redirect_uris: Uris = msgspec.field(default_factory=lambda: list(SERVICE_REDIRECTS))
    scopes: Scopes = []
    access_lifetime: AccessLifetime = ACCESS_LIFETIME
    refresh_lifetime: RefreshLifetime = REFRESH_LIFETIME
    login_url: LoginUrl = ""


class ServiceChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be another; what is left out stays."""

    label: Label | msgspec.UnsetType = msgspec.UNSET
    description: Text | msgspec.UnsetType = msgspec.UNSET
    sources: Globs | msgspec.UnsetType = msgspec.UNSET
    roles: Words | msgspec.UnsetType = msgspec.UNSET
    redirect_uris: Uris | msgspec.UnsetType = msgspec.UNSET
    scopes: Scopes | msgspec.UnsetType = msgspec.UNSET
    access_lifetime: AccessLifetime | msgspec.UnsetType = msgspec.UNSET
    refresh_lifetime: RefreshLifetime | msgspec.UnsetType = msgspec.UNSET
    login_url: LoginUrl | msgspec.UnsetType = msgspec.UNSET


class ServiceSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A service with the secret of its client, which is shown this once."""

    service: Service
    client_secret: str


def find(session: Session, origins: Origins) -> list[Service]:
    """All services, the default one first."""
    rows = session.scalars(select(Row).order_by(Row.is_default.desc(), Row.namespace))
    return [_service(row, origins) for row in rows]


def get(session: Session, origins: Origins, namespace: str) -> Service:
    """Raises Refusal."""
    return _service(_row(session, namespace), origins)


def create(session: Session, origins: Origins, asked: NewService) -> ServiceSecret:
    """Makes a service with a client of its own. Raises Refusal."""
    if session.get(Row, asked.namespace) is not None:
        raise Refusal(409, "There is an MCP service of that namespace already.")
    _check(session, asked.roles, asked.redirect_uris, asked.scopes, asked.login_url)
    row = Row(
        namespace=asked.namespace,
        label=asked.label,
        description=asked.description,
        is_default=False,
        sources=asked.sources,
        roles=asked.roles,
        scopes=asked.scopes,
        access_lifetime=asked.access_lifetime,
        refresh_lifetime=asked.refresh_lifetime,
        login_url=asked.login_url,
    )
    session.add(row)
    secret = random_secret()
    client = Client(
        client_id=f"{asked.namespace}-{random_id()}",
        secret_hash=digest(secret),
        name=f"an app set up by your administrator for {asked.label}",
        namespace=asked.namespace,
        grant_types=list(GRANT_TYPES),
        redirect_uris=list(dict.fromkeys(asked.redirect_uris)),
        any_loopback=True,
    )
    account = Account(id=client.client_id)  # may do nothing until somebody gives it a role
    session.add_all([client, account])
    session.flush()
    outbox.record_account(session, account)
    _record(session, row)
    return ServiceSecret(service=_service(row, origins), client_secret=secret)


def change(session: Session, origins: Origins, namespace: str, asked: ServiceChange) -> Service:
    """Raises Refusal."""
    row = _row(session, namespace)
    for name in (
        "label",
        "description",
        "sources",
        "roles",
        "scopes",
        "access_lifetime",
        "refresh_lifetime",
        "login_url",
    ):
        if (value := getattr(asked, name)) is not msgspec.UNSET:
            setattr(row, name, value)
    uris = [] if asked.redirect_uris is msgspec.UNSET else asked.redirect_uris
    _check(session, row.roles, uris, row.scopes, row.login_url)
    if asked.redirect_uris is not msgspec.UNSET:
        _client(row).redirect_uris = list(dict.fromkeys(uris))
    _record(session, row)
    return _service(row, origins)


def rotate(session: Session, origins: Origins, namespace: str) -> ServiceSecret:
    """Gives the service's client another secret; the one before is void at once. Raises Refusal."""
    row = _row(session, namespace)
    secret = random_secret()
    _client(row).secret_hash = digest(secret)
    return ServiceSecret(service=_service(row, origins), client_secret=secret)


def remove(session: Session, namespace: str) -> None:
    """Deletes the service with its clients and all that was allowed in it. Raises Refusal."""
    row = _row(session, namespace)
    if row.is_default:
        raise Refusal(409, "The default service cannot be deleted.")
    for sid in session.scalars(select(Authorization.sid).where(Authorization.namespace == namespace)):
        outbox.record(session, policy.key("consent", sid), None)
    for client in list(row.clients):
        if (account := session.get(Account, client.client_id)) is not None:
            api_keys.remove_of(session, account.id)
            outbox.record(session, policy.key("user", account.id), None)
            session.delete(account)
        session.delete(client)
    for key in session.scalars(select(ApiKey).where(ApiKey.namespace == namespace)):
        api_keys.forget(session, key)
    outbox.record(session, policy.key("service", namespace), None)
    session.delete(row)


def _row(session: Session, namespace: str) -> Row:
    row = session.get(Row, namespace)
    if row is None:
        raise Refusal(404, "There is no MCP service of that namespace.")
    return row


def _client(row: Row) -> Client:
    if row.own_client is None:
        raise Refusal(409, "This service has no OAuth client of its own.")
    return row.own_client


def _service(row: Row, origins: Origins) -> Service:
    client = row.own_client
    return Service(
        namespace=row.namespace,
        label=row.label,
        description=row.description,
        is_default=row.is_default,
        mcp_endpoint=origins.endpoint("" if row.is_default else row.namespace),
        client_id=client.client_id if client else "",
        redirect_uris=client.redirect_uris if client else [],
        sources=row.sources,
        roles=row.roles,
        scopes=row.scopes,
        access_lifetime=row.access_lifetime,
        refresh_lifetime=row.refresh_lifetime,
        login_url=row.login_url,
    )


def _check(session: Session, roles: list[str], redirect_uris: list[str], scopes: list[str], login_url: str) -> None:
    known = set(session.scalars(select(Role.id).where(Role.id.in_(roles))))
    if unknown := sorted({*roles} - known):
        raise Refusal(400, f"There is no role {unknown[0]}.")
    if problems := [said for uri in redirect_uris if (said := problem(uri))]:
        raise Refusal(400, problems[0])
    if strange := [scope for scope in scopes if not is_scope(scope)]:
        raise Refusal(400, f"There is no scope {strange[0][:40]!r}.")
    if login_url and (said := web_problem(login_url, "login_url")):
        raise Refusal(400, said)


def _record(session: Session, row: Row) -> None:
    session.flush()
    session.refresh(row)
    outbox.record(session, policy.key("service", row.namespace), outbox.service_entry(row))
