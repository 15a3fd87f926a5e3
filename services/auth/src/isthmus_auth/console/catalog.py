"""The catalog in the console: what is on the bus now, how it does, and who may use it."""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Template

from isthmus_auth import admin_catalog
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console import engines
from isthmus_auth.console.shell import LINES, fragment, page

HERE = "catalog"


@get("/catalog")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> Template:
    """All sources, a page at a time, their workers, and what is not as it should be."""
    context = await _listed(asking, search, after)
    return await page(asking, "console/catalog.html", HERE, context)


@get("/catalog-now")
async def show_list_now(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> Template:
    """The same a moment later, for a page that is open."""
    return fragment(asking, "console/catalog_now.html", await _listed(asking, search, after))


@get("/catalog/add")
async def show_add(asking: NamedDependency[Asking], engine: FromQuery[str] = "") -> Template:
    """What to write into the configuration for another source, and what to start."""
    chosen = engines.ENGINES.get(engine, next(iter(engines.ENGINES.values())))
    return await page(asking, "console/catalog_add.html", HERE, {"engines": engines.ENGINES, "chosen": chosen})


@get("/catalog/{name:str}")
async def show(asking: NamedDependency[Asking], name: FromPath[str]) -> Template:
    """One source."""
    use = await admin_catalog.get_source(asking, name)
    return await page(asking, "console/source.html", HERE, {"use": use, "source": use.source})


@get("/catalog/{name:str}/now")
async def show_now(asking: NamedDependency[Asking], name: FromPath[str]) -> Template:
    """Its figures a moment later, for a page that is open."""
    try:
        use = await admin_catalog.get_source(asking, name)
    except Refusal as refusal:
        if refusal.status_code != 404:
            raise
        return fragment(asking, "console/source_gone.html", {"id": name[:200], "said": refusal.detail})
    return fragment(asking, "console/source_now.html", {"use": use, "source": use.source})


async def _listed(asking: Asking, search: str, after: str) -> dict[str, object]:
    found = await admin_catalog.look(asking, search, after, LINES)
    return {"catalog": found, "search": search, "after": after, "shown_workers": found.workers[:LINES]}
