"""The sources that are on the bus now: what a person can choose from. Nothing here decides who may use them."""

from collections.abc import Iterable

import msgspec

from isthmus.grants import Grant, matches_any
from isthmus_auth.models import Account, Service
from isthmus_auth.topology import Watch


class SourceInfo(msgspec.Struct, frozen=True, order=True):
    """A source as its worker advertises it."""

    name: str
    """As globs name it: `<kind>.<source>`."""
    title: str
    description: str


class Sources:
    """What can be chosen from."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def now(self) -> list[SourceInfo]:
        """In order of names; while the bus is away as they were before."""
        seen = await self._watch.now()
        return [SourceInfo(one.id, one.title, one.description) for one in seen.sources if one.instances]


def shareable(sources: Iterable[SourceInfo], account: Account, service: Service) -> list[SourceInfo]:
    """Those that the service exposes and in which the account may do something."""
    roles = [role for role in account.roles if not service.roles or role.id in service.roles]
    grants = [msgspec.convert(grant, Grant) for role in roles for grant in role.grants]
    return [
        source
        for source in sources
        if matches_any(service.sources, source.name) and any(matches_any(g.sources, source.name) for g in grants)
    ]
