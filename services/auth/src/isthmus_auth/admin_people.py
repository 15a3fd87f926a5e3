"""The admin REST API: people, roles, and what somebody sees."""

from typing import Annotated

import msgspec
from litestar import delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import Body, FromPath, FromQuery, QueryParameter
from sqlalchemy.orm import Session

from isthmus_auth import consents, people, roles, view_as
from isthmus_auth.administration import MOST, Asking, change, read
from isthmus_auth.browser import Browser
from isthmus_auth.models import Account
from isthmus_auth.site import Site


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


class Consents(msgspec.Struct, frozen=True):
    """A page of consents."""

    consents: list[consents.Allowed]
    next_after: str | None
    """`after` of the next page; null: there is none."""


@get("/me")
async def me(request: Asking, site: NamedDependency[Site]) -> Me:
    """Who is signed in, and the token for changes."""
    token = Browser.of(request, site.origins).csrf_token
    return await read(request, site, lambda _, by: Me(by.id, by.email or "", token))


@get("/people")
async def list_people(
    request: Asking, site: NamedDependency[Site], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> People:
    """People, in order of their e-mail addresses, a page at a time."""

    def work(session: Session, _: Account) -> People:
        found = people.find(session, search[:320], after[:320], MOST + 1)
        more = len(found) > MOST
        return People(found[:MOST], found[MOST - 1].email if more else None)

    return await read(request, site, work)


@post("/people")
async def create_person(
    request: Asking, site: NamedDependency[Site], data: Annotated[people.NewPerson, Body()]
) -> people.MadePerson:
    """Makes an account for somebody."""
    return await change(
        request, site, "create", lambda made: f"person {made.person.id}", lambda s, _: people.create(s, data)
    )


@get("/people/{person_id:str}")
async def get_person(request: Asking, site: NamedDependency[Site], person_id: FromPath[str]) -> people.Person:
    """One person."""
    return await read(request, site, lambda s, _: people.get(s, person_id))


@patch("/people/{person_id:str}")
async def change_person(
    request: Asking,
    site: NamedDependency[Site],
    person_id: FromPath[str],
    data: Annotated[people.PersonChange, Body()],
) -> people.Person:
    """Changes what is given of a person."""
    return await change(
        request,
        site,
        "update",
        lambda person: f"person {person.id}",
        lambda s, by: people.change(s, by, person_id, data),
    )


@delete("/people/{person_id:str}")
async def delete_person(request: Asking, site: NamedDependency[Site], person_id: FromPath[str]) -> None:
    """Deletes a person with all that they allowed."""
    await change(
        request, site, "delete", lambda _: f"person {person_id}", lambda s, by: people.remove(s, by, person_id)
    )


@get("/roles")
async def list_roles(request: Asking, site: NamedDependency[Site]) -> list[roles.Role]:
    """All roles."""
    return await read(request, site, lambda s, _: roles.find(s))


@get("/roles/{role_id:str}")
async def get_role(request: Asking, site: NamedDependency[Site], role_id: FromPath[str]) -> roles.Role:
    """One role."""
    return await read(request, site, lambda s, _: roles.get(s, role_id))


@put("/roles/{role_id:str}")
async def put_role(
    request: Asking, site: NamedDependency[Site], role_id: FromPath[str], data: Annotated[roles.NewRole, Body()]
) -> roles.Role:
    """Makes a role, or changes it."""
    return await change(
        request, site, "update", lambda role: f"role {role.id}", lambda s, _: roles.put(s, role_id, data)
    )


@delete("/roles/{role_id:str}")
async def delete_role(request: Asking, site: NamedDependency[Site], role_id: FromPath[str]) -> None:
    """Deletes a role; whoever had it has it no more."""
    await change(request, site, "delete", lambda _: f"role {role_id}", lambda s, _: roles.remove(s, role_id))


@delete("/people/{person_id:str}/factors", status_code=200)
async def delete_factors(request: Asking, site: NamedDependency[Site], person_id: FromPath[str]) -> people.Person:
    """Takes authenticator app and passkeys from somebody who has lost them, and signs them out everywhere."""
    return await change(
        request,
        site,
        "delete",
        lambda person: f"factors of person {person.id}",
        lambda s, by: people.remove_factors(s, by, person_id),
    )


@get("/consents")
async def list_consents(
    request: Asking,
    site: NamedDependency[Site],
    account_id: FromQuery[str] = "",
    client_id: FromQuery[str] = "",
    after: FromQuery[str] = "",
) -> Consents:
    """What accounts allow to clients now, a page at a time."""

    def work(session: Session, _: Account) -> Consents:
        found = consents.find(session, account_id[:255], client_id[:255], after[:64], MOST + 1)
        more = len(found) > MOST
        return Consents(found[:MOST], found[MOST - 1].sid if more else None)

    return await read(request, site, work)


@delete("/consents/{sid:str}")
async def delete_consent(request: Asking, site: NamedDependency[Site], sid: FromPath[str]) -> None:
    """Ends what was allowed, with all tokens of it."""
    await change(request, site, "delete", lambda _: f"consent {sid[:64]}", lambda s, _: consents.end(s, sid))


@get("/view")
async def view_as_account(
    request: Asking, site: NamedDependency[Site], account_id: FromQuery[str], namespace: FromQuery[str] = ""
) -> view_as.View:
    """What an account sees of an MCP service (left out: the default one), source by source, and why not."""
    await read(request, site, lambda _s, _by: None)  # before the bus is asked
    known = await site.sources.now()
    return await read(request, site, lambda s, _: view_as.view(s, account_id, namespace, known))


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
    return await read(request, site, lambda s, _: view_as.explain(s, account_id, namespace, asked))
