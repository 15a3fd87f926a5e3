"""What the workers together offer: a pure merge of their advertisements, made anew whenever one changes."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from isthmus import advertising, scopes, subjects
from isthmus.advertising import Advertisement
from isthmus.definitions import Definition, DefinitionSet, PromptDefinition, ResourceDefinition, ToolDefinition

D = TypeVar("D", bound=Definition)
D_co = TypeVar("D_co", bound=Definition, covariant=True)


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


class CatalogEntry(msgspec.Struct, Generic[D_co], frozen=True):
    """One tool, prompt or resource, over all sources that have it."""

    definition: D_co
    kind: str
    """The kind of the workers that run it."""
    sources: tuple[str, ...]
    """Their names, sorted."""

    @property
    def routing_argument(self) -> str:
        """The argument that names the source which a call goes to; empty: none does."""
        return next(iter(self.definition.sources), "")


CatalogTool = CatalogEntry[ToolDefinition]
CatalogPrompt = CatalogEntry[PromptDefinition]
CatalogResource = CatalogEntry[ResourceDefinition]


class Catalog(msgspec.Struct, frozen=True):
    """Sources by id, tools and prompts by name, resources by the template of their URIs; all in order."""

    sources: dict[str, CatalogSource] = {}
    tools: dict[str, CatalogTool] = {}
    prompts: dict[str, CatalogPrompt] = {}
    resources: dict[str, CatalogResource] = {}
    completions: dict[str, frozenset[str]] = {}
    """Kind → the arguments that its workers complete."""

    @property
    def scopes(self) -> list[str]:
        """The scopes that it takes to use all of it."""
        offered = (*self.tools.values(), *self.prompts.values(), *self.resources.values())
        return sorted({entry.definition.scope for entry in offered})

    def names(self, kind: str) -> list[str]:
        """The sources of one kind that can be called."""
        return [s.name for s in self.sources.values() if s.kind == kind and not s.problem]


class _Set(msgspec.Struct, frozen=True):
    """One set of definitions, as one source has it."""

    source: CatalogSource
    digest: str
    definitions: DefinitionSet


def merge(offers: Iterable[Offer], sets: Mapping[str, DefinitionSet], reserved: Iterable[str] = ()) -> Catalog:
    """The catalog of these offers. `reserved` names of tools belong to the gateway itself.

    A source whose workers disagree about its target is shown with the problem and has no tools. A tool's name belongs
    to `db` or `file` before any other kind, else to the first in order; of several definitions the highest version is
    shown, ties by digest, and a tool that writes in one source counts as one that writes. What has the scope of another
    kind does not count.
    """
    by_source: defaultdict[str, list[Offer]] = defaultdict(list)
    for offer in offers:
        by_source[offer.id].append(offer)
    sources = {source_id: _source(by_source[source_id]) for source_id in sorted(by_source)}
    found = [
        _Set(source, digest, sets[digest])
        for source in sources.values()
        if not source.problem
        for digest in {offer.advertisement.definitions for offer in by_source[source.id]}
        if digest in sets
    ]
    completions: defaultdict[str, set[str]] = defaultdict(set)
    for each in found:
        completions[each.source.kind] |= set(filter(subjects.is_name, each.definitions.completions))
    return Catalog(
        sources,
        _merge(found, lambda each: each.tools, lambda tool: tool.name, reserved),
        _merge(found, lambda each: each.prompts, lambda prompt: prompt.name),
        _own_schemes(_merge(found, lambda each: each.resources, lambda resource: resource.uri_template)),
        {kind: frozenset(names) for kind, names in sorted(completions.items())},
    )


def _is_its_own(definition: Definition, kind: str) -> bool:
    """Whether a worker may offer that: under a scope of its own, and about sources of its own.

    Our own kinds may name each other's; a stranger's would get the caller's grants for a database.
    """
    about = {kind} if kind not in subjects.BUILT_IN else {*subjects.BUILT_IN}
    its_own = scopes.belongs_to(definition.scope, kind) and {*definition.sources.values()} <= about
    return its_own and subjects.is_name(definition.name)


def _own_schemes(resources: dict[str, CatalogResource]) -> dict[str, CatalogResource]:
    """A scheme of URIs belongs to one kind, as a tool's name does: no other worker can stand in for its resources."""
    owners: dict[str, str] = {}
    for entry in sorted(resources.values(), key=lambda entry: precedence(entry.kind)):
        owners.setdefault(_scheme(entry), entry.kind)
    return {template: entry for template, entry in resources.items() if owners[_scheme(entry)] == entry.kind}


def _scheme(entry: CatalogResource) -> str:
    return entry.definition.uri_template.partition(":")[0].casefold()


def precedence(kind: str) -> tuple[bool, str]:
    """Of two kinds that offer the same name the smaller has it: our own before others."""
    return kind not in subjects.BUILT_IN, kind


def _merge(
    found: Iterable[_Set],
    offered: Callable[[DefinitionSet], Iterable[D]],
    key: Callable[[D], str],
    reserved: Iterable[str] = (),
) -> dict[str, CatalogEntry[D]]:
    by_key: defaultdict[str, list[tuple[_Set, D]]] = defaultdict(list)
    for each in found:
        for definition in offered(each.definitions):
            if _is_its_own(definition, each.source.kind):
                by_key[key(definition)].append((each, definition))
    merged: dict[str, CatalogEntry[D]] = {}
    for name in sorted(by_key.keys() - set(reserved)):
        kind = min((each.source.kind for each, _ in by_key[name]), key=precedence)
        entries = [(each, definition) for each, definition in by_key[name] if each.source.kind == kind]
        entries.sort(key=lambda entry: (_version(entry[0].definitions.version), entry[0].digest), reverse=True)
        shown = _careful([definition for _, definition in entries])
        merged[name] = CatalogEntry(shown, kind, tuple(sorted({each.source.name for each, _ in entries})))
    return merged


def _careful(definitions: list[D]) -> D:
    """The first of them. A tool that writes in one source and reads in another is one that writes: no call of it is
    sent again, and no client may think it harmless."""
    shown, *others = definitions
    if isinstance(shown, ToolDefinition) and shown.annotations.read_only_hint:
        for other in others:
            if isinstance(other, ToolDefinition) and not other.annotations.read_only_hint:
                return msgspec.structs.replace(shown, annotations=other.annotations)
    return shown


def _source(offers: list[Offer]) -> CatalogSource:
    advertisements = [offer.advertisement for offer in offers]
    shown, conflict = advertising.shown(advertisements), advertising.differ(advertisements)
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
