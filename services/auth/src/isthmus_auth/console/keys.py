"""API keys in the console: of all people and service accounts."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from isthmus.scopes import SCOPES
from isthmus_auth import admin_clients, admin_keys, api_keys
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console.fields import lines, read
from isthmus_auth.console.shell import go, listed, page
from isthmus_auth.keys import DAYS
from isthmus_auth.parameters import Parameters

HERE = "keys"
KEYS = "/admin/keys"


@get("/keys")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """All keys, a page at a time."""
    return await _listed(asking, search, after, done=done)


@post("/keys")
async def change(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template | Redirect:
    """Ends a key."""
    await admin_keys.delete_api_key(asking, form.get("key"))
    return go(KEYS, "ended")


@get("/new-key")
async def show_new(asking: NamedDependency[Asking], account: FromQuery[str] = "") -> Template:
    """The form for another key."""
    return await _new(asking, Parameters({"account_id": [account], "sources": ["**"], "scopes": ["data:read"]}))


@post("/new-key")
async def make(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template:
    """Makes a key, and shows it this once."""
    try:
        asked = read(form, api_keys.NewApiKey, "name", "account_id", "namespace", "scopes", "sources", "days")
        made = await admin_keys.create_api_key(asking, asked)
    except Refusal as refusal:
        return await _new(asking, form, refusal)
    return await _listed(asking, "", "", made=made)


async def _listed(
    asking: Asking, search: str, after: str, *, done: str = "", made: api_keys.MadeApiKey | None = None
) -> Template:
    found = await admin_keys.list_api_keys(asking, search=search, after=after)
    return await listed(
        asking,
        "console/keys.html",
        HERE,
        KEYS,
        found.keys,
        found.next_after,
        search=search,
        after=after,
        done=done,
        more={"made": made},
    )


async def _new(asking: Asking, form: Parameters, refusal: Refusal | None = None) -> Template:
    services = await admin_clients.list_services(asking)
    context = {
        "form": form,
        "chosen": lines(form, "scopes"),
        "scopes": {**SCOPES, api_keys.ADMIN: "The admin REST API; of your own keys alone"},
        "services": {service.namespace: service.label for service in services},
        "days": {str(days): f"{days} days" for days in DAYS},
    }
    return await page(asking, "console/key_new.html", HERE, context, refusal=refusal)
