"""OpenID Connect providers that people may sign in with; made, changed and deleted by administrators."""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from isthmus.origins import Origins
from isthmus_auth import outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.models import Provider as Row
from isthmus_auth.models import ProviderLink
from isthmus_auth.openid import Party
from isthmus_auth.people import Words, roles_of
from isthmus_auth.redirects import web_problem
from isthmus_auth.sealing import Sealing

MOST = 20
"""Providers there can be: each is a button."""

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Claim = Annotated[str, Meta(min_length=1, max_length=200)]
Scopes = Annotated[list[Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]{1,200}$")]], Meta(max_length=20)]
Attributes = Annotated[dict[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Claim], Meta(max_length=50)]
Domains = Annotated[list[Annotated[str, Meta(pattern=r"^[a-z0-9.-]{1,253}$")]], Meta(max_length=100)]


class RoleRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose claim says so has these roles."""

    claim: Claim
    """Its name; `a.b` also means `b` in the object `a`."""
    value: Annotated[str, Meta(max_length=1000)]
    """What it is, or one of the values in its list."""
    roles: Words


class NewProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider as it is to be."""

    label: Annotated[str, Meta(min_length=1, max_length=60)]
    """What its button says."""
    issuer: Annotated[str, Meta(max_length=2000)]
    client_id: Annotated[str, Meta(min_length=1, max_length=1000)]
    client_secret: Annotated[str, Meta(max_length=1000)] | msgspec.UnsetType = msgspec.UNSET
    """Left out: the one of before, for the same issuer and client; empty: it has none."""
    scopes: Scopes = msgspec.field(default_factory=lambda: ["openid", "email", "profile"])
    roles: Annotated[list[RoleRule], Meta(max_length=100)] = []
    """Set anew at each sign-in; roles that an administrator gave stay."""
    attributes: Attributes = {}
    """Which claim becomes which attribute; set anew at each sign-in."""
    allow_private_addresses: bool = False
    """Whether it may be on this machine or in its network."""
    allow_assertions: bool = False
    """Whether it may say for people what a client may do for them, without their being asked (ID-JAG)."""
    create_people: bool = False
    """Whether somebody who has no account gets one."""
    link_by_email: bool = False
    """Whether somebody whose e-mail address the provider vouches for gets the account that has it."""
    email_domains: Domains = []
    """The only ones that people may have addresses of; empty: all."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider; its secret is not shown."""

    name: str
    label: str
    issuer: str
    client_id: str
    scopes: list[str]
    roles: list[RoleRule]
    attributes: dict[str, str]
    allow_private_addresses: bool
    allow_assertions: bool
    create_people: bool
    link_by_email: bool
    email_domains: list[str]
    redirect_uri: str
    """To be registered at the provider."""


def find(session: Session, origins: Origins) -> list[Provider]:
    """All of them, in order of their labels."""
    return [_provider(row, origins) for row in session.scalars(select(Row).order_by(Row.label, Row.name))]


def get(session: Session, origins: Origins, name: str) -> Provider:
    """Raises Refusal."""
    return _provider(row_of(session, name), origins)


def put(session: Session, origins: Origins, sealing: Sealing, name: str, asked: NewProvider) -> Provider:
    """Makes the provider, or changes it. Raises Refusal."""
    if said := web_problem(asked.issuer, "issuer"):
        raise Refusal(400, said)
    if "?" in asked.issuer:
        raise Refusal(400, "issuer must not have a query.")
    roles_of(session, list({role for rule in asked.roles for role in rule.roles}))
    row = _row(session, name)
    same = row is not None and (row.issuer, row.client_id) == (asked.issuer, asked.client_id)
    if asked.client_secret is msgspec.UNSET and not same:
        raise Refusal(400, "Send the client_secret that belongs to this issuer and client_id; empty if there is none.")
    if row is None:
        row = _new(session, name)
    elif row.issuer != asked.issuer:
        raise Refusal(409, "Another issuer is another provider: its people are not those of this one. Make a new one.")
    row.label, row.issuer, row.client_id = asked.label, asked.issuer, asked.client_id
    if asked.client_secret is not msgspec.UNSET:
        row.client_secret = sealing.seal(asked.client_secret, _what(name)) if asked.client_secret else None
    row.scopes, row.attributes, row.email_domains = asked.scopes, asked.attributes, asked.email_domains
    row.roles = msgspec.to_builtins(asked.roles)
    row.allow_private_addresses = asked.allow_private_addresses
    row.allow_assertions = asked.allow_assertions
    row.create_people, row.link_by_email = asked.create_people, asked.link_by_email
    session.add(row)
    session.flush()
    return _provider(row, origins)


def remove(session: Session, name: str) -> None:
    """Deletes the provider; the roles that it gave go with it, the accounts stay. Raises Refusal."""
    row = row_of(session, name)
    for link in session.scalars(select(ProviderLink).where(ProviderLink.provider == name)):
        link.account.roles = [role for role in link.account.roles if role.id not in link.roles]
        outbox.record_account(session, link.account)
        session.delete(link)
    session.flush()
    session.delete(row)


def row_of(session: Session, name: str) -> Row:
    """Raises Refusal."""
    row = _row(session, name)
    if row is None:
        raise Refusal(404, "There is no provider of that name.")
    return row


def party(row: Row, origins: Origins, sealing: Sealing) -> Party:
    """The provider as the protocol needs it, with its secret."""
    return Party(
        name=row.name,
        issuer=row.issuer,
        client_id=row.client_id,
        client_secret=sealing.open(row.client_secret, _what(row.name)) if row.client_secret else "",
        scopes=tuple(row.scopes),
        local=row.allow_private_addresses,
        redirect_uri=_redirect_uri(row.name, origins),
    )


def _row(session: Session, name: str) -> Row | None:
    return None if "\0" in name else session.get(Row, name)


def _new(session: Session, name: str) -> Row:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise Refusal(400, "The name of a provider has lower-case letters, digits and -, a letter first.") from None
    if (session.scalar(select(func.count()).select_from(Row)) or 0) >= MOST:
        raise Refusal(409, f"There can be {MOST} providers.")
    return Row(name=name)


def _what(name: str) -> str:
    return f"provider {name}"


def _redirect_uri(name: str, origins: Origins) -> str:
    return f"{origins.issuer}/sign-in/with/{name}/callback"


def _provider(row: Row, origins: Origins) -> Provider:
    return Provider(
        name=row.name,
        label=row.label,
        issuer=row.issuer,
        client_id=row.client_id,
        scopes=row.scopes,
        roles=msgspec.convert(row.roles, list[RoleRule]),
        attributes=row.attributes,
        allow_private_addresses=row.allow_private_addresses,
        allow_assertions=row.allow_assertions,
        create_people=row.create_people,
        link_by_email=row.link_by_email,
        email_domains=row.email_domains,
        redirect_uri=_redirect_uri(row.name, origins),
    )
