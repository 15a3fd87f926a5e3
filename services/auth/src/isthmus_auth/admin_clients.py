"""The admin REST API: MCP services, OAuth clients, OpenID Connect providers."""

from typing import Annotated

import msgspec
from litestar.di import NamedDependency
from litestar.params import Body, FromPath, FromQuery
from sqlalchemy.orm import Session

from isthmus_auth import client_accounts, mcp_services, providers
from isthmus_auth.administration import MOST, Asking
from isthmus_auth.models import Account


async def list_services(asking: NamedDependency[Asking]) -> list[mcp_services.Service]:
    """All MCP services."""
    return await asking.read(lambda s, _: mcp_services.find(s, asking.site.origins))


async def create_service(
    asking: NamedDependency[Asking], data: Annotated[mcp_services.NewService, Body()]
) -> mcp_services.ServiceSecret:
    """Makes an MCP service; its client's secret is in this answer alone."""
    return await asking.change(
        "create",
        lambda made: f"service {made.service.namespace}",
        lambda s, _: mcp_services.create(s, asking.site.origins, data),
    )


async def get_service(asking: NamedDependency[Asking], namespace: FromPath[str]) -> mcp_services.Service:
    """One MCP service."""
    return await asking.read(lambda s, _: mcp_services.get(s, asking.site.origins, namespace))


async def change_service(
    asking: NamedDependency[Asking],
    namespace: FromPath[str],
    data: Annotated[mcp_services.ServiceChange, Body()],
) -> mcp_services.Service:
    """Changes what is given of an MCP service."""
    return await asking.change(
        "update",
        lambda service: f"service {service.namespace}",
        lambda s, _: mcp_services.change(s, asking.site.origins, namespace, data),
    )


async def rotate_secret(asking: NamedDependency[Asking], namespace: FromPath[str]) -> mcp_services.ServiceSecret:
    """Another secret for the client of an MCP service; it is in this answer alone."""
    return await asking.change(
        "secret",
        lambda made: f"service {made.service.namespace}",
        lambda s, _: mcp_services.rotate(s, asking.site.origins, namespace),
    )


async def delete_service(asking: NamedDependency[Asking], namespace: FromPath[str]) -> None:
    """Deletes an MCP service with its clients and all that was allowed in it."""
    await asking.change(
        "delete",
        lambda _: f"service {namespace}",
        lambda s, _: mcp_services.remove(s, namespace),
    )


class Clients(msgspec.Struct, frozen=True):
    """A page of clients."""

    clients: list[client_accounts.ClientInfo]
    next_after: str | None
    """`after` of the next page; null: there is none."""


async def list_clients(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> Clients:
    """OAuth clients, in order of their ids, a page at a time."""

    def work(session: Session, _: Account) -> Clients:
        found = client_accounts.find(session, search[:200], after[:255], MOST + 1)
        more = len(found) > MOST
        return Clients(found[:MOST], found[MOST - 1].client_id if more else None)

    return await asking.read(work)


async def create_client(
    asking: NamedDependency[Asking], data: Annotated[client_accounts.NewClient, Body()]
) -> client_accounts.ClientSecret:
    """Sets a client up; its secret, if it has one, is in this answer alone."""
    return await asking.change(
        "create",
        lambda made: f"client {made.client.client_id}",
        lambda s, _: client_accounts.create(s, data),
    )


async def get_client(asking: NamedDependency[Asking], client_id: FromPath[str]) -> client_accounts.ClientInfo:
    """One client."""
    return await asking.read(lambda s, _: client_accounts.get(s, _plain(client_id)))


async def change_client(
    asking: NamedDependency[Asking],
    client_id: FromPath[str],
    data: Annotated[client_accounts.ClientChange, Body()],
) -> client_accounts.ClientInfo:
    """Changes what is given of a client."""
    return await asking.change(
        "update",
        lambda client: f"client {client.client_id}",
        lambda s, _: client_accounts.change(s, _plain(client_id), data),
    )


async def delete_client(asking: NamedDependency[Asking], client_id: FromPath[str]) -> None:
    """Ends a client with all that it was allowed."""
    await asking.change(
        "delete",
        lambda _: f"client {_plain(client_id)}",
        lambda s, _: client_accounts.remove(s, _plain(client_id)),
    )


async def rotate_client_secret(
    asking: NamedDependency[Asking], client_id: FromPath[str]
) -> client_accounts.ClientSecret:
    """Another secret for a client; it is in this answer alone."""
    return await asking.change(
        "secret",
        lambda made: f"client {made.client.client_id}",
        lambda s, _: client_accounts.rotate(s, client_id),
    )


def _plain(client_id: str) -> str:
    """A client id as it is: some are URLs, so they come as a path."""
    return client_id.removeprefix("/")[:255]


async def list_providers(asking: NamedDependency[Asking]) -> list[providers.Provider]:
    """The OpenID Connect providers that people may sign in with."""
    return await asking.read(lambda s, _: providers.find(s, asking.site.origins))


async def get_provider(asking: NamedDependency[Asking], name: FromPath[str]) -> providers.Provider:
    """One provider."""
    return await asking.read(lambda s, _: providers.get(s, asking.site.origins, name))


async def put_provider(
    asking: NamedDependency[Asking],
    name: FromPath[str],
    data: Annotated[providers.NewProvider, Body()],
) -> providers.Provider:
    """Makes a provider, or changes it."""
    return await asking.change(
        "update",
        lambda made: f"provider {made.name}",
        lambda s, _: providers.put(s, asking.site.origins, asking.site.sealing, name, data),
    )


async def delete_provider(asking: NamedDependency[Asking], name: FromPath[str]) -> None:
    """Deletes a provider; the roles that it gave go with it, the accounts stay."""
    await asking.change("delete", lambda _: f"provider {name[:32]}", lambda s, _: providers.remove(s, name))
