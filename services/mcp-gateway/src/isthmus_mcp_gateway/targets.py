"""Look up: from what a client names to what is called on the bus. Names are found here before they become subjects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from isthmus.definitions import Definition
from isthmus.errors import InvalidArguments, NotFound, UnknownSource, UnknownTool, near
from isthmus.messages import Method
from isthmus_mcp_gateway import resources, sources_tool
from isthmus_mcp_gateway.catalog import CatalogEntry
from isthmus_mcp_gateway.views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one request comes down to."""

    method: Method
    name: str
    kind: str
    source: str
    read_only: bool
    arguments: bytes
    """A JSON object."""
    others: frozenset[str] = frozenset()
    """Ids of the further sources that the arguments name."""
    uri: str = ""
    task_support: str = "forbidden"

    @property
    def source_id(self) -> str:
        """`<kind>.<source>`."""
        return f"{self.kind}.{self.source}"


def tool(view: View, name: str, arguments: Mapping[str, Any]) -> Target:
    """What `tools/call` is for. Raises ToolError."""
    if (entry := view.tools.get(name)) is None:
        raise UnknownTool(f"There is no tool {name[:64]!r}.{near(name[:64], [sources_tool.NAME, *view.tools])}")
    named = _sources(view, entry, arguments)
    source = named.pop("")
    return Target(
        method="tools/call",
        name=name,
        kind=entry.kind,
        source=source,
        read_only=entry.definition.annotations.read_only_hint,
        arguments=_encoded(arguments),
        others=frozenset(named.values()),
        task_support=entry.definition.task_support,
    )


def prompt(view: View, name: str, arguments: Mapping[str, str]) -> Target:
    """What `prompts/get` is for. Raises ToolError."""
    if (entry := view.prompts.get(name)) is None:
        raise NotFound(f"There is no prompt {name[:64]!r}.{near(name[:64], view.prompts)}")
    return Target(
        method="prompts/get",
        name=name,
        kind=entry.kind,
        source=_sources(view, entry, arguments)[""],
        read_only=True,
        arguments=_encoded(arguments),
    )


def resource(view: View, uri: str) -> Target:
    """What `resources/read` is for. Raises NotFound."""
    if (found := resources.find(uri, view.resources.values())) is None:
        raise NotFound("There is no resource of that URI; resources/list and resources/templates/list show what is.")
    entry, variables = found
    try:
        source = _sources(view, entry, variables)[""]
    except UnknownSource as error:
        raise NotFound(error.message) from None
    return Target(
        method="resources/read",
        name=entry.definition.name,
        kind=entry.kind,
        source=source,
        read_only=True,
        arguments=_encoded(variables),
        uri=uri,
    )


@dataclass(frozen=True, slots=True)
class Completing:
    """What `completion/complete` asks for."""

    argument: str
    value: str
    known: dict[str, str] = field(default_factory=dict[str, str])


def completion(view: View, entry: CatalogEntry[Definition], wanted: Completing) -> Target | tuple[str, ...]:
    """What `completion/complete` is for, or the values themselves: sources are known here."""
    routes = entry.routing_argument
    if wanted.argument == routes:
        return tuple(name for name in entry.sources if name.startswith(wanted.value))
    if wanted.argument not in view.completions.get(entry.kind, ()):
        return ()
    known = wanted.known.get(routes, "") if routes else ""
    if known and known not in entry.sources:
        return ()
    source, *others = entry.sources
    if not known and routes and others:
        return ()
    return Target(
        method="completion/complete",
        name=wanted.argument,
        kind=entry.kind,
        source=known or source,
        read_only=True,
        arguments=_encoded({"value": wanted.value, "known": wanted.known}),
    )


def _encoded(arguments: Mapping[str, Any]) -> bytes:
    """As JSON. JSON from elsewhere may hold halves of characters, and lists in lists without end."""
    try:
        return msgspec.json.encode(arguments)
    except (UnicodeEncodeError, RecursionError):
        raise InvalidArguments("The arguments hold text that is not Unicode, or are nested too deep.") from None


def _sources(view: View, entry: CatalogEntry[Definition], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The name of the source that the call goes to under "", and the ids of the others by their arguments."""
    routes = entry.routing_argument
    found = {"": entry.sources[0]}
    for argument, kind in entry.definition.sources.items():
        names = entry.sources if argument == routes else tuple(s.name for s in view.sources.values() if s.kind == kind)
        value = arguments.get(argument)
        if value is None and argument != routes:
            continue
        if value is None and len(names) == 1:
            value = names[0]
        if value is None:
            raise InvalidArguments(f"Say which one with `{argument}`.{near('', names)}")
        if value not in names:
            wrong = str(value)[:64]
            raise UnknownSource(f"There is no {argument} {wrong!r} for {entry.definition.name}.{near(wrong, names)}")
        if argument == routes:
            found[""] = value
        else:
            found[argument] = f"{kind}.{value}"
    return found
