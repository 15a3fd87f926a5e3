"""People in the console: who there is, what they may do, and what they see."""

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from isthmus_auth import admin_clients, admin_people, people
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console.fields import fields_of, lines, read
from isthmus_auth.console.roles import IN_ORDER
from isthmus_auth.console.shell import go, listed, page
from isthmus_auth.parameters import Parameters
from isthmus_auth.view_as import Verdict

HERE = "people"
PEOPLE = "/admin/people"
KEPT = ("email", "roles", "attributes", "is_admin")
RIGHTS = ("roles", "attributes", "is_admin", "disabled")


@get("/people")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """People, a page at a time."""
    found = await admin_people.list_people(asking, search, after)
    rows, left = found.people, found.next_after
    return await listed(asking, "console/people.html", HERE, PEOPLE, rows, left, search=search, after=after, done=done)


@get("/new-person")
async def show_new(asking: NamedDependency[Asking]) -> Template:
    """The form for another person."""
    return await _new(asking, Parameters({}))


@post("/new-person")
async def make(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template:
    """Makes an account, and shows its password this once."""
    try:
        made = await admin_people.create_person(asking, read(form, people.NewPerson, *KEPT))
    except Refusal as refusal:
        return await _new(asking, form, refusal)
    return await _shown(asking, made.person, password=made.password or "", done="made")


@get("/people/{person_id:str}")
async def show(
    asking: NamedDependency[Asking],
    person_id: FromPath[str],
    service: FromQuery[str] = "",
    done: FromQuery[str] = "",
) -> Template:
    """A person, and what they see of an MCP service."""
    return await _shown(asking, await admin_people.get_person(asking, person_id), service=service, done=done)


@post("/people/{person_id:str}")
async def change(
    asking: NamedDependency[Asking], form: NamedDependency[Parameters], person_id: FromPath[str]
) -> Template | Redirect:
    """Changes a person, or takes something from them."""
    person = await admin_people.get_person(asking, person_id)
    here = f"{PEOPLE}/{person.id}"
    try:
        match form.get("action"):
            case "delete":
                await admin_people.delete_person(asking, person.id)
                return go(PEOPLE, "deleted")
            case "factors":
                await admin_people.delete_factors(asking, person.id)
                return go(here, "ended")
            case "password":
                asked = read(form, people.PersonChange, "password")
                await admin_people.change_person(asking, person.id, asked)
            case _:
                own = await asking.read(lambda _, by: by.id == person.id)  # nobody changes their own rights
                asked = read(form, people.PersonChange, "email", *(() if own else RIGHTS))
                await admin_people.change_person(asking, person.id, asked)
    except Refusal as refusal:
        return await _shown(asking, person, form=form, refusal=refusal)
    return go(here, "saved")


@get("/people/{person_id:str}/explain")
async def explain(
    asking: NamedDependency[Asking],
    person_id: FromPath[str],
    service: FromQuery[str] = "",
    source: FromQuery[str] = "",
    action: FromQuery[str] = "read",
    target: FromQuery[str] = "",
) -> Template:
    """Whether a person may do one thing, and why."""
    person = await admin_people.get_person(asking, person_id)
    verdict = await admin_people.explain(asking, person_id, source[:200], action, target[:1000], service)
    asked = {"source": source, "action": action, "target": target}
    return await _shown(asking, person, service=service, asked=asked, verdict=verdict)


async def _new(asking: Asking, form: Parameters, refusal: Refusal | None = None) -> Template:
    context = {"form": form, "roles": await admin_people.list_roles(asking), "chosen": lines(form, "roles")}
    return await page(asking, "console/person_new.html", HERE, context, refusal=refusal)


async def _shown(
    asking: Asking,
    person: people.Person,
    *,
    service: str = "",
    password: str = "",
    done: str = "",
    form: Parameters | None = None,
    refusal: Refusal | None = None,
    asked: dict[str, str] | None = None,
    verdict: Verdict | None = None,
) -> Template:
    form = form if form and "email" in form.lists else fields_of(person, "email", *RIGHTS)
    services = await admin_clients.list_services(asking)
    view = await admin_people.view_as_account(asking, person.id, service)
    context = {
        "person": person,
        "password": password,
        "form": form,
        "chosen": lines(form, "roles"),
        "roles": await admin_people.list_roles(asking),
        "own": await asking.read(lambda _, by: by.id == person.id),
        "services": {one.namespace: one.label for one in services},
        "view": view,
        "actions": IN_ORDER,
        "asked": asked or {"source": view.sources[0].name if view.sources else "", "action": "read", "target": ""},
        "verdict": verdict,
    }
    return await page(asking, "console/person.html", HERE, context, done=done, refusal=refusal)
