"""What the pages of a source share: who looks at it through which MCP service, and the frame of the page."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from litestar.response import Template

from isthmus_auth import admin_clients
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console.playground import WITH_MEDIA
from isthmus_auth.console.shell import page
from isthmus_auth.console.toolbox import SourceLine, Toolbox, ToolError, looked_up, open_toolbox
from isthmus_auth.gateway_client import GatewayError

HERE = "catalog"

S = TypeVar("S")


async def opened(asking: Asking, service: str, name: str) -> tuple[Toolbox, SourceLine]:
    """The caller's tools and the source `<kind>.<source>`. Raises GatewayError if there is none for the caller."""
    toolbox = await open_toolbox(asking, service)
    source = next((one for one in toolbox.sources if f"{one.kind}.{one.name}" == name), None)
    if source is None:
        raise ToolError(
            "This source is not open to you here. You see what your own roles grant and the MCP service exposes, also "
            "as an administrator."
        )
    if source.problem:
        raise ToolError(source.problem)
    return toolbox, source


async def answer_of(asking: Asking, toolbox: Toolbox, tool: str, arguments: Mapping[str, Any], kind: type[S]) -> S:
    """What a tool answers. Raises GatewayError, ToolError if it says no."""
    return converted(await looked_up(asking, toolbox.access, tool, arguments), kind)


def converted(value: object, kind: type[S]) -> S:
    """Structured content as what it is. Raises GatewayError."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise GatewayError("The worker's answer is not what this console knows; is its version another?") from None


async def framed(
    asking: Asking,
    template: str,
    toolbox: Toolbox,
    source: SourceLine,
    context: Mapping[str, object],
    refusal: Refusal | None = None,
) -> Template:
    """A page of a source."""
    framed = {
        "namespace": toolbox.access.namespace,
        "source": source,
        "id": f"{source.kind}.{source.name}",
        "base": f"/admin/browse/{source.kind}.{source.name}",
        **context,
    }
    return await page(asking, template, HERE, framed, refusal=refusal, headers=WITH_MEDIA)


async def closed(asking: Asking, service: str, name: str, error: GatewayError) -> Template:
    """A source of which there is nothing to see, and why."""
    services = await admin_clients.list_services(asking)
    context = {"id": name[:200], "namespace": service, "services": {one.namespace: one.label for one in services}}
    refusal = Refusal(404 if isinstance(error, ToolError) else 502, str(error))
    return await page(asking, "console/browse_closed.html", HERE, context, refusal=refusal)
