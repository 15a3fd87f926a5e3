"""The admin REST API: what is on the bus now."""

from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from isthmus_auth import catalog
from isthmus_auth.administration import MOST, Asking


async def get_catalog(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> catalog.Catalog:
    """Sources, a page at a time, with their workers, their figures, and what is not as it should be."""
    return await look(asking, search, after, MOST)


async def get_source(asking: NamedDependency[Asking], source_id: FromPath[str]) -> catalog.SourceUse:
    """One source, `<kind>.<source>`: its figures in each worker, who may use it, which MCP services expose it."""
    await asking.read(lambda _s, _by: None)  # before the bus is asked
    seen = await asking.site.watch.now()
    return await asking.read(lambda s, _: catalog.get(s, seen, source_id))


async def look(asking: Asking, search: str, after: str, most: int) -> catalog.Catalog:
    """A page of `most` sources."""
    await asking.read(lambda _s, _by: None)
    seen = await asking.site.watch.now()
    return await asking.read(lambda s, _: catalog.find(s, seen, search[:200], after[:200], most))
