"""Sessions in the console: browsers that people are signed in with."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from isthmus_auth import admin_people
from isthmus_auth.administration import Asking
from isthmus_auth.browser import Browser
from isthmus_auth.console.shell import go, listed
from isthmus_auth.hashing import digest
from isthmus_auth.parameters import Parameters

HERE = "sessions"
SESSIONS = "/admin/sessions"


@get("/sessions")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """Who is signed in, a page at a time."""
    found = await admin_people.list_sessions(asking, search, after)
    own = digest(asking.caller.id) if isinstance(asking.caller, Browser) else ""
    return await listed(
        asking,
        "console/sessions.html",
        HERE,
        SESSIONS,
        found.sessions,
        found.next_after,
        search=search,
        after=after,
        done=done,
        more={"own": own},
    )


@post("/sessions")
async def end(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Redirect:
    """Signs a browser out."""
    await admin_people.delete_session(asking, form.get("session"))
    return go(SESSIONS, "ended")
