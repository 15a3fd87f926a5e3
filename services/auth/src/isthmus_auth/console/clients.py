"""OAuth clients in the console: all that are known, and those that administrators set up."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Redirect, Template

from isthmus_auth import admin_clients, admin_people, client_accounts
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.client_accounts import JWT_BEARER, OWN
from isthmus_auth.console.fields import fields_of, lines, read
from isthmus_auth.console.shell import go, listed, page
from isthmus_auth.device_flow import DeviceGrant
from isthmus_auth.exchange import EXCHANGE
from isthmus_auth.parameters import Parameters

HERE = "clients"
CLIENTS = "/admin/clients"

GRANT_TYPES = {
    "authorization_code": "for people, who allow it in their browser",
    "refresh_token": "and goes on without asking again",
    DeviceGrant.GRANT_TYPE: "for people, who type a code: devices without a browser",
    OWN: "for itself, with roles of its own",
    EXCHANGE: "changes a token for a narrower one",
    JWT_BEARER: "for people, with the assertion of a trusted provider",
}
METHODS = {
    "secret": "A secret, generated and shown once",
    "private_key_jwt": "A key of its own (private_key_jwt)",
    "none": "Nothing: for apps on people's own devices",
}
DESCRIBED = ("name", "redirect_uris", "grant_types")
OF_ITS_OWN = ("roles", "attributes", "disabled")


@get("/clients")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """Clients, a page at a time."""
    found = await admin_clients.list_clients(asking, search, after)
    rows, left = found.clients, found.next_after
    return await listed(
        asking, "console/clients.html", HERE, CLIENTS, rows, left, search=search, after=after, done=done
    )


@get("/new-client")
async def show_new(asking: NamedDependency[Asking]) -> Template:
    """The form for another client."""
    return await _new(asking, Parameters({"grant_types": ["authorization_code", "refresh_token"]}))


@post("/new-client")
async def make(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template:
    """Sets a client up, and shows its secret this once."""
    try:
        fields = ("name", "method", "namespace", "redirect_uris", "grant_types", "jwks_uri", "roles", "attributes")
        given = [name for name in fields if form.get(name)]
        made = await admin_clients.create_client(asking, read(form, client_accounts.NewClient, *given))
    except Refusal as refusal:
        return await _new(asking, form, refusal)
    return await _shown(asking, made.client, secret=made.client_secret or "", done="made")


@get("/client")
async def show(asking: NamedDependency[Asking], client_id: FromQuery[str], done: FromQuery[str] = "") -> Template:
    """A client. Some ids are addresses, so they do not come in the path."""
    return await _shown(asking, await admin_clients.get_client(asking, client_id), done=done)


@post("/client")
async def change(
    asking: NamedDependency[Asking], form: NamedDependency[Parameters], client_id: FromQuery[str]
) -> Template | Redirect:
    """Changes a client, makes another secret for it, or ends it."""
    client = await admin_clients.get_client(asking, client_id)
    try:
        match form.get("action"):
            case "delete":
                await admin_clients.delete_client(asking, client_id)
                return go(CLIENTS, "deleted")
            case "rotate":
                made = await admin_clients.rotate_client_secret(asking, client_id)
                return await _shown(asking, made.client, secret=made.client_secret or "")
            case _:
                names = [name for name in (*DESCRIBED, *OF_ITS_OWN) if f"has-{name}" in form.lists]
                client = await admin_clients.change_client(
                    asking, client_id, read(form, client_accounts.ClientChange, *names)
                )
    except Refusal as refusal:
        return await _shown(asking, client, form=form, refusal=refusal)
    return await _shown(asking, client, done="saved")


async def _new(asking: Asking, form: Parameters, refusal: Refusal | None = None) -> Template:
    services = {service.namespace: service.label for service in await admin_clients.list_services(asking)}
    context = {"form": form, "services": {"": "Any", **services}, "methods": METHODS, **await _choices(asking, form)}
    return await page(asking, "console/client_new.html", HERE, context, refusal=refusal)


async def _shown(
    asking: Asking,
    client: client_accounts.ClientInfo,
    *,
    secret: str = "",
    done: str = "",
    form: Parameters | None = None,
    refusal: Refusal | None = None,
) -> Template:
    form = form if form and "has-name" in form.lists else fields_of(client, *DESCRIBED, *OF_ITS_OWN)
    context = {"client": client, "secret": secret, "form": form, "own": OWN, **await _choices(asking, form)}
    return await page(asking, "console/client.html", HERE, context, done=done, refusal=refusal)


async def _choices(asking: Asking, form: Parameters) -> dict[str, object]:
    return {
        "roles": await admin_people.list_roles(asking),
        "grant_types": GRANT_TYPES,
        "chosen": {name: lines(form, name) for name in ("roles", "grant_types")},
    }
