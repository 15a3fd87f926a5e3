"""What one caller sees of the catalog: the tools and sources that scope, grants and consent allow."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import mcp_types as types
import msgspec

from isthmus.definitions import JsonSchema
from isthmus_mcp_gateway.catalog import Catalog, CatalogSource, CatalogTool
from isthmus_mcp_gateway.policy import Policy
from isthmus_mcp_gateway.tokens import Claims

ENUMERATED = 20
"""Sources that are listed in a tool's schema; a longer list would cost every tool too much."""

CACHED = 1000
"""Callers whose views are kept between two changes."""


@dataclass(frozen=True, slots=True)
class View:
    """One caller's part of the catalog."""

    sources: dict[str, CatalogSource]
    """By id; those that the caller has any grant for."""
    usable: dict[str, tuple[str, ...]]
    """Tool → names of the sources that the caller may use it on; tools without any are left out."""
    tools: list[types.Tool]


@dataclass(slots=True)
class Views:
    """Makes views, and keeps them until catalog or policy change."""

    own: tuple[types.Tool, ...]
    """The gateway's own tools, which every caller with any source has."""
    _kept: dict[tuple[str, str, str, str], View] = field(default_factory=dict[tuple[str, str, str, str], View])

    def forget(self) -> None:
        """Catalog or policy are another."""
        self._kept.clear()

    def of(self, claims: Claims, catalog: Catalog, policy: Policy) -> View:
        """The caller's view."""
        key = (claims.sub, claims.service, claims.sid, claims.scope)
        view = self._kept.get(key)
        if view is None:
            if len(self._kept) >= CACHED:
                self._kept.clear()
            view = self._kept[key] = self._make(claims, catalog, policy)
        return view

    def _make(self, claims: Claims, catalog: Catalog, policy: Policy) -> View:
        granted = {source: policy.granted(claims, source) for source in catalog.sources}
        scopes = claims.scope.split()
        usable: dict[str, tuple[str, ...]] = {}
        tools = list(self.own)
        for name, tool in catalog.tools.items():
            actions = tool.definition.actions
            allowed = tuple(s for s in tool.sources if granted[f"{tool.kind}.{s}"].allows_any(actions))
            if allowed and tool.definition.scope in scopes:
                usable[name] = allowed
                tools.append(_tool(tool, allowed))
        sources = {name: source for name, source in catalog.sources.items() if granted[name].grants}
        return View(sources, usable, sorted(tools, key=lambda tool: tool.name))


def routing_argument(tool: CatalogTool) -> str:
    """The argument that names the source which a call goes to."""
    return next(iter(tool.definition.sources))


def _tool(tool: CatalogTool, allowed: tuple[str, ...]) -> types.Tool:
    """The definition with this caller's sources in its schema."""
    definition = tool.definition
    return types.Tool(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        input_schema=_with_sources(definition.input_schema, tool, allowed),
        output_schema=None if definition.output_schema is msgspec.UNSET else definition.output_schema,
        annotations=types.ToolAnnotations.model_validate(msgspec.to_builtins(definition.annotations)),
    )


def _with_sources(schema: JsonSchema, tool: CatalogTool, allowed: tuple[str, ...]) -> JsonSchema:
    arguments = [name for name, kind in tool.definition.sources.items() if kind == tool.kind]
    properties = {**schema.get("properties", {}), **dict(_choices(arguments, tool.kind, allowed))}
    required = [name for name in schema.get("required", []) if name not in arguments]
    if len(allowed) > 1:
        required = [*arguments[:1], *required]
    changed = {**schema, "properties": properties, "required": required}
    if not required:
        del changed["required"]
    return changed


def _choices(arguments: list[str], kind: str, allowed: tuple[str, ...]) -> Iterator[tuple[str, JsonSchema]]:
    for name in arguments:
        if len(allowed) <= ENUMERATED:
            yield name, {"type": "string", "enum": list(allowed)}
        else:
            text = f"One of {len(allowed)} names; list_sources with kind={kind!r} finds them."
            yield name, {"type": "string", "description": text}
