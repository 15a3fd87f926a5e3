"""The admin REST API: people, roles, and what somebody sees."""

from typing import Annotated

import msgspec
from litestar.di import NamedDependency
from litestar.params import Body, FromPath, FromQuery, QueryParameter
from sqlalchemy.orm import Session

from isthmus_auth import browser_sessions, consents, people, roles, view_as
from isthmus_auth.administration import MOST, Asking
from isthmus_auth.browser import Browser
from isthmus_auth.models import Account


class Me(msgspec.Struct, frozen=True):
    """Who is signed in."""

    id: str
    email: str
    csrf_token: str
    """To be sent as `X-CSRF-Token` with what changes anything; empty for an API key, which needs none."""


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


class Sessions(msgspec.Struct, frozen=True):
    """A page of browsers that are signed in."""

    sessions: list[browser_sessions.SignedIn]
    next_after: str | None
    """`after` of the next page; null: there is none."""


async def me(asking: NamedDependency[Asking]) -> Me:
    """Who is signed in, and the token for changes."""
    token = asking.caller.csrf_token if isinstance(asking.caller, Browser) else ""
    return await asking.read(lambda _, by: Me(by.id, by.email or "", token))


async def list_people(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> People:
    """People, in order of their e-mail addresses, a page at a time."""

    def work(session: Session, _: Account) -> People:
        found = people.find(session, search[:320], after[:320], MOST + 1)
        more = len(found) > MOST
        return People(found[:MOST], found[MOST - 1].email if more else None)

    return await asking.read(work)


async def create_person(
    asking: NamedDependency[Asking], data: Annotated[people.NewPerson, Body()]
) -> people.MadePerson:
    """Makes an account for somebody."""
    return await asking.change("create", lambda made: f"person {made.person.id}", lambda s, _: people.create(s, data))


async def get_person(asking: NamedDependency[Asking], person_id: FromPath[str]) -> people.Person:
    """One person."""
    return await asking.read(lambda s, _: people.get(s, person_id))


async def change_person(
    asking: NamedDependency[Asking],
    person_id: FromPath[str],
    data: Annotated[people.PersonChange, Body()],
) -> people.Person:
    """Changes what is given of a person."""
    return await asking.change(
        "update",
        lambda person: f"person {person.id}",
        lambda s, by: people.change(s, by, person_id, data),
    )


async def delete_person(asking: NamedDependency[Asking], person_id: FromPath[str]) -> None:
    """Deletes a person with all that they allowed."""
    await asking.change("delete", lambda _: f"person {person_id}", lambda s, by: people.remove(s, by, person_id))


async def list_roles(asking: NamedDependency[Asking]) -> list[roles.Role]:
    """All roles."""
    return await asking.read(lambda s, _: roles.find(s))


async def get_role(asking: NamedDependency[Asking], role_id: FromPath[str]) -> roles.Role:
    """One role."""
    return await asking.read(lambda s, _: roles.get(s, role_id))


async def put_role(
    asking: NamedDependency[Asking], role_id: FromPath[str], data: Annotated[roles.NewRole, Body()]
) -> roles.Role:
    """Makes a role, or changes it."""
    return await asking.change("update", lambda role: f"role {role.id}", lambda s, _: roles.put(s, role_id, data))


async def delete_role(asking: NamedDependency[Asking], role_id: FromPath[str]) -> None:
    """Deletes a role; whoever had it has it no more."""
    await asking.change("delete", lambda _: f"role {role_id}", lambda s, _: roles.remove(s, role_id))


async def delete_factors(asking: NamedDependency[Asking], person_id: FromPath[str]) -> people.Person:
    """Takes authenticator app and passkeys from somebody who has lost them, and signs them out everywhere."""
    return await asking.change(
        "delete",
        lambda person: f"factors of person {person.id}",
        lambda s, by: people.remove_factors(s, by, person_id),
    )


async def list_consents(
    asking: NamedDependency[Asking],
    account_id: FromQuery[str] = "",
    client_id: FromQuery[str] = "",
    search: FromQuery[str] = "",
    after: FromQuery[str] = "",
) -> Consents:
    """What accounts allow to clients now, a page at a time."""

    def work(session: Session, _: Account) -> Consents:
        found = consents.find(session, account_id[:255], client_id[:255], after[:64], MOST + 1, search[:200])
        more = len(found) > MOST
        return Consents(found[:MOST], found[MOST - 1].sid if more else None)

    return await asking.read(work)


async def delete_consent(asking: NamedDependency[Asking], sid: FromPath[str]) -> None:
    """Ends what was allowed, with all tokens of it."""
    await asking.change("delete", lambda _: f"consent {sid[:64]}", lambda s, _: consents.end(s, sid))


async def list_sessions(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = ""
) -> Sessions:
    """Browsers that are signed in, a page at a time."""

    def work(session: Session, _: Account) -> Sessions:
        found = browser_sessions.find(session, search[:320], after[:64], MOST + 1)
        more = len(found) > MOST
        return Sessions(found[:MOST], found[MOST - 1].id if more else None)

    return await asking.read(work)


async def delete_session(asking: NamedDependency[Asking], session_id: FromPath[str]) -> None:
    """Signs a browser out."""
    await asking.change(
        "delete", lambda _: f"session {session_id[:12]}", lambda s, _: browser_sessions.end(s, session_id[:64])
    )


async def view_as_account(
    asking: NamedDependency[Asking], account_id: FromQuery[str], namespace: FromQuery[str] = ""
) -> view_as.View:
    """What an account sees of an MCP service (left out: the default one), source by source, and why not."""
    await asking.read(lambda _s, _by: None)  # before the bus is asked
    known = await asking.site.sources.now()
    return await asking.read(lambda s, _: view_as.view(s, account_id, namespace, known))


async def explain(
    asking: NamedDependency[Asking],
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
    return await asking.read(lambda s, _: view_as.explain(s, account_id, namespace, asked))
