"""URIs of resources: from the URI that a client names to the definition it belongs to (RFC 6570)."""

from collections.abc import Iterable
from functools import lru_cache

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from isthmus_mcp_gateway.catalog import CatalogResource, precedence

LONGEST = 4096
"""Characters of a URI."""


@lru_cache(maxsize=1024)
def parse(template: str) -> UriTemplate | None:
    """The template; None: a worker made something else of it, so it is not there."""
    try:
        return UriTemplate.parse(template)
    except InvalidUriTemplate:
        return None


def find(uri: str, resources: Iterable[CatalogResource]) -> tuple[CatalogResource, dict[str, str]] | None:
    """The resource that the URI belongs to, with the template's variables.

    Of several the most exact template wins, among those of one kind: no other worker can stand before our own.
    """
    found: list[tuple[tuple[tuple[bool, str], int, str], CatalogResource, dict[str, str]]] = []
    for resource in resources:
        template = parse(resource.definition.uri_template)
        values = template.match(uri, max_uri_length=LONGEST) if template is not None else None
        if template is not None and values is not None:
            texts = {name: value for name, value in values.items() if isinstance(value, str)}
            order = (precedence(resource.kind), len(template.variable_names), template.template)
            found.append((order, resource, texts))
    if not found:
        return None
    _, resource, values = min(found, key=lambda each: each[0])
    return resource, values
