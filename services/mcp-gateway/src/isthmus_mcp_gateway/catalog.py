"""What the workers together offer: a pure merge of their advertisements, made anew whenever one changes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from isthmus import scopes, subjects
from isthmus.advertising import Advertisement
from isthmus.definitions import Definition, DefinitionSet


class Offer(msgspec.Struct, frozen=True):
    """One source as one worker instance advertises it."""

    name: str
    advertisement: Advertisement

    @property
    def id(self) -> str:
        """`<kind>.<source>`, as grants name it."""
        return f"{self.advertisement.kind}.{self.name}"


class CatalogSource(msgspec.Struct, frozen=True):
    """One source as all its workers advertise it."""

    kind: str
    name: str
    engine: str
    title: str
    description: str
    access: str
    workers: int
    problem: str = ""
    """Why the source cannot be called, in one sentence; empty: it can."""

    @property
    def id(self) -> str:
        """`<kind>.<source>`, as grants name it."""
        return f"{self.kind}.{self.name}"


class CatalogTool(msgspec.Struct, frozen=True):
    """One tool, over all sources that have it."""

    definition: Definition
    kind: str
    """The kind of the workers that run it."""
    sources: tuple[str, ...]
    """Their names, sorted."""


class Catalog(msgspec.Struct, frozen=True):
    """Sources by id and tools by name, both in order."""

    sources: dict[str, CatalogSource] = {}
    tools: dict[str, CatalogTool] = {}

    @property
    def scopes(self) -> list[str]:
        """The scopes that its tools need."""
        return sorted({tool.definition.scope for tool in self.tools.values()})

    def names(self, kind: str) -> list[str]:
        """The sources of one kind that can be called."""
        return [s.name for s in self.sources.values() if s.kind == kind and not s.problem]


def merge(offers: Iterable[Offer], sets: Mapping[str, DefinitionSet], reserved: Iterable[str] = ()) -> Catalog:
    """The catalog of these offers. `reserved` names belong to the gateway itself.

    A source whose workers disagree about its target is shown with the problem and has no tools. A tool's name belongs
    to `db` or `file` before any other kind, else to the first in order; of several definitions the highest version is
    shown, ties by digest. A tool whose scope is not its kind's does not count.
    """
    by_source: defaultdict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        by_source[offer.id].append(offer)
    sources = {source_id: _source(by_source[source_id]) for source_id in sorted(by_source)}

    found: defaultdict[str, list[tuple[str, tuple[int, ...], str, Definition, str]]] = defaultdict(list)
    for source in sources.values():
        if source.problem:
            continue
        for digest in {offer.advertisement.definitions for offer in by_source[source.id]}:
            if (definitions := sets.get(digest)) is None:
                continue
            for definition in definitions.tools:
                if subjects.is_name(definition.name) and scopes.belongs_to(definition.scope, source.kind):
                    found[definition.name].append(
                        (source.kind, _version(definitions.version), digest, definition, source.name)
                    )
    tools: dict[str, CatalogTool] = {}
    for name in sorted(found.keys() - set(reserved)):
        kind = min((entry[0] for entry in found[name]), key=lambda kind: (kind not in subjects.BUILT_IN, kind))
        entries = [entry for entry in found[name] if entry[0] == kind]
        shown = max(entries, key=lambda entry: (entry[1], entry[2]))
        tools[name] = CatalogTool(shown[3], kind, tuple(sorted({entry[4] for entry in entries})))
    return Catalog(sources, tools)


def _source(offers: list[Offer]) -> CatalogSource:
    shown = min((offer.advertisement for offer in offers), key=lambda a: (a.fingerprint, a.title, a.description))
    conflict = len({offer.advertisement.fingerprint for offer in offers}) > 1
    return CatalogSource(
        kind=shown.kind,
        name=offers[0].name,
        engine=shown.engine,
        title=shown.title,
        description=shown.description,
        access=shown.access,
        workers=len(offers),
        problem="Workers serve different targets under this name; rename one of them." if conflict else "",
    )


def _version(text: str) -> tuple[int, ...]:
    numbers = text.partition("-")[0].partition("+")[0].split(".")
    return tuple(int(number) if number.isdigit() else 0 for number in numbers)
