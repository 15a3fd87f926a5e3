"""The admin REST API, below `/api/admin`: JSON over the functions that make, change and delete what there is.

Who calls is an administrator: with a browser session, as in the console, and then what changes anything carries the
session's token in `X-CSRF-Token`; or with an API key of the scope `admin` as bearer token. Every change is one
transaction with its event on the audit trail, and is answered once the gateways have it, or after a second.
"""

import asyncio
import hmac
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from litestar import Request, Router, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import Body, FromPath, FromQuery, QueryParameter
from sqlalchemy.orm import Session

from isthmus_auth import api_keys, client_accounts, mcp_services, people, providers, roles, view_as
from isthmus_auth.answers import Refusal
from isthmus_auth.audit import AuthEvent, note
from isthmus_auth.browser import Browser, account_of, address_of
from isthmus_auth.models import Account
from isthmus_auth.outbox import last_recorded
from isthmus_auth.signing import ANNOUNCED_FOR
from isthmus_auth.site import Site

API = "/api/admin"
CSRF_HEADER = "x-csrf-token"
MOST = 200
PUBLISHED_WITHIN = 1.0

T = TypeVar("T")
Work = Callable[[Session, Account], T]
Asking = Request[Any, Any, Any]


class Me(msgspec.Struct, frozen=True):
    """Who is signed in."""

    id: str
    email: str
    csrf_token: str
    """To be sent as `X-CSRF-Token` with what changes anything."""


class People(msgspec.Struct, frozen=True):
    """A page of people."""

    people: list[people.Person]
    next_after: str | None
    """`after` of the next page; null: there is none."""


@get("/me")
async def me(request: Asking, site: NamedDependency[Site]) -> Me:
    """Who is signed in, and the token for changes."""
    token = Browser.of(request, site.origins).csrf_token
    return await _read(request, site, lambda _, by: Me(by.id, by.email or "", token))


