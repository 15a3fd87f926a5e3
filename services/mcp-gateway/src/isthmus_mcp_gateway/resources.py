"""URIs of resources: from the URI that a client names to the definition it belongs to (RFC 6570)."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

from isthmus.grants import Granted
from isthmus_mcp_gateway.catalog import CatalogResource, precedence

LONGEST = 4096
"""Characters of a URI."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f]*")
_EXPRESSION = re.compile(r"\{[^{}]*\}")


@lru_cache(maxsize=1024)
def parse(template: str) -> UriTemplate | None:
    """The template; None: a worker made something else of it, so it is not there. Its scheme must be its own."""
    if _URI.fullmatch(template) is None:
        return None
    try:
        return UriTemplate.parse(template)
    except InvalidUriTemplate:
        return None


def find(uri: str, resources: Iterable[CatalogResource]) -> tuple[CatalogResource, dict[str, str]] | None:
    """The resource that the URI belongs to, with the template's variables.

    Of several templates the one that says most of it wins, among those of one kind: no other worker can stand before
    our own.
    """
    if len(uri) > LONGEST or _URI.fullmatch(uri) is None:
        return None
    found: list[tuple[CatalogResource, dict[str, str]]] = []
    for resource in resources:
        template = parse(resource.definition.uri_template)
        if template is not None and (values := template.match(uri)) is not None:
            found.append((resource, {name: value for name, value in values.items() if isinstance(value, str)}))
    return min(found, key=lambda each: _rank(each[0]), default=None)


def _rank(resource: CatalogResource) -> tuple[tuple[bool, str], int, str]:
    template = resource.definition.uri_template
    return precedence(resource.kind), -len(_EXPRESSION.sub("", template)), template


def belongs_to(uri: str, kind: str, source: str, resources: Iterable[CatalogResource]) -> bool:
    """Whether a worker of this kind may speak of the URI for this source."""
    if (found := find(uri, resources)) is None:
        return False
    entry, variables = found
    return entry.kind == kind and source in entry.sources and variables.get(entry.routing_argument, source) == source


def may_read(uri: str, resources: Iterable[CatalogResource], granted: Callable[[str], Granted]) -> bool:
    """Whether the caller may, as far as it can be said without the worker; `granted` takes `<kind>.<source>`."""
    if (found := find(uri, resources)) is None:
        return False
    entry, variables = found
    source = variables.get(entry.routing_argument, entry.sources[0])
    grants = granted(f"{entry.kind}.{source}")
    target = variables.get(entry.definition.object, "")  # without one: the source as a whole
    allowed = any(grants.access(action, target) is not None for action in entry.definition.actions)
    return source in entry.sources and allowed
