"""MCP services in the console: the list, a new one, and of each how to connect, its addresses, its settings."""

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from isthmus.scopes import SCOPES
from isthmus_auth import admin_clients, admin_people, mcp_services
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console import connecting
from isthmus_auth.console.fields import fields_of, lines, read
from isthmus_auth.console.shell import fragment, go, page, part
from isthmus_auth.parameters import Parameters
from isthmus_auth.redirects import SERVICE_REDIRECTS
from isthmus_auth.requested import offered_scopes

HERE = "services"
SERVICES = "/admin/services"
NEW = "/admin/new-service"

DESCRIBED = ("label", "description")
MODERN: dict[str, object] = {"protocolVersion": "2026-07-28", "clientCapabilities": {}}
ADVANCED = ("redirect_uris", "sources", "roles", "scopes", "access_lifetime", "refresh_lifetime", "login_url")


@get("/services")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """All MCP services, a page at a time."""
    found = [
        service
        for service in await admin_clients.list_services(asking)
        if search.lower() in f"{service.namespace} {service.label} {service.description}".lower()
    ]
    rows, next_after = part(found, lambda service: service.namespace, after)
    context = {"services": rows, "search": search, "after": after, "next_after": next_after}
    return await page(asking, "console/services.html", HERE, context, done=done)


@get("/new-service")
async def show_new(asking: NamedDependency[Asking]) -> Template:
    """The form for another service."""
    return await _new(asking, Parameters({"redirect_uris": ["\n".join(SERVICE_REDIRECTS)], "sources": ["**"]}))


@post("/new-service")
async def make(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template:
    """Makes a service, and shows the secret of its client this once."""
    try:
        asked = read(form, mcp_services.NewService, "namespace", *DESCRIBED, *_given(form))
        made = await admin_clients.create_service(asking, asked)
    except Refusal as refusal:
        return await _new(asking, form, refusal)
    return await _shown(asking, made.service, secret=made.client_secret, done="made")


@get("/new-service/check")
async def check(asking: NamedDependency[Asking], namespace: FromQuery[str] = "") -> Template:
    """What there is to say of a namespace while somebody types it."""
    taken = {service.namespace for service in await admin_clients.list_services(asking)}
    try:
        msgspec.convert({"namespace": namespace, "label": "-"}, mcp_services.NewService)
        said = "There is an MCP service of that namespace already." if namespace in taken else ""
    except msgspec.ValidationError:
        said = "Lower-case letters and digits, a letter first, 32 characters at most." if namespace else ""
    endpoint = asking.site.origins.endpoint(namespace) if namespace and not said else ""
    return fragment(asking, "console/namespace.html", {"said": said, "endpoint": endpoint})


@get("/services/{namespace:str}")
async def show(asking: NamedDependency[Asking], namespace: FromPath[str], done: FromQuery[str] = "") -> Template:
    """How clients connect to a service."""
    return await _shown(asking, await admin_clients.get_service(asking, namespace), done=done)


@post("/services/{namespace:str}")
async def change(
    asking: NamedDependency[Asking], form: NamedDependency[Parameters], namespace: FromPath[str]
) -> Template | Redirect:
    """Changes a service, makes another secret for its client, or deletes it."""
    match form.get("action"):
        case "rotate":
            made = await admin_clients.rotate_secret(asking, namespace)
            return await _shown(asking, made.service, secret=made.client_secret)
        case "delete":
            await admin_clients.delete_service(asking, namespace)
            return go(SERVICES, "deleted")
        case _:
            try:
                asked = read(form, mcp_services.ServiceChange, *DESCRIBED, *ADVANCED)
                await admin_clients.change_service(asking, namespace, asked)
            except Refusal as refusal:
                return await _settings(asking, namespace, form, refusal)
            return go(f"{SERVICES}/{namespace}/settings", "saved")


@get("/services/{namespace:str}/docs")
async def show_docs(asking: NamedDependency[Asking], namespace: FromPath[str]) -> Template:
    """The addresses of a service, and what to send there."""
    service = await admin_clients.get_service(asking, namespace)
    context = {
        "tab": "docs",
        "service": service,
        "issuer": asking.site.origins.issuer,
        "metadata": asking.site.origins.metadata("" if service.is_default else service.namespace),
        "scopes": " ".join(offered_scopes("", service.scopes)),
        "all_scopes": " ".join(service.scopes or SCOPES),
        "tools_list": _request("tools/list"),
        "tools_call": _request("tools/call", name="list_sources", arguments={}),
    }
    return await page(asking, "console/service_docs.html", HERE, context)


@get("/services/{namespace:str}/settings")
async def show_settings(
    asking: NamedDependency[Asking], namespace: FromPath[str], done: FromQuery[str] = ""
) -> Template:
    """What a service is called, what it exposes, and to whom."""
    return await _settings(asking, namespace, None, done=done)


@get("/services/{namespace:str}/connected")
async def show_connected(asking: NamedDependency[Asking], namespace: FromPath[str]) -> Template:
    """Which apps have connected: parts for the page that shows how to."""
    service = await admin_clients.get_service(asking, namespace)
    connected = await asking.read(lambda s, _: connecting.connected(s, service.namespace))
    return fragment(asking, "console/connected.html", {"apps": connecting.APPS, "connected": connected})


async def _shown(asking: Asking, service: mcp_services.Service, *, secret: str = "", done: str = "") -> Template:
    context = {
        "tab": "connect",
        "service": service,
        "secret": secret,
        "apps": connecting.APPS,
        "connected": await asking.read(lambda s, _: connecting.connected(s, service.namespace)),
        "links": connecting.links(service),
        "local": connecting.is_local(service),
    }
    return await page(asking, "console/service.html", HERE, context, done=done)


async def _new(asking: Asking, form: Parameters, refusal: Refusal | None = None) -> Template:
    context = {"form": form, "endpoint": asking.site.origins.endpoint("…"), **await _choices(asking, form)}
    return await page(asking, "console/service_new.html", HERE, context, refusal=refusal)


async def _settings(
    asking: Asking, namespace: str, form: Parameters | None, refusal: Refusal | None = None, done: str = ""
) -> Template:
    service = await admin_clients.get_service(asking, namespace)
    form = form or fields_of(service, *DESCRIBED, *ADVANCED)
    context = {"tab": "settings", "service": service, "form": form, **await _choices(asking, form)}
    return await page(asking, "console/service_settings.html", HERE, context, done=done, refusal=refusal)


async def _choices(asking: Asking, form: Parameters) -> dict[str, object]:
    """What a form for a service offers: roles, scopes, sources that are there now."""
    return {
        "chosen": {name: lines(form, name) for name in ("roles", "scopes")},
        "roles": {role.id: role.name for role in await admin_people.list_roles(asking)},
        "scopes": SCOPES,
        "sources": [source.name for source in await asking.site.sources.now()],
    }


def _request(method: str, **params: object) -> str:
    """A request of MCP 2026-07-28, as JSON."""
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in MODERN.items()}
    return msgspec.json.encode(
        {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    ).decode()


def _given(form: Parameters) -> list[str]:
    """Which of the advanced fields say something; the others are as they usually are."""
    return [name for name in ADVANCED if lines(form, name)]
