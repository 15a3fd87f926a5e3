"""Connected apps in the console: what people have allowed to which client."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from isthmus_auth import admin_people
from isthmus_auth.administration import Asking
from isthmus_auth.console.shell import go, listed
from isthmus_auth.parameters import Parameters

HERE = "apps"
APPS = "/admin/apps"


@get("/apps")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """What is allowed now, a page at a time."""
    found = await admin_people.list_consents(asking, search=search, after=after)
    rows, left = found.consents, found.next_after
    return await listed(asking, "console/apps.html", HERE, APPS, rows, left, search=search, after=after, done=done)


@post("/apps")
async def end(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Redirect:
    """Ends what somebody allowed."""
    await admin_people.delete_consent(asking, form.get("sid"))
    return go(APPS, "ended")
