"""What is not as it should be on the bus, and what to do next: the sentences of the catalog."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from isthmus import subjects
from isthmus.grants import matches_any
from isthmus.survey import SourceStatus
from isthmus_auth.topology import Topology

NAMED = 3
"""Sources that a sentence names; more are counted."""
ERRORS = 10
"""Failed calls from which on a tenth of all calls is many."""

ROLES, SERVICES, ADD = "/admin/roles", "/admin/services", "/admin/catalog/add"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing, and what to do next."""

    state: Literal["problem", "hint"]
    """A problem stands in the way of calls, a hint may be just as you want it."""
    about: str
    """`bus`, `workers`, `sources`, `roles` or `services`."""
    text: str
    cure: str
    page: str = ""
    """Where in the console to do it."""
    sources: list[str] = []
    """The first hundred sources that it is about."""


def find(seen: Topology, granted: list[str], exposed: list[str]) -> list[Finding]:
    """Problems first. `granted` and `exposed` are globs of what somebody's roles grant, and of what services expose."""
    if not seen.bus:
        return [
            Finding(
                state="problem",
                about="bus",
                text="The bus is away, so nobody can be asked. What you see is how it was before.",
                cure="See that nats-server runs and ISTHMUS_NATS_URL of auth names it; auth comes back by itself.",
            )
        ]
    found = [*_of_workers(seen), *_of_sources(seen), *_of_access(seen, granted, exposed)]
    return sorted(found, key=lambda finding: finding.state != "problem")


def _of_workers(seen: Topology) -> Iterator[Finding]:
    there = {worker.name for worker in seen.workers if worker.gone_for is None}
    if not seen.complete:
        yield Finding(
            state="problem",
            about="workers",
            text="There are more workers or sources than can be shown; some are left out.",
            cure="Look for a worker that has far too many: `isthmus status`.",
        )
    lost = sorted({worker.name for worker in seen.workers} - there)
    for name in lost:
        yield Finding(
            state="problem",
            about="workers",
            text=f"No {name} answers any more.",
            cure=f"Start it again; the end of its log says why it went ({name}.log, or `docker compose logs {name}`).",
        )
    for kind in subjects.BUILT_IN:
        if (name := f"{kind}-worker") not in {*there, *lost}:
            what = "databases" if kind == "db" else "folders and buckets"
            yield Finding(
                state="hint" if there or lost else "problem",
                about="workers",
                text=f"No {name} is on the bus, so {what} cannot be used.",
                cure="Add a source: there is what to start.",
                page=ADD,
            )
    versions: defaultdict[str, set[str]] = defaultdict(set)
    for worker in seen.workers:
        if worker.gone_for is None:
            versions[worker.name].add(worker.version)
    for name, several in versions.items():
        if len(several) > 1:
            yield Finding(
                state="hint",
                about="workers",
                text=f"The workers {name} are of different versions: {', '.join(sorted(several)[:5])}.",
                cure="Bring them to the same one: clients see the newest tools, which older workers may refuse.",
            )


def _of_sources(seen: Topology) -> Iterator[Finding]:
    yield from _each(
        [source for source in seen.sources if source.conflict],
        lambda names, many: Finding(
            state="problem",
            about="sources",
            text=f"Workers serve different targets under the name{'s' * many} {names}, so nobody can call "
            f"{'them' if many else 'it'}.",
            cure="Rename one of them in the configuration of its worker.",
        ),
    )
    yield from _each(
        [source for source in seen.sources if not source.instances],
        lambda names, many: Finding(
            state="problem",
            about="sources",
            text=f"The worker{'s' * many} of {names} {'do' if many else 'does'} not answer any more.",
            cure="Start it again, or find out what keeps it from the bus.",
        ),
    )
    yield from _each(
        [source for source in seen.sources if 0 < source.total.limit <= source.total.in_flight],
        lambda names, many: Finding(
            state="problem",
            about="sources",
            text=f"{names} {'are' if many else 'is'} at the limit: further calls wait.",
            cure="See what takes long on the page of the source. Then raise its `limit`, or start another worker.",
        ),
    )
    yield from _each(
        [one for one in seen.sources if one.total.errors >= max(ERRORS, one.total.calls / 10)],
        lambda names, many: Finding(
            state="problem",
            about="sources",
            text=f"A tenth or more of the calls of {names} failed since {'their' if many else 'its'} workers started.",
            cure="See the last error on the page of the source, and the log of its worker.",
        ),
    )


def _of_access(seen: Topology, granted: list[str], exposed: list[str]) -> Iterator[Finding]:
    yield from _each(
        [source for source in seen.sources if not matches_any(granted, source.id)],
        lambda names, many: Finding(
            state="hint",
            about="roles",
            text=f"Nobody may use {names} yet.",
            cure="Make a role that grants it, or more than one, and give it to somebody."
            if many
            else "Make a role that grants it, and give it to somebody.",
            page=ROLES,
        ),
    )
    yield from _each(
        [source for source in seen.sources if not matches_any(exposed, source.id)],
        lambda names, many: Finding(
            state="hint",
            about="services",
            text=f"No MCP service exposes {names}, so no client sees {'them' if many else 'it'}.",
            cure="Add it to the exposed sources of a service.",
            page=SERVICES,
        ),
    )


def _each(sources: Iterable[SourceStatus], say: Callable[[str, bool], Finding]) -> Iterator[Finding]:
    """One sentence for all that have the same trouble; none where nobody has."""
    ids = [source.id for source in sources]
    if ids:
        names = ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
        yield msgspec.structs.replace(say(names, len(ids) > 1), sources=ids[:100])
