"""The catalog as administrators see it: what is on the bus, who may use it, which MCP services expose it."""

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from isthmus.grants import matches_any
from isthmus.survey import SourceStatus
from isthmus_auth import findings, roles
from isthmus_auth.answers import Refusal
from isthmus_auth.findings import Finding
from isthmus_auth.models import Account, Service, account_roles
from isthmus_auth.topology import SeenWorker, Topology

MOST_WORKERS = 200


class Source(SourceStatus, frozen=True, kw_only=True):
    """One source over all its workers."""

    roles: list[str]
    """Ids of the roles that grant something in it, whether somebody has them or not."""
    services: list[str]
    """Namespaces of the MCP services that expose it."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the sources, and all that is to be said of them."""

    bus: bool
    """Whether the bus could be asked; if not, all is as it was before."""
    at: float
    """When it was asked, in seconds since the epoch."""
    findings: list[Finding]
    """Of the whole catalog, problems first."""
    sources: list[Source]
    number: int
    """How many sources the search finds, on all pages."""
    next_after: str | None
    """`after` of the next page; null: there is none."""
    workers: list[SeenWorker]
    """The first 200 worker processes that the search finds, by themselves or by a source of theirs."""
    workers_number: int
    """How many it finds."""


class RoleUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a role grants in a source."""

    id: str
    name: str
    actions: list[str]
    holders: int
    """Accounts that have it and are not disabled."""


class SourceUse(msgspec.Struct, frozen=True, kw_only=True):
    """One source, with who may use it."""

    bus: bool
    """Whether the bus could be asked; if not, all is as it was before."""
    source: Source
    workers: list[SeenWorker]
    """Those that serve it, or did a moment ago."""
    roles: list[RoleUse]
    services: dict[str, str]
    """Namespace → label of those that expose it."""
    findings: list[Finding]


def find(session: Session, seen: Topology, search: str, after: str, most: int) -> Catalog:
    """A page of `most` sources, in order of their ids."""
    access = _Access(session)
    wanted = search.lower()
    found = [s for s in seen.sources if wanted in f"{s.id} {s.title} {s.description} {s.engine}".lower()]
    left = [source for source in found if source.id > after]
    workers = [w for w in seen.workers if wanted in " ".join((w.name, w.id, w.version, *w.sources)).lower()]
    return Catalog(
        bus=seen.bus,
        at=seen.at,
        findings=findings.find(seen, access.granted, access.exposed),
        sources=[access.source(source) for source in left[:most]],
        number=len(found),
        next_after=left[most - 1].id if len(left) > most else None,
        workers=workers[:MOST_WORKERS],
        workers_number=len(workers),
    )


def get(session: Session, seen: Topology, source_id: str) -> SourceUse:
    """Raises Refusal."""
    source = next((source for source in seen.sources if source.id == source_id), None)
    if source is None:
        raise Refusal(404, "No worker serves a source of that name now.")
    access = _Access(session)
    return SourceUse(
        bus=seen.bus,
        source=access.source(source),
        workers=[worker for worker in seen.workers if source_id in worker.sources],
        roles=access.uses(source_id),
        services={s.namespace: s.label for s in access.services if matches_any(s.sources, source_id)},
        findings=[f for f in findings.find(_only(seen, source), access.granted, access.exposed) if f.sources],
    )


class _Access:
    """What roles grant and services expose, read once."""

    def __init__(self, session: Session) -> None:
        counted = (
            select(account_roles.c.role_id, func.count())
            .join(Account, Account.id == account_roles.c.account_id)
            .where(~Account.disabled)
            .group_by(account_roles.c.role_id)
        )
        self.holders: dict[str, int] = {row[0]: row[1] for row in session.execute(counted)}
        self.roles = roles.find(session)
        self.services = list(session.scalars(select(Service).order_by(Service.is_default.desc(), Service.namespace)))
        self.globs = {role.id: {glob for grant in role.grants for glob in grant.sources} for role in self.roles}
        held = [role.id for role in self.roles if self.holders.get(role.id)]
        self.granted = sorted({glob for role in held for glob in self.globs[role]})
        self.exposed = sorted({glob for service in self.services for glob in service.sources})

    def source(self, seen: SourceStatus) -> Source:
        return Source(
            **msgspec.structs.asdict(seen),
            roles=[role for role, globs in self.globs.items() if matches_any(globs, seen.id)],
            services=[s.namespace for s in self.services if matches_any(s.sources, seen.id)],
        )

    def uses(self, source_id: str) -> list[RoleUse]:
        found: list[RoleUse] = []
        for role in self.roles:
            actions = [a for grant in role.grants if matches_any(grant.sources, source_id) for a in grant.actions]
            if actions:
                holders = self.holders.get(role.id, 0)
                found.append(RoleUse(id=role.id, name=role.name, actions=list(dict.fromkeys(actions)), holders=holders))
        return found


def _only(seen: Topology, source: SourceStatus) -> Topology:
    return msgspec.structs.replace(seen, sources=[source])
