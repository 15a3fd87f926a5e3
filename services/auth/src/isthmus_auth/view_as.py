"""View as: what an account may do in an MCP service, and why something is denied to it.

This is reckoned by the functions that gateways and workers use, from what is published to them. What a client may do
is less where the person shared less with it, or where its token has fewer scopes; and a source that its worker serves
read-only has no tools that write, whatever roles say.
"""

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus import policy
from isthmus.grants import Grant, Granted, matches_any
from isthmus_auth.answers import Refusal
from isthmus_auth.models import Account, Service
from isthmus_auth.outbox import role_entry, service_entry, user_entry
from isthmus_auth.sources import SourceInfo

Text = Annotated[str, Meta(max_length=1000)]


class SeenGrant(msgspec.Struct, frozen=True):
    """A grant, and the role that it is of."""

    role: str
    grant: Grant


class SeenSource(msgspec.Struct, frozen=True):
    """A source that is there now, as the account sees it."""

    name: str
    """`<kind>.<source>`"""
    title: str
    grants: list[SeenGrant]
    """What is allowed; empty: the source is not there for this account."""
    why: str
    """A sentence where nothing is allowed."""


class View(msgspec.Struct, frozen=True):
    """What an account sees of an MCP service."""

    account_id: str
    namespace: str
    roles: list[str]
    """Those that count here."""
    tools_off: dict[str, list[str]]
    """Of these roles: tools that their grants are not for."""
    calls_per_minute: int
    """0: as many as they like."""
    scopes: list[str]
    """The only ones that the service offers; empty: all."""
    sources: list[SeenSource]


class Verdict(msgspec.Struct, frozen=True):
    """Whether something is allowed."""

    allowed: bool
    because: str
    """One sentence, which names the role or setting that decides."""
    rows: list[str] = []
    """If allowed: only rows for which one of these filters holds; empty: all."""
    hidden: list[str] = []
    masked: list[str] = []


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """May an account do this?"""

    source: str
    action: str
    object: str
    """A table, or a path without a leading slash."""
    tool: str = ""
    scope: str = ""


def view(session: Session, account_id: str, namespace: str, known: list[SourceInfo]) -> View:
    """Raises Refusal. `known` are the sources that there are."""
    eyes = _Eyes(session, account_id, namespace)
    rates = [role.calls_per_minute for role in eyes.roles]
    return View(
        account_id=account_id,
        namespace=eyes.service.namespace,
        roles=[role.id for role in eyes.roles],
        tools_off={role.id: list(role.tools_off) for role in eyes.roles if role.tools_off},
        calls_per_minute=max(rates) if rates and all(rates) else 0,
        scopes=list(eyes.service.scopes),
        sources=[SeenSource(s.name, s.title, eyes.grants(s.name), eyes.closed(s.name)) for s in known],
    )


def explain(session: Session, account_id: str, namespace: str, asked: Question) -> Verdict:
    """Raises Refusal."""
    eyes = _Eyes(session, account_id, namespace)
    if asked.scope and not eyes.service.offers(asked.scope):
        return Verdict(False, f"The service {eyes.service.namespace} does not offer the scope {asked.scope}.")
    if closed := eyes.closed(asked.source):
        return Verdict(False, closed)
    granting = [role for role in eyes.roles if policy.grants_of([role], asked.source)]
    switched = [role for role in granting if asked.tool and not role.grants_for(asked.tool)]
    open_for = [role for role in granting if role not in switched]
    access = Granted.of(policy.grants_of(open_for, asked.source)).access(asked.action, asked.object)
    if access is None:
        if Granted.of(policy.grants_of(granting, asked.source)).access(asked.action, asked.object) is not None:
            return Verdict(False, f"The tool {asked.tool} is off in {_named(switched)}.")
        acts = Granted.of(policy.grants_of(open_for, asked.source)).allows(asked.action)
        what = f"{asked.action} on {asked.object}" if acts else asked.action
        return Verdict(False, f"Nothing in {_named(granting)} grants {what} in {asked.source}.")
    deciding = [
        role
        for role in open_for
        if Granted.of(policy.grants_of([role], asked.source)).access(asked.action, asked.object) is not None
    ]
    return Verdict(
        True, f"{_named(deciding).capitalize()} allows it.", list(access.rows), list(access.hidden), list(access.masked)
    )


class _Eyes:
    """An account in a service, as gateways know both."""

    def __init__(self, session: Session, account_id: str, namespace: str) -> None:
        account = session.get(Account, account_id)
        if account is None:
            raise Refusal(404, "There is no account of that id.")
        wanted = Service.namespace == namespace if namespace else Service.is_default
        service = session.scalar(select(Service).where(wanted))
        if service is None:
            raise Refusal(404, "There is no MCP service of that namespace.")
        self.user, self.service = user_entry(account), service_entry(service)
        self.roles = policy.counting(self.user, self.service, {role.id: role_entry(role) for role in account.roles})

    def grants(self, source: str) -> list[SeenGrant]:
        """What is granted on a source, and by which role."""
        if not matches_any(self.service.sources, source):
            return []
        return [SeenGrant(role.id, grant) for role in self.roles for grant in policy.grants_of([role], source)]

    def closed(self, source: str) -> str:
        """Why nothing at all is allowed on a source; empty: something is."""
        if self.user.disabled:
            return "The account is disabled."
        if not self.user.roles:
            return "The account has no role."
        if not matches_any(self.service.sources, source):
            return f"The service {self.service.namespace} does not expose {source}."
        if not self.roles:
            return f"The service {self.service.namespace} takes only the roles {', '.join(self.service.roles)}."
        return "" if self.grants(source) else f"Nothing in {_named(self.roles)} is about {source}."


def _named(roles: list[policy.Role]) -> str:
    return f"{'the role' if len(roles) == 1 else 'the roles'} {', '.join(role.id for role in roles)}"
