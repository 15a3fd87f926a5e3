"""From what a provider says of somebody to their account here: which it is, and what it may."""

import time
from functools import reduce
from typing import cast

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus_auth import outbox
from isthmus_auth.answers import Refusal
from isthmus_auth.hashing import random_id
from isthmus_auth.models import Account, Provider, ProviderLink, Role
from isthmus_auth.openid import Claims
from isthmus_auth.people import clean_email
from isthmus_auth.providers import RoleRule

LONGEST_ATTRIBUTE = 1000


def wanted(provider: Provider) -> set[str]:
    """The claims that matter: at the top of what the provider says."""
    named = {rule.claim for rule in _rules(provider)} | {*provider.attributes.values()}
    return {"email", *(claim.partition(".")[0] for claim in named)}


def account_of(session: Session, provider: Provider, claims: Claims) -> Account | None:
    """The account of whoever the claims are about, with the roles and attributes that they give; None: they have none.

    Only issuer and `sub` together name somebody (Core 1.0, section 5.7): e-mail addresses change hands.
    """
    email = _vouched_for(claims)
    if provider.email_domains and email.rpartition("@")[2] not in provider.email_domains:
        return None
    link = session.get(ProviderLink, (provider.name, claims["sub"]))
    if link is None:
        account = _account_for(session, provider, email)
        if account is None:
            return None
        link = ProviderLink(provider=provider.name, subject=claims["sub"], account=account, roles=[])
        session.add(link)
    if link.account.disabled:
        return None
    _apply(session, provider, link, claims)
    return link.account


def linked(session: Session, provider: Provider, subject: str) -> Account | None:
    """The account that somebody at the provider has already, with the roles of their last sign-in; None: none."""
    link = session.get(ProviderLink, (provider.name, subject))
    return None if link is None or link.account.disabled else link.account


def values(claims: Claims, name: str) -> list[str]:
    """What a claim says, as text: all values of a list. A name with dots may also lead into objects."""
    said = _within(claims, name)
    if said is None:
        said = reduce(_within, name.split("."), cast("object", claims))
    listed = cast("list[object]", said) if isinstance(said, list) else [said]
    return [_text(one) for one in listed if isinstance(one, str | int | float)]


def _within(value: object, name: str) -> object:
    return cast("Claims", value).get(name) if isinstance(value, dict) else None


def _account_for(session: Session, provider: Provider, email: str) -> Account | None:
    """One that there is, or a new one, as far as the provider's word counts for that."""
    if not email:
        return None
    account = session.scalar(select(Account).where(Account.email == email))
    if account is not None:
        return account if provider.link_by_email else None
    if not provider.create_people:
        return None
    account = Account(
        id=f"u_{random_id()}", email=email, disabled=False, attributes={}, roles=[], created_at=int(time.time())
    )
    session.add(account)
    return account


def _apply(session: Session, provider: Provider, link: ProviderLink, claims: Claims) -> None:
    account = link.account
    ids = {role for rule in _rules(provider) if rule.value in values(claims, rule.claim) for role in rule.roles}
    given = [role for role in account.roles if role.id not in link.roles]
    kept = {role.id for role in given}
    earned = list(session.scalars(select(Role).where(Role.id.in_(ids - kept))))
    account.roles = [*given, *earned]
    link.roles = sorted(role.id for role in earned)
    attributes = {name: value for name, value in account.attributes.items() if name not in provider.attributes}
    for name, claim in provider.attributes.items():
        said = values(claims, claim)
        if len(said) == 1 and len(said[0]) <= LONGEST_ATTRIBUTE and said[0].isprintable():
            attributes[name] = said[0]
    account.attributes = attributes
    outbox.record_account(session, account)


def _vouched_for(claims: Claims) -> str:
    """The e-mail address that the provider has checked; empty: none."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return ""
    try:
        return clean_email(email)
    except Refusal:
        return ""


def _rules(provider: Provider) -> list[RoleRule]:
    return msgspec.convert(provider.roles, list[RoleRule])


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
