"""Roles in the console: an editor that shows what a role would do while it is made."""

import re

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template
from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.grants import Grant
from isthmus_auth import admin_clients, admin_people, roles, view_as
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console.fields import lines
from isthmus_auth.console.shell import fragment, go, listed, page, part
from isthmus_auth.models import Account
from isthmus_auth.models import Role as Row
from isthmus_auth.parameters import Parameters
from isthmus_auth.seed import EVERYTHING_ROLE
from isthmus_auth.sources import SourceInfo

HERE = "roles"
ROLES = "/admin/roles"
MOST_SHOWN = 100
"""People of a role, and people to choose from."""

IN_ORDER = ("read", "create", "update", "delete", "call", "sql", "share", "use")
"""The actions as people think of them; `*` is all of these."""

_GRANT = re.compile(r"grant-(\d{1,3})-[a-z]+")


class GrantFields(msgspec.Struct, frozen=True):
    """A grant as the form has it."""

    place: int
    sources: str
    actions: list[str]
    objects: str
    rows: str
    hidden: str
    masked: str

    @classmethod
    def of(cls, place: int, grant: Grant) -> "GrantFields":
        """A grant, for the form."""
        texts = ("\n".join(each) for each in (grant.objects, grant.hidden, grant.masked))
        objects, hidden, masked = texts
        return cls(place, "\n".join(grant.sources), list(grant.actions), objects, grant.rows, hidden, masked)


class RoleFields(msgspec.Struct, frozen=True):
    """A role as the form has it."""

    id: str = ""
    name: str = ""
    grants: list[GrantFields] = []
    tools_off: str = ""
    calls_per_minute: str = "0"


@get("/roles")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """All roles, a page at a time."""
    found = [
        role for role in await admin_people.list_roles(asking) if search.lower() in f"{role.id} {role.name}".lower()
    ]
    rows, next_after = part(found, lambda role: role.id, after)
    return await listed(
        asking, "console/roles.html", HERE, ROLES, rows, next_after, search=search, after=after, done=done
    )


@get("/new-role")
async def show_new(asking: NamedDependency[Asking]) -> Template:
    """The form for another role."""
    first = GrantFields(0, "**", ["read"], "**", "", "", "")
    return await _edited(asking, RoleFields(grants=[first]), new=True)