@get("/people")
async def list_people(
    request: Asking, site: NamedDependency[Site], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> People:
    """People, in order of their e-mail addresses, a page at a time."""

    def work(session: Session, _: Account) -> People:
        found = people.find(session, search[:320], after[:320], MOST + 1)
        more = len(found) > MOST
        return People(found[:MOST], found[MOST - 1].email if more else None)

    return await _read(request, site, work)


@post("/people")
async def create_person(
    request: Asking, site: NamedDependency[Site], data: Annotated[people.NewPerson, Body()]
) -> people.MadePerson:
    """Makes an account for somebody."""
    return await _change(
        request, site, "create", lambda made: f"person {made.person.id}", lambda s, _: people.create(s, data)
    )


@get("/people/{person_id:str}")
async def get_person(request: Asking, site: NamedDependency[Site], person_id: FromPath[str]) -> people.Person:
    """One person."""
    return await _read(request, site, lambda s, _: people.get(s, person_id))


@patch("/people/{person_id:str}")
async def change_person(
    request: Asking,
    site: NamedDependency[Site],
    person_id: FromPath[str],
    data: Annotated[people.PersonChange, Body()],
) -> people.Person:
    """Changes what is given of a person."""
    return await _change(
        request,
        site,
        "update",
        lambda person: f"person {person.id}",
        lambda s, by: people.change(s, by, person_id, data),
    )


@delete("/people/{person_id:str}")
async def delete_person(request: Asking, site: NamedDependency[Site], person_id: FromPath[str]) -> None:
    """Deletes a person with all that they allowed."""
    await _change(
        request, site, "delete", lambda _: f"person {person_id}", lambda s, by: people.remove(s, by, person_id)
    )


@get("/roles")
async def list_roles(request: Asking, site: NamedDependency[Site]) -> list[roles.Role]:
    """All roles."""
    return await _read(request, site, lambda s, _: roles.find(s))


@get("/roles/{role_id:str}")
async def get_role(request: Asking, site: NamedDependency[Site], role_id: FromPath[str]) -> roles.Role:
    """One role."""
    return await _read(request, site, lambda s, _: roles.get(s, role_id))


@put("/roles/{role_id:str}")
async def put_role(
    request: Asking, site: NamedDependency[Site], role_id: FromPath[str], data: Annotated[roles.NewRole, Body()]
) -> roles.Role:
    """Makes a role, or changes it."""
    return await _change(
        request, site, "update", lambda role: f"role {role.id}", lambda s, _: roles.put(s, role_id, data)
    )


@delete("/roles/{role_id:str}")
async def delete_role(request: Asking, site: NamedDependency[Site], role_id: FromPath[str]) -> None:
    """Deletes a role; whoever had it has it no more."""
    await _change(request, site, "delete", lambda _: f"role {role_id}", lambda s, _: roles.remove(s, role_id))


@get("/services")
async def list_services(request: Asking, site: NamedDependency[Site]) -> list[mcp_services.Service]:
    """All MCP services."""
    return await _read(request, site, lambda s, _: mcp_services.find(s, site.origins))


@post("/services")
async def create_service(
    request: Asking, site: NamedDependency[Site], data: Annotated[mcp_services.NewService, Body()]
) -> mcp_services.ServiceSecret:
    """Makes an MCP service; its client's secret is in this answer alone."""
    return await _change(
        request,
        site,
        "create",
        lambda made: f"service {made.service.namespace}",
        lambda s, _: mcp_services.create(s, site.origins, data),
    )


@get("/services/{namespace:str}")
async def get_service(request: Asking, site: NamedDependency[Site], namespace: FromPath[str]) -> mcp_services.Service:
    """One MCP service."""
    return await _read(request, site, lambda s, _: mcp_services.get(s, site.origins, namespace))


@patch("/services/{namespace:str}")
async def change_service(
    request: Asking,
    site: NamedDependency[Site],
    namespace: FromPath[str],
    data: Annotated[mcp_services.ServiceChange, Body()],
) -> mcp_services.Service:
    """Changes what is given of an MCP service."""
    return await _change(
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
    return await _change(
        request,
        site,
        "secret",
        lambda made: f"service {made.service.namespace}",
        lambda s, _: mcp_services.rotate(s, site.origins, namespace),
    )


@delete("/services/{namespace:str}")
async def delete_service(request: Asking, site: NamedDependency[Site], namespace: FromPath[str]) -> None:
    """Deletes an MCP service with its clients and all that was allowed in it."""
    await _change(
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

    return await _read(request, site, work)


@post("/clients")
async def create_client(
    request: Asking, site: NamedDependency[Site], data: Annotated[client_accounts.NewClient, Body()]
) -> client_accounts.ClientSecret:
    """Sets a client up; its secret, if it has one, is in this answer alone."""
    return await _change(
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
    return await _read(request, site, lambda s, _: client_accounts.get(s, _plain(client_id)))


@patch("/clients/{client_id:path}")
async def change_client(
    request: Asking,
    site: NamedDependency[Site],
    client_id: FromPath[str],
    data: Annotated[client_accounts.ClientChange, Body()],
) -> client_accounts.ClientInfo:
    """Changes what is given of a client."""
    return await _change(
        request,
        site,
        "update",
        lambda client: f"client {client.client_id}",
        lambda s, _: client_accounts.change(s, _plain(client_id), data),
    )


@delete("/clients/{client_id:path}")
async def delete_client(request: Asking, site: NamedDependency[Site], client_id: FromPath[str]) -> None:
    """Ends a client with all that it was allowed."""
    await _change(
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
    return await _change(
        request,
        site,
        "secret",
        lambda made: f"client {made.client.client_id}",
        lambda s, _: client_accounts.rotate(s, client_id),
    )


def _plain(client_id: str) -> str:
    """A client id as it is: some are URLs, so they come as a path."""
    return client_id.removeprefix("/")[:255]


class ApiKeys(msgspec.Struct, frozen=True):
    """A page of API keys."""

    keys: list[api_keys.ApiKey]
    next_after: str | None
    """`after` of the next page; null: there is none."""


@get("/keys")
async def list_api_keys(
    request: Asking, site: NamedDependency[Site], account_id: FromQuery[str] = "", after: FromQuery[str] = ""
) -> ApiKeys:
    """API keys, of one account or of all, a page at a time."""

    def work(session: Session, _: Account) -> ApiKeys:
        found = api_keys.find(session, account_id[:255], after[:64], MOST + 1)
        more = len(found) > MOST
        return ApiKeys(found[:MOST], found[MOST - 1].id if more else None)

    return await _read(request, site, work)


@post("/keys")
async def create_api_key(
    request: Asking, site: NamedDependency[Site], data: Annotated[api_keys.NewApiKey, Body()]
) -> api_keys.MadeApiKey:
    """Makes an API key for a person or a service account; it is in this answer alone."""
    return await _change(
        request, site, "create", lambda made: f"key {made.key.id}", lambda s, by: api_keys.create(s, by, data)
    )


@delete("/keys/{key_id:str}")
async def delete_api_key(request: Asking, site: NamedDependency[Site], key_id: FromPath[str]) -> None:
    """Ends an API key."""
    await _change(request, site, "delete", lambda _: f"key {key_id[:64]}", lambda s, _: api_keys.remove(s, key_id))


@get("/providers")
async def list_providers(request: Asking, site: NamedDependency[Site]) -> list[providers.Provider]:
    """The OpenID Connect providers that people may sign in with."""
    return await _read(request, site, lambda s, _: providers.find(s, site.origins))


@get("/providers/{name:str}")
async def get_provider(request: Asking, site: NamedDependency[Site], name: FromPath[str]) -> providers.Provider:
    """One provider."""
    return await _read(request, site, lambda s, _: providers.get(s, site.origins, name))


@put("/providers/{name:str}")
async def put_provider(
    request: Asking,
    site: NamedDependency[Site],
    name: FromPath[str],
    data: Annotated[providers.NewProvider, Body()],
) -> providers.Provider:
    """Makes a provider, or changes it."""
    return await _change(
        request,
        site,
        "update",
        lambda made: f"provider {made.name}",
        lambda s, _: providers.put(s, site.origins, site.sealing, name, data),
    )


@delete("/providers/{name:str}")
async def delete_provider(request: Asking, site: NamedDependency[Site], name: FromPath[str]) -> None:
    """Deletes a provider; the roles that it gave go with it, the accounts stay."""
    await _change(request, site, "delete", lambda _: f"provider {name[:32]}", lambda s, _: providers.remove(s, name))


@get("/view")
async def view_as_account(
    request: Asking, site: NamedDependency[Site], account_id: FromQuery[str], namespace: FromQuery[str] = ""
) -> view_as.View:
    """What an account sees of an MCP service (left out: the default one), source by source, and why not."""
    await _read(request, site, lambda _s, _by: None)  # before the bus is asked
    known = await site.sources.now()
    return await _read(request, site, lambda s, _: view_as.view(s, account_id, namespace, known))


@get("/explain")
async def explain(
    request: Asking,
    site: NamedDependency[Site],
    account_id: FromQuery[str],
    source: FromQuery[str],
    action: FromQuery[str],
    target: Annotated[str, QueryParameter(name="object")],
    namespace: FromQuery[str] = "",
    tool: FromQuery[str] = "",
    needed: Annotated[str, QueryParameter(name="scope")] = "",
) -> view_as.Verdict:
    """Whether an account may do one thing, and which role or setting decides."""
    asked = view_as.Question(source=source, action=action, object=target, tool=tool, scope=needed)
    return await _read(request, site, lambda s, _: view_as.explain(s, account_id, namespace, asked))


class Key(msgspec.Struct, frozen=True):
    """A key for access tokens."""

    kid: str
    signs_from: int
    """Seconds since the epoch."""
    signs: bool
    """Whether it is the one that signs now."""


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make."""

    after: Annotated[int, msgspec.Meta(ge=1, le=7 * 24 * 3600)] = ANNOUNCED_FOR
    """Seconds until it signs; programs that verify tokens must have heard of it by then."""


@get("/signing-keys")
async def list_keys(request: Asking, site: NamedDependency[Site]) -> list[Key]:
    """The keys that tokens are verified with, in the order in which they sign."""
    return await _read(request, site, lambda _s, _by: _keys(site))


@post("/signing-keys")
async def add_key(request: Asking, site: NamedDependency[Site], data: Annotated[NewKey, Body()]) -> list[Key]:
    """Makes the next key. Those before it stay for as long as tokens of theirs may be valid."""

    def work(_session: Session, _by: Account) -> list[Key]:
        site.keys.add(data.after)
        return _keys(site)

    changed = await _change(request, site, "create", lambda keys: f"signing key {keys[-1].kid}", work)
    site.publisher.wake()
    return changed


@delete("/signing-keys/{kid:str}")
async def delete_key(request: Asking, site: NamedDependency[Site], kid: FromPath[str]) -> None:
    """Ends a key: every token that it has signed is void. Another one takes its place at once if need be."""

    def work(_session: Session, _by: Account) -> None:
        if not site.keys.remove(kid):
            raise Refusal(404, "There is no signing key of that kid.")

    await _change(request, site, "delete", lambda _: f"signing key {kid[:64]}", work)
    site.publisher.wake()


def _keys(site: Site) -> list[Key]:
    signing = site.keys.signing.kid
    return [Key(key.kid, key.signs_from, key.kid == signing) for key in site.keys.ring.keys]


ROUTES = Router(
    API,
    include_in_schema=True,
    route_handlers=[
        me, list_people, create_person, get_person, change_person, delete_person, list_roles, get_role, put_role,
        delete_role, list_services, create_service, get_service, change_service, rotate_secret, delete_service,
        list_clients, create_client, get_client, change_client, delete_client, rotate_client_secret,
        list_providers, get_provider, put_provider, delete_provider,
        view_as_account, explain, list_api_keys, create_api_key, delete_api_key, list_keys, add_key, delete_key,
    ],
)  # fmt: skip


async def _read(request: Asking, site: Site, work: Work[T]) -> T:
    caller = _caller(request, site)

    def run() -> T:
        with site.sessions.begin() as session:
            return work(session, _administrator(session, caller))

    return await asyncio.to_thread(run)


async def _change(
    request: Asking,
    site: Site,
    action: Literal["create", "update", "delete", "secret"],
    named: Callable[[T], str],
    work: Work[T],
) -> T:
    """Does it, puts it on record, and waits until the gateways know. Raises Refusal."""
    caller, address = _caller(request, site), address_of(request)
    if isinstance(caller, Browser):
        sent = request.headers.get(CSRF_HEADER, "").encode()
        if not hmac.compare_digest(caller.csrf_token.encode(), sent):
            raise Refusal(403, "Send the csrf_token of /api/admin/me as X-CSRF-Token.")

    def run() -> tuple[T, int]:
        with site.sessions.begin() as session:
            by = _administrator(session, caller)
            done = work(session, by)
            note(
                session,
                AuthEvent(event="admin", address=address, principal=by.id, action=action, object=named(done)),
            )
            session.flush()
            return done, last_recorded(session)

    async with site.hashing:  # some of this hashes a password
        done, change = await asyncio.to_thread(run)
    if change:
        await site.publisher.wait_for(change, PUBLISHED_WITHIN)
    return done


def _caller(request: Asking, site: Site) -> Browser | str:
    """The browser, or the API key that was sent."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else Browser.of(request, site.origins)


def _administrator(session: Session, caller: Browser | str) -> Account:
    if isinstance(caller, str):
        account = api_keys.administrator(session, caller)
        if account is None:
            raise Refusal(401, "This is no API key of the scope admin, or not any more.")
    else:
        account = account_of(session, caller)
    if account is None:
        raise Refusal(401, "Sign in first.")
    if not account.is_admin:
        raise Refusal(403, "This is for administrators.")
    return account
