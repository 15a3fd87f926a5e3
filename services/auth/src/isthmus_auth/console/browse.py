"""What is in a source, as whoever is signed in may see it: tables and files through the tools themselves.

So what a role hides or masks is hidden and masked here, too, and there is no second way to the data.
"""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Template

from isthmus_auth.administration import Asking
from isthmus_auth.console.browse_files import folder
from isthmus_auth.console.browse_tables import tables
from isthmus_auth.console.source_pages import closed, framed, opened
from isthmus_auth.gateway_client import GatewayError


@get("/browse/{name:str}")
async def show(
    asking: NamedDependency[Asking],
    name: FromPath[str],
    service: FromQuery[str] = "",
    search: FromQuery[str] = "",
    after: FromQuery[str] = "",
    path: FromQuery[str] = "",
    where: FromQuery[str] = "names",
    cursor: FromQuery[str] = "",
) -> Template:
    """The tables of a database, a folder of a file store, or the tools of anything else."""
    try:
        toolbox, source = await opened(asking, service, name)
        if source.kind == "db":
            return await tables(asking, toolbox, source, search, after)
        if source.kind == "file":
            return await folder(asking, toolbox, source, path.strip("/"), search, where, cursor)
    except GatewayError as error:
        return await closed(asking, service, name, error)
    usable = [tool for tool in toolbox.tools if tool.name in source.tools]
    return await framed(asking, "console/browse_tools.html", toolbox, source, {"tools": usable})
