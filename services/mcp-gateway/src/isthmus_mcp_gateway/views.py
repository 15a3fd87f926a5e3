"""What one caller sees of the catalog: what scope, grants and consent allow of tools, prompts and resources."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import mcp_types as types
import msgspec
from mcp.server.caching import CacheHint
from mcp.shared.inbound import X_MCP_HEADER_KEY, x_mcp_header_map

from isthmus.definitions import Annotations, PromptDefinition
from isthmus.schemas import JsonSchema
from isthmus_mcp_gateway.catalog import (
    Catalog,
    CatalogEntry,
    CatalogPrompt,
    CatalogResource,
    CatalogSource,
    CatalogTool,
    D,
)
from isthmus_mcp_gateway.policy import Policy
from isthmus_mcp_gateway.resources import parse
from isthmus_mcp_gateway.tokens import Claims

ENUMERATED = 20
"""Sources that are listed in a tool's schema; a longer list would cost every tool too much."""

FRESH = CacheHint(ttl_ms=0, scope="private")
"""Never stale: a worker that joined a moment ago is in the next list, for clients that do not listen too."""

CACHED = 1000
"""Callers whose views are kept between two changes."""


@dataclass(frozen=True, slots=True)
class View:
    """One caller's part of the catalog. Entries' sources are those that the caller may use."""

    sources: dict[str, CatalogSource]
    """By id; those that the caller has any grant for."""
    tools: dict[str, CatalogTool]
    prompts: dict[str, CatalogPrompt]
    resources: dict[str, CatalogResource]
    completions: dict[str, frozenset[str]]
    listed_tools: types.ListToolsResult
    tools_json: bytes
    """The same, as it goes to clients of 2026-07-28."""
    plain_tools: frozenset[str]
    """Tools whose calls need nothing of HTTP's headers, and never become tasks."""
    listed_prompts: types.ListPromptsResult
    listed_resources: types.ListResourcesResult
    listed_templates: types.ListResourceTemplatesResult


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
        scopes = claims.scope.split()

        def visible(entries: Mapping[str, CatalogEntry[D]], *, tools: bool = False) -> dict[str, CatalogEntry[D]]:
            seen: dict[str, CatalogEntry[D]] = {}
            for key, entry in entries.items():
                actions, tool = entry.definition.actions, entry.definition.name if tools else ""
                allowed = tuple(
                    source
                    for source in entry.sources
                    if policy.granted(claims, f"{entry.kind}.{source}", tool).allows_any(actions)
                )
                if allowed and entry.definition.scope in scopes:
                    seen[key] = CatalogEntry(entry.definition, entry.kind, allowed)
            return seen

        tools = visible(catalog.tools, tools=True)
        prompts, resources = visible(catalog.prompts), visible(catalog.resources)
        sources = {name: source for name, source in catalog.sources.items() if policy.granted(claims, name).grants}
        all_tools = [*self.own, *(_tool(tool) for tool in tools.values())]
        listed = types.ListToolsResult(
            tools=sorted(all_tools, key=lambda tool: tool.name), ttl_ms=FRESH.ttl_ms, cache_scope=FRESH.scope
        )
        return View(
            sources,
            tools,
            prompts,
            resources,
            catalog.completions,
            listed,
            listed.model_dump_json(by_alias=True, exclude_none=True).encode(),
            frozenset({tool.name for tool in self.own} | {name for name, tool in tools.items() if _is_plain(tool)}),
            types.ListPromptsResult(prompts=[_prompt(prompt) for prompt in prompts.values()]),
            types.ListResourcesResult(resources=[r for entry in resources.values() for r in _listed(entry, sources)]),
            types.ListResourceTemplatesResult(resource_templates=[t for e in resources.values() for t in _template(e)]),
        )


def _is_plain(tool: CatalogTool) -> bool:
    return tool.definition.task_support == "forbidden" and not x_mcp_header_map(tool.definition.input_schema)


def _tool(tool: CatalogTool) -> types.Tool:
    """The definition with this caller's sources in its schema, and without what clients know anyway: a title that
    repeats the name, and hints that are MCP's defaults. What a tool destroys is always said."""
    definition = tool.definition
    return types.Tool(
        name=definition.name,
        title=None if definition.title.lower().replace(" ", "_") == definition.name else definition.title,
        description=definition.description,
        input_schema=_with_sources(definition.input_schema, tool),
        output_schema=None if definition.output_schema is msgspec.UNSET else definition.output_schema,
        annotations=_hints(definition.annotations),
    )


def _hints(known: Annotations) -> types.ToolAnnotations:
    open_world = None if known.open_world_hint else False
    if known.read_only_hint:
        return types.ToolAnnotations(read_only_hint=True, open_world_hint=open_world)
    return types.ToolAnnotations(
        destructive_hint=known.destructive_hint is not False,
        idempotent_hint=True if known.idempotent_hint is True else None,
        open_world_hint=open_world,
    )


def _with_sources(schema: JsonSchema, tool: CatalogTool) -> JsonSchema:
    arguments = [name for name, kind in tool.definition.sources.items() if kind == tool.kind]
    properties: dict[str, JsonSchema | bool] = dict(schema.get("properties", {}))
    for name, choice in _choices(arguments, tool.kind, tool.sources):
        own = properties.get(name)
        header = {X_MCP_HEADER_KEY: own[X_MCP_HEADER_KEY]} if isinstance(own, dict) and X_MCP_HEADER_KEY in own else {}
        properties[name] = {**choice, **header}
    required = [name for name in schema.get("required", []) if name not in arguments]
    if len(tool.sources) > 1:
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


def _prompt(prompt: CatalogPrompt) -> types.Prompt:
    definition: PromptDefinition = prompt.definition
    several = len(prompt.sources) > 1
    return types.Prompt(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        arguments=[
            types.PromptArgument(
                name=argument.name,
                description=argument.description or None,
                required=several if argument.name == prompt.routing_argument else argument.required,
            )
            for argument in definition.arguments
        ],
    )


def _listed(entry: CatalogResource, sources: Mapping[str, CatalogSource]) -> Iterator[types.Resource]:
    """The resources that the definition stands for, if its URI needs no more than the name of a source."""
    definition, template = entry.definition, parse(entry.definition.uri_template)
    named = entry.routing_argument
    if template is None or set(template.variable_names) - {named}:
        return
    for name in entry.sources if named else entry.sources[:1]:
        source = sources[f"{entry.kind}.{name}"]
        about = f"{source.title}: {source.description}" if source.description else source.title
        yield types.Resource(
            name=f"{definition.name}_{name}" if named else definition.name,
            title=f"{definition.title}: {source.title}" if named else definition.title,
            uri=template.expand({named: name}),
            description=f"{definition.description} {about}" if named else definition.description,
            mime_type=definition.mime_type or None,
        )


def _template(entry: CatalogResource) -> Iterator[types.ResourceTemplate]:
    definition, template = entry.definition, parse(entry.definition.uri_template)
    if template is not None and template.variable_names:
        yield types.ResourceTemplate(
            name=definition.name,
            title=definition.title,
            uri_template=definition.uri_template,
            description=definition.description,
            mime_type=definition.mime_type or None,
        )
