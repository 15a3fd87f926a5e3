"""What there is from the first start on, and what every start makes sure of."""

import logging

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.errors import ConfigurationError
from isthmus.grants import EVERYTHING
from isthmus_auth.clients import GRANT_TYPES
from isthmus_auth.hashing import digest, hash_password, random_id, random_secret
from isthmus_auth.models import Account, Client, Role, Service
from isthmus_auth.redirects import SERVICE_REDIRECTS
from isthmus_auth.settings import AuthSettings

logger = logging.getLogger("isthmus_auth")

CLI = "isthmus-cli"
CONSOLE = "isthmus-console"
"""The console itself, as a client of the MCP endpoints: it has no grant, no redirect and no secret, so that nobody gets
a token in its name from outside."""
EVERYTHING_ROLE = "everything"


def seed(session: Session, settings: AuthSettings) -> None:
    """Fills an empty database, then applies the settings that count at every start."""
    if session.get(Role, EVERYTHING_ROLE) is None:
        everything = Role(id=EVERYTHING_ROLE, name="Everything", grants=[msgspec.to_builtins(EVERYTHING)])
        session.add(everything)
        _first_admin(session, settings, everything)
        _default_service(session, settings)
        session.flush()
    _console(session)
    _apply_client_roles(session, settings)
    _apply_cli_secret(session, settings)


def _console(session: Session) -> None:
    client = session.get(Client, CONSOLE)
    if client is None:
        session.add(Client(client_id=CONSOLE, name="Isthmus console", grant_types=[], redirect_uris=[]))
    elif client.grant_types:
        raise ConfigurationError(f"ISTHMUS_CLIENT_ID: {CONSOLE} is the name of the console itself.")


def _first_admin(session: Session, settings: AuthSettings, everything: Role) -> None:
    password = settings.admin_password or random_secret()
    account = Account(
        id=f"u_{random_id()}",
        email=settings.admin_email.strip().lower(),
        password_hash=hash_password(password),
        must_change_password=True,
        is_admin=True,
        roles=[everything],
    )
    session.add(account)
    if not settings.admin_password:
        logger.info("first administrator: %s, password %s (shown this once)", account.email, password)


def _default_service(session: Session, settings: AuthSettings) -> None:
    client_id = settings.client_id or f"isthmus-{random_id()}"
    secret = settings.client_secret or random_secret()
    session.add(
        Service(
            namespace="default",
            label="Isthmus",
            description="Every database and file store that you may use",
            is_default=True,
            sources=["**"],
            roles=[],
        )
    )
    session.flush()
    session.add(
        Client(
            client_id=client_id,
            secret_hash=digest(secret),
            name="an app set up by your administrator",
            namespace="default",
            grant_types=list(GRANT_TYPES),
            redirect_uris=list(SERVICE_REDIRECTS),
            any_loopback=True,
        )
    )
    session.add(Account(id=client_id))
    if not settings.client_secret:
        logger.info("OAuth client of the default service: %s, secret %s (shown this once)", client_id, secret)


def _apply_client_roles(session: Session, settings: AuthSettings) -> None:
    wanted = [role.strip() for role in settings.client_roles.split(",") if role.strip()]
    roles = list(session.scalars(select(Role).where(Role.id.in_(wanted))))
    if unknown := set(wanted) - {role.id for role in roles}:
        raise ConfigurationError(f"ISTHMUS_CLIENT_ROLES: there is no role {', '.join(sorted(unknown))}.")
    service = session.scalar(select(Service).where(Service.is_default))
    own = service.own_client if service is not None else None
    if own is not None and (account := session.get(Account, own.client_id)) is not None:
        account.roles = roles


def _apply_cli_secret(session: Session, settings: AuthSettings) -> None:
    """The command line's client acts for the operator, and only while the operator's settings name its secret."""
    client = session.get(Client, CLI)
    if not settings.cli_secret:
        if client is not None:
            session.delete(client)
            session.delete(session.get_one(Account, CLI))
        return
    if client is None:
        everything = session.get_one(Role, EVERYTHING_ROLE)
        client = Client(
            client_id=CLI,
            name="Isthmus command line",
            grant_types=["client_credentials"],
            redirect_uris=[],
            any_loopback=False,
        )
        session.add_all([client, Account(id=CLI, roles=[everything])])
    client.secret_hash = digest(settings.cli_secret)
