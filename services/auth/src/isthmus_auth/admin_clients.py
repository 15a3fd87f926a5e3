"""The admin REST API: MCP services, OAuth clients, OpenID Connect providers."""

from typing import Annotated

import msgspec
from litestar import delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import Body, FromPath, FromQuery
from sqlalchemy.orm import Session

from isthmus_auth import client_accounts, mcp_services, providers
from isthmus_auth.administration import MOST, Asking, change, read
from isthmus_auth.models import Account
from isthmus_auth.site import Site


@get("/services")
async def list_services(request: Asking, site: NamedDependency[Site]) -> list[mcp_services.Service]:
    """All MCP services."""
    return await read(request, site, lambda s, _: mcp_services.find(s, site.origins))


@post("/services")
async def create_service(
    request: Asking, site: NamedDependency[Site], data: Annotated[mcp_services.NewService, Body()]
) -> mcp_services.ServiceSecret:
    """Makes an MCP service; its client's secret is in this answer alone."""
    return await change(
        request,
        site,
        "create",
        lambda made: f"service {made.service.namespace}",
        lambda s, _: mcp_services.create(s, site.origins, data),
    )


@get("/services/{namespace:str}")
async def get_service(request: Asking, site: NamedDependency[Site], namespace: FromPath[str]) -> mcp_services.Service:
    """One MCP service."""
    return await read(request, site, lambda s, _: mcp_services.get(s, site.origins, namespace))


@patch("/services/{namespace:str}")
async def change_service(
    request: Asking,
    site: NamedDependency[Site],
    namespace: FromPath[str],
    data: Annotated[mcp_services.ServiceChange, Body()],
) -> mcp_services.Service:
    """Changes what is given of an MCP service."""
    return await change(
        request,
        site,
        "update",
        lambda service: f"service {service.namespace}",
        lambda s, _: mcp_services.change(s, site.origins, namespace, data),
    )


@post("/services/{namespace:str}/secret")
async def rotate_secret(
    request: Asking, site: NamedDependency[Site], namespace: FromPath[str]
) -> mcp_services.ServiceSecret:
    """Another secret for the client of an MCP service; it is in this answer alone."""
    return await change(
        request,
        site,
        "secret",
        lambda made: f"service {made.service.namespace}",
        lambda s, _: mcp_services.rotate(s, site.origins, namespace),
    )


@delete("/services/{namespace:str}")
async def delete_service(request: Asking, site: NamedDependency[Site], namespace: FromPath[str]) -> None:
    """Deletes an MCP service with its clients and all that was allowed in it."""
    await change(
        request,
        site,
        "delete",
        lambda _: f"service {namespace}",
        lambda s, _: mcp_services.remove(s, namespace),
    )


class Clients(msgspec.Struct, frozen=True):
    """A page of clients."""

    clients: list[client_accounts.ClientInfo]
    next_after: str | None
    """`after` of the next page; null: there is none."""


@get("/clients")
async def list_clients(
    request: Asking, site: NamedDependency[Site], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> Clients:
    """OAuth clients, in order of their ids, a page at a time."""

    def work(session: Session, _: Account) -> Clients:
        found = client_accounts.find(session, search[:200], after[:255], MOST + 1)
        more = len(found) > MOST
        return Clients(found[:MOST], found[MOST - 1].client_id if more else None)

    return await read(request, site, work)


@post("/clients")
async def create_client(
    request: Asking, site: NamedDependency[Site], data: Annotated[client_accounts.NewClient, Body()]
) -> client_accounts.ClientSecret:
    """Sets a client up; its secret, if it has one, is in this answer alone."""
    return await change(
        request,
        site,
        "create",
        lambda made: f"client {made.client.client_id}",
        lambda s, _: client_accounts.create(s, data),
    )


@get("/clients/{client_id:path}")
async def get_client(
    request: Asking, site: NamedDependency[Site], client_id: FromPath[str]
) -> client_accounts.ClientInfo:
    """One client."""
    return await read(request, site, lambda s, _: client_accounts.get(s, _plain(client_id)))


@patch("/clients/{client_id:path}")
async def change_client(
    request: Asking,
    site: NamedDependency[Site],
    client_id: FromPath[str],
    data: Annotated[client_accounts.ClientChange, Body()],
) -> client_accounts.ClientInfo:
    """Changes what is given of a client."""
    return await change(
        request,
        site,
        "update",
        lambda client: f"client {client.client_id}",
        lambda s, _: client_accounts.change(s, _plain(client_id), data),
    )


@delete("/clients/{client_id:path}")
async def delete_client(request: Asking, site: NamedDependency[Site], client_id: FromPath[str]) -> None:
    """Ends a client with all that it was allowed."""
    await change(
        request,
        site,
        "delete",
        lambda _: f"client {_plain(client_id)}",
        lambda s, _: client_accounts.remove(s, _plain(client_id)),
    )


@post("/client-secrets/{client_id:str}")
async def rotate_client_secret(
    request: Asking, site: NamedDependency[Site], client_id: FromPath[str]
) -> client_accounts.ClientSecret:
    """Another secret for a client; it is in this answer alone."""
    return await change(
        request,
        site,
        "secret",
        lambda made: f"client {made.client.client_id}",
        lambda s, _: client_accounts.rotate(s, client_id),
    )


def _plain(client_id: str) -> str:
    """A client id as it is: some are URLs, so they come as a path."""
    return client_id.removeprefix("/")[:255]


@get("/providers")
async def list_providers(request: Asking, site: NamedDependency[Site]) -> list[providers.Provider]:
    """The OpenID Connect providers that people may sign in with."""
    return await read(request, site, lambda s, _: providers.find(s, site.origins))


@get("/providers/{name:str}")
async def get_provider(request: Asking, site: NamedDependency[Site], name: FromPath[str]) -> providers.Provider:
    """One provider."""
    return await read(request, site, lambda s, _: providers.get(s, site.origins, name))


@put("/providers/{name:str}")
async def put_provider(
    request: Asking,
    site: NamedDependency[Site],
    name: FromPath[str],
    data: Annotated[providers.NewProvider, Body()],
) -> providers.Provider:
    """Makes a provider, or changes it."""
    return await change(
        request,
        site,
        "update",
        lambda made: f"provider {made.name}",
        lambda s, _: providers.put(s, site.origins, site.sealing, name, data),
    )


@delete("/providers/{name:str}")
async def delete_provider(request: Asking, site: NamedDependency[Site], name: FromPath[str]) -> None:
    """Deletes a provider; the roles that it gave go with it, the accounts stay."""
    await change(request, site, "delete", lambda _: f"provider {name[:32]}", lambda s, _: providers.remove(s, name))
