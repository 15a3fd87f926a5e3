"""The tables. Times are seconds since the epoch; secrets are stored as digests alone."""

import time
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin
from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Integer, LargeBinary, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from isthmus_auth.hashing import same_secret
from isthmus_auth.redirects import is_loopback, redirect_matches
from isthmus_auth.signing import ACCESS_LIFETIME

SET_UP = "s_"
"""What the ids of clients begin with that administrators set up."""

REFRESH_LIFETIME = 7 * 24 * 3600
"""Seconds that a refresh token is valid, unless its MCP service says otherwise."""


class Base(DeclarativeBase):
    """What all tables have in common."""

    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy's own declaration)
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        list[str]: JSON,
        list[dict[str, Any]]: JSON,
        dict[str, str]: JSON,
        dict[str, Any]: JSON,
    }


account_roles = Table(
    "account_roles",
    Base.metadata,
    Column("account_id", String(255), ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("role_id", String(64), ForeignKey("roles.id", ondelete="CASCADE"), primary_key=True),
)


class Role(Base):
    """A named set of grants."""

    __tablename__ = "roles"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    grants: Mapped[list[dict[str, Any]]]
    """`isthmus.grants.Grant`, as JSON: opaque here."""
    tools_off: Mapped[list[str]] = mapped_column(default=list)
    """Globs over tools that the grants are not for."""
    calls_per_minute: Mapped[int] = mapped_column(default=0)
    """0: as many as they like."""


class Account(Base):
    """A person, or a client that acts for itself: then the id is the client's."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    email: Mapped[str | None] = mapped_column(String(320), unique=True)
    password_hash: Mapped[str | None]
    is_admin: Mapped[bool] = mapped_column(default=False)
    disabled: Mapped[bool] = mapped_column(default=False)
    must_change_password: Mapped[bool] = mapped_column(default=False)
    """Whether somebody else knows the password."""
    totp_secret: Mapped[bytes | None]
    """Of an authenticator app (RFC 6238), sealed; None: there is none."""
    totp_used: Mapped[int] = mapped_column(default=0)
    """The time step of the last code that was accepted: each counts once."""
    attributes: Mapped[dict[str, str]] = mapped_column(default=dict)
    created_at: Mapped[int] = mapped_column(default=lambda: int(time.time()))
    roles: Mapped[list[Role]] = relationship(secondary=account_roles, order_by=Role.id)


class Service(Base):
    """An MCP service: one namespace below `/mcp/`."""

    __tablename__ = "services"

    namespace: Mapped[str] = mapped_column(String(64), primary_key=True)
    label: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    is_default: Mapped[bool] = mapped_column(default=False)
    sources: Mapped[list[str]]
    roles: Mapped[list[str]]
    scopes: Mapped[list[str]] = mapped_column(default=list)
    """The only scopes that count here; empty: all."""
    access_lifetime: Mapped[int] = mapped_column(default=ACCESS_LIFETIME)
    refresh_lifetime: Mapped[int] = mapped_column(default=REFRESH_LIFETIME)
    login_url: Mapped[str] = mapped_column(default="")
    """The page where people sign in for it; empty: our own."""
    clients: Mapped[list["Client"]] = relationship(back_populates="service", order_by="Client.created_at")

    @property
    def own_client(self) -> "Client | None":
        """The one that came with the service: others may be set up for it later."""
        made_with_it = (client for client in self.clients if not client.client_id.startswith(SET_UP))
        return next(made_with_it, self.clients[0] if self.clients else None)


class Client(Base, ClientMixin):
    """An OAuth client (RFC 6749, section 2), in the terms that Authlib asks it in."""

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    secret_hash: Mapped[str | None]
    """None: it has no secret."""
    public: Mapped[bool] = mapped_column(default=False)
    """Whether it may come without any proof of who it is."""
    jwks: Mapped[dict[str, Any] | None]
    """Its public keys (RFC 7517); None: it has none."""
    jwks_uri: Mapped[str | None]
    """Where they come from; None: they came with its registration."""
    name: Mapped[str]
    namespace: Mapped[str | None] = mapped_column(String(64), ForeignKey("services.namespace", ondelete="CASCADE"))
    """The one service that the client belongs to; None: it may ask for any."""
    grant_types: Mapped[list[str]]
    redirect_uris: Mapped[list[str]]
    any_loopback: Mapped[bool] = mapped_column(default=False)
    """Whether every redirect to the user's own computer will do."""
    created_at: Mapped[int] = mapped_column(default=lambda: int(time.time()))
    fresh_until: Mapped[int | None]
    """Of a client that describes itself in a document: when that is to be fetched again."""
    service: Mapped[Service | None] = relationship(back_populates="clients")

    @property
    def set_up(self) -> bool:
        """Whether an administrator set it up, or this server itself."""
        return self.fresh_until is None and not self.client_id.startswith("c_")

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else ""

    def get_allowed_scope(self, scope: object) -> str:
        """All that was asked for: which scopes there are, and which of them are granted, is decided elsewhere."""
        return str(scope or "")

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        if self.any_loopback and is_loopback(redirect_uri):
            return True
        return any(redirect_matches(registered, redirect_uri) for registered in self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret_hash is not None and same_secret(client_secret, self.secret_hash)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Both ways to send the secret prove the same."""
        match method:
            case "none":
                return self.public
            case "private_key_jwt":
                return self.jwks is not None
            case _:
                return self.secret_hash is not None

    def check_response_type(self, response_type: str) -> bool:
        """True: the one response type there is was checked before."""
        return True

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grant_types


class Authorization(Base):
    """What an account granted to a client: a session of that client, named by `sid` in its tokens."""

    __tablename__ = "authorizations"

    sid: Mapped[str] = mapped_column(String(64), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255), ForeignKey("clients.client_id", ondelete="CASCADE"))
    account_id: Mapped[str] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"))
    namespace: Mapped[str] = mapped_column(String(64), ForeignKey("services.namespace", ondelete="CASCADE"))
    resource: Mapped[str]
    scope: Mapped[str]
    sources: Mapped[list[str]]
    """Globs over `<kind>.<source>`: what of their own the account shares."""
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    revoked_at: Mapped[int | None]
    browser: Mapped[str | None] = mapped_column(String(64), index=True)
    """The browser session that it ends with: of the console alone."""
    account: Mapped[Account] = relationship()
    client: Mapped[Client] = relationship()


class AuthorizationCode(Base, AuthorizationCodeMixin):
    """A code of an authorization; used ones stay, so that a second use is recognized."""

    __tablename__ = "authorization_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    sid: Mapped[str] = mapped_column(String(64), ForeignKey("authorizations.sid", ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str]
    """As the client sent it; empty: it sent none."""
    code_challenge: Mapped[str]
    expires_at: Mapped[int]
    used_at: Mapped[int | None]
    authorization: Mapped[Authorization] = relationship()

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.authorization.scope


class RefreshToken(Base, TokenMixin):
    """A refresh token of an authorization; replaced ones stay, so that a second use is recognized."""

    __tablename__ = "refresh_tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    sid: Mapped[str] = mapped_column(String(64), ForeignKey("authorizations.sid", ondelete="CASCADE"), index=True)
    expires_at: Mapped[int]
    rotated_at: Mapped[int | None]
    authorization: Mapped[Authorization] = relationship()

    def check_client(self, client: Client) -> bool:
        return self.authorization.client_id == client.client_id

    def get_scope(self) -> str:
        return self.authorization.scope


class ApiKey(Base):
    """A bearer token of its own, of a person or of a client that acts for itself."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    account_id: Mapped[str] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    namespace: Mapped[str] = mapped_column(String(64), ForeignKey("services.namespace", ondelete="CASCADE"))
    scopes: Mapped[list[str]]
    sources: Mapped[list[str]]
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    account: Mapped[Account] = relationship()


class DeviceRequest(Base):
    """A device that waits for somebody to allow something (RFC 8628)."""

    __tablename__ = "device_requests"

    device_code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    client_id: Mapped[str] = mapped_column(String(255), ForeignKey("clients.client_id", ondelete="CASCADE"))
    resource: Mapped[str]
    """As the client sent it; empty: it sent none."""
    scope: Mapped[str]
    expires_at: Mapped[int] = mapped_column(index=True)
    interval: Mapped[int]
    """Seconds that are to lie between two questions."""
    asked_at: Mapped[int] = mapped_column(default=0)
    """When the device last asked."""
    denied: Mapped[bool] = mapped_column(default=False)
    sid: Mapped[str | None] = mapped_column(
        String(64), ForeignKey("authorizations.sid", ondelete="CASCADE"), index=True
    )
    """Of what was allowed; None: nobody has answered yet."""
    client: Mapped[Client] = relationship()
    authorization: Mapped[Authorization | None] = relationship()

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.authorization.scope if self.authorization else ""


class RecoveryCode(Base):
    """A code that stands in for an authenticator app, once."""

    __tablename__ = "recovery_codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)


class Passkey(Base):
    """A credential of WebAuthn."""

    __tablename__ = "passkeys"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the credential's id."""
    credential_id: Mapped[bytes]
    account_id: Mapped[str] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    public_key: Mapped[bytes]
    """As COSE has it (RFC 9052)."""
    sign_count: Mapped[int]
    created_at: Mapped[int]
    account: Mapped[Account] = relationship()


class UsedAssertion(Base):
    """A signed assertion that counts once (RFC 7523, section 3), for as long as it would be valid."""

    __tablename__ = "used_assertions"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of its issuer and `jti`."""
    expires_at: Mapped[int] = mapped_column(index=True)


class BrowserSession(Base):
    """Somebody who signed in with a browser."""

    __tablename__ = "browser_sessions"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"))
    step: Mapped[str] = mapped_column(String(16), default="")
    """What is still to be done, `code` or `password`: until then nobody is signed in. Empty: nothing."""
    then: Mapped[str] = mapped_column(default="")
    """Where the browser wants to go when it is done."""
    method: Mapped[str] = mapped_column(default="")
    """How it was begun."""
    began_at: Mapped[int] = mapped_column(default=0)
    address: Mapped[str] = mapped_column(default="")
    agent: Mapped[str] = mapped_column(default="")
    """What the browser calls itself."""
    expires_at: Mapped[int] = mapped_column(index=True)
    account: Mapped[Account] = relationship()


class SignIn(Base):
    """Somebody who is on the way to being signed in, at a page elsewhere."""

    __tablename__ = "sign_ins"

    secret_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of what travels with the browser."""
    step: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64))
    tie: Mapped[str] = mapped_column(String(64))
    then: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"))
    address: Mapped[str] = mapped_column(String(64), index=True)
    expires_at: Mapped[int] = mapped_column(index=True)