@post("/new-role")
async def make(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template | Redirect:
    """Makes a role, or does something to the form."""
    return await _sent(asking, form, form.get("id").strip(), new=True)


@post("/roles-preview")
async def preview(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template:
    """What somebody would see if the role were as the form has it."""
    await asking.read(lambda _s, _by: None)  # a refusal of the role is shown, one of the caller is not
    fields = _fields(form, form.get("id").strip() or "new")
    return fragment(asking, "console/role_view.html", await _preview(asking, fields, _Eyes.of(form)))


@get("/roles/{role_id:str}")
async def show(asking: NamedDependency[Asking], role_id: FromPath[str], done: FromQuery[str] = "") -> Template:
    """A role in the editor."""
    role = await admin_people.get_role(asking, role_id)
    grants = [GrantFields.of(place, grant) for place, grant in enumerate(role.grants)]
    fields = RoleFields(role.id, role.name, grants, "\n".join(role.tools_off), str(role.calls_per_minute))
    return await _edited(asking, fields, done=done)


@post("/roles/{role_id:str}")
async def change(
    asking: NamedDependency[Asking], form: NamedDependency[Parameters], role_id: FromPath[str]
) -> Template | Redirect:
    """Changes a role, deletes it, or does something to the form."""
    if form.get("action") == "delete":
        await admin_people.delete_role(asking, role_id)
        return go(ROLES, "deleted")
    return await _sent(asking, form, role_id, new=False)


async def _sent(asking: Asking, form: Parameters, role_id: str, *, new: bool) -> Template | Redirect:
    fields = _fields(form, role_id)
    action, _, place = form.get("action").partition("-")
    match action:
        case "add":
            following = max((grant.place for grant in fields.grants), default=-1) + 1
            added = GrantFields(following, "", ["read"], "**", "", "", "")
            return await _edited(asking, msgspec.structs.replace(fields, grants=[*fields.grants, added]), new=new)
        case "drop":
            left = [grant for grant in fields.grants if str(grant.place) != place]
            return await _edited(asking, msgspec.structs.replace(fields, grants=left), new=new)
        case "view":
            return await _edited(asking, fields, new=new, eyes=_Eyes.of(form))
        case _:
            if new and any(role.id == role_id for role in await admin_people.list_roles(asking)):
                taken = Refusal(409, "There is a role of that id already.")
                return await _edited(asking, fields, new=new, refusal=taken)
            try:
                await admin_people.put_role(asking, role_id, _role(fields))
            except Refusal as refusal:
                return await _edited(asking, fields, new=new, refusal=refusal)
            return go(f"{ROLES}/{role_id}", "made" if new else "saved")


async def _edited(
    asking: Asking,
    fields: RoleFields,
    *,
    new: bool = False,
    done: str = "",
    refusal: Refusal | None = None,
    eyes: "_Eyes | None" = None,
) -> Template:
    def owners(session: Session, _: Account) -> list[tuple[str, str]]:
        having = select(Account.id, Account.email).where(Account.roles.any(Row.id == fields.id), ~Account.disabled)
        found = session.execute(having.order_by(Account.email).limit(MOST_SHOWN))
        return [(account_id, email or account_id) for account_id, email in found]

    services = await admin_clients.list_services(asking)
    people = {one.id: one.email for one in (await admin_people.list_people(asking)).people[:MOST_SHOWN]}
    owned = await asking.read(owners)
    eyes = eyes or _Eyes(next((account for account, _ in owned if account in people), next(iter(people))), "")
    context = {
        "role": fields,
        "new": new,
        "fixed": fields.id == EVERYTHING_ROLE,
        "actions": IN_ORDER,
        "owners": owned,
        "sources": [source.name for source in await asking.site.sources.now()],
        "services": {service.namespace: service.label for service in services},
        "people": people,
        "eyes": eyes,
        **await _preview(asking, fields, eyes),
    }
    return await page(asking, "console/role.html", HERE, context, done=done, refusal=refusal)


class _Eyes(msgspec.Struct, frozen=True):
    """Whose view is shown, and of which MCP service."""

    person: str
    service: str
    """Empty: the default one."""

    @classmethod
    def of(cls, form: Parameters) -> "_Eyes":
        return cls(form.get("person"), form.get("service"))


async def _preview(asking: Asking, fields: RoleFields, eyes: _Eyes) -> dict[str, object]:
    """What the person would see, the role being theirs and as the form has it."""
    known = await asking.site.sources.now()
    role_id = fields.id or "new"
    try:
        asked = _role(msgspec.structs.replace(fields, name=fields.name or role_id))
        view, has = await asking.suppose(lambda s, _: _supposed(s, role_id, asked, eyes, known))
    except Refusal as refusal:
        return {"view": None, "has": False, "role_id": role_id, "problem": str(refusal.detail)}
    return {"view": view, "has": has, "role_id": role_id, "problem": ""}


def _supposed(
    session: Session, role_id: str, asked: roles.NewRole, eyes: _Eyes, known: list[SourceInfo]
) -> tuple[view_as.View, bool]:
    """The view, and whether the person has the role already. Raises Refusal."""
    if role_id != EVERYTHING_ROLE:
        roles.put(session, role_id, asked)
    account = session.get(Account, eyes.person)
    if account is None:
        raise Refusal(400, "Choose a person.")
    has = any(role.id == role_id for role in account.roles)
    if not has:
        account.roles = [*account.roles, session.get_one(Row, role_id)]
    session.flush()
    return view_as.view(session, account.id, eyes.service, known), has


def _fields(form: Parameters, role_id: str) -> RoleFields:
    places = sorted({int(found[1]) for name in form.lists if (found := _GRANT.fullmatch(name))})
    grants = [
        GrantFields(
            place,
            form.get(f"grant-{place}-sources"),
            form.lists.get(f"grant-{place}-actions", []),
            *(form.get(f"grant-{place}-{what}") for what in ("objects", "rows", "hidden", "masked")),
        )
        for place in places
    ]
    return RoleFields(role_id, form.get("name"), grants, form.get("tools_off"), form.get("calls_per_minute"))


def _role(fields: RoleFields) -> roles.NewRole:
    """The role that the form means. Raises Refusal."""
    grants = [
        {
            "sources": _lines(grant.sources),
            "actions": grant.actions,
            "objects": _lines(grant.objects) or ["**"],
            "rows": grant.rows.strip(),
            "hidden": _lines(grant.hidden),
            "masked": _lines(grant.masked),
        }
        for grant in fields.grants
    ]
    for number, grant in enumerate(grants, 1):
        if not grant["sources"] or not grant["actions"]:
            raise Refusal(400, f"Grant {number} needs at least one source and one action.")
    given = {
        "name": fields.name.strip(),
        "grants": grants,
        "tools_off": _lines(fields.tools_off),
        "calls_per_minute": fields.calls_per_minute or "0",
    }
    try:
        return msgspec.convert(given, roles.NewRole, strict=False)
    except msgspec.ValidationError as error:
        if "`$.name`" in str(error):
            raise Refusal(400, "A role needs a name of at most 200 characters.") from None
        raise Refusal(400, "Calls a minute is a number, 0 to 1,000,000; there are at most 100 grants.") from None


def _lines(text: str) -> list[str]:
    return lines(Parameters({"text": [text]}), "text")
