"""The first page of the console: the way to a connected AI client, and how everything does."""

from litestar import get
from litestar.di import NamedDependency
from litestar.response import Template

from isthmus_auth import admin_catalog, admin_clients
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.audit_reader import Wanted, find
from isthmus_auth.console import connecting
from isthmus_auth.console.audit import Line, lines_of
from isthmus_auth.console.shell import page
from isthmus_auth.seed import CLI, CONSOLE

SOURCES = 5
"""Sources that are named."""
LATEST = 5
"""Calls that are shown."""
LOOKED_AT = 2000
"""Events that are looked at for them: the page asks again and again."""


@get("/")
async def show(asking: NamedDependency[Asking]) -> Template:
    """What is done, and what comes next."""
    services = await admin_clients.list_services(asking)
    catalog = await admin_catalog.look(asking, "", "", SOURCES)
    context = {
        "services": services,
        "apps": connecting.APPS,
        "connected": await asking.read(lambda s, _: connecting.connected_anywhere(s)),
        "catalog": catalog,
        "problems": [finding for finding in catalog.findings if finding.state == "problem"],
        "calls": await _calls(asking),
    }
    return await page(asking, "console/overview.html", "overview", context)


async def _calls(asking: Asking) -> list[Line]:
    """The latest calls of apps; those of the console itself and of the command line do not count."""
    try:
        found = await find(asking.site.publisher.connection, Wanted(event="call"), most=LOOKED_AT)
    except Refusal:
        return []  # the page about the trail says why
    theirs = [one for one in found.events if one.event.get("client") not in (CLI, CONSOLE)]
    return await lines_of(asking, theirs[:LATEST])