class Provider(Base):
    """An OpenID Connect provider that people may sign in with."""

    __tablename__ = "providers"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str]
    issuer: Mapped[str]
    client_id: Mapped[str]
    client_secret: Mapped[bytes | None]
    """Sealed, because the provider wants it as it is; None: there is none."""
    scopes: Mapped[list[str]]
    roles: Mapped[list[dict[str, Any]]]
    """`isthmus_auth.providers.RoleRule`, as JSON."""
    attributes: Mapped[dict[str, str]]
    email_domains: Mapped[list[str]]
    allow_private_addresses: Mapped[bool]
    allow_assertions: Mapped[bool] = mapped_column(default=False)
    """Whether its assertions count (enterprise-managed authorization)."""
    create_people: Mapped[bool]
    link_by_email: Mapped[bool]


class ProviderLink(Base):
    """Whose account somebody at a provider has."""

    __tablename__ = "provider_links"

    provider: Mapped[str] = mapped_column(
        String(32), ForeignKey("providers.name", ondelete="CASCADE"), primary_key=True
    )
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(255), ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    roles: Mapped[list[str]]
    """Those that the account has by this provider's word alone."""
    account: Mapped[Account] = relationship()


class Revocation(Base):
    """Tokens issued before a time are void, for as long as one of them could still be valid."""

    __tablename__ = "revocations"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    before: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)


class Outbox(Base):
    """A change of policy on its way to the bus, written together with what it tells."""

    __tablename__ = "outbox"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  (SQLAlchemy's own declaration)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    key: Mapped[str]
    value: Mapped[bytes | None]
    """None: the entry is deleted."""
    expires_at: Mapped[int | None]


class AuditEntry(Base):
    """An event on its way to the audit trail, written together with what it tells."""

    __tablename__ = "audit_entries"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  (SQLAlchemy's own declaration)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    body: Mapped[bytes]
    """JSON."""
