"""Sign-in providers in the console: OpenID Connect providers, and the keys that sign our own tokens."""

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Template

from isthmus_auth import admin_clients, admin_keys, admin_people, providers
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console.fields import fields_of, lines, read
from isthmus_auth.console.shell import go, page, part
from isthmus_auth.parameters import Parameters

HERE = "providers"
PROVIDERS = "/admin/providers"
FIELDS = (
    "label",
    "issuer",
    "client_id",
    "scopes",
    "attributes",
    "create_people",
    "link_by_email",
    "email_domains",
    "allow_private_addresses",
    "allow_assertions",
)


@get("/providers")
async def show_list(
    asking: NamedDependency[Asking], search: FromQuery[str] = "", after: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Template:
    """The providers, and the keys."""
    found = [
        provider
        for provider in await admin_clients.list_providers(asking)
        if search.lower() in f"{provider.name} {provider.label} {provider.issuer}".lower()
    ]
    rows, next_after = part(sorted(found, key=lambda one: one.name), lambda one: one.name, after)
    context = {
        "providers": rows,
        "search": search,
        "after": after,
        "next_after": next_after,
        "keys": await admin_keys.list_keys(asking),
    }
    return await page(asking, "console/providers.html", HERE, context, done=done)


@post("/signing-keys")
async def change_keys(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Redirect:
    """Makes the next signing key, or ends one."""
    if ended := form.get("end"):
        await admin_keys.delete_key(asking, ended)
        return go(PROVIDERS, "ended")
    await admin_keys.add_key(asking, admin_keys.NewKey())
    return go(PROVIDERS, "made")


@get("/new-provider")
async def show_new(asking: NamedDependency[Asking]) -> Template:
    """The form for another provider."""
    return await _edited(asking, Parameters({"scopes": ["openid\nemail\nprofile"]}))


@post("/new-provider")
async def make(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template | Redirect:
    """Makes a provider."""
    name = form.get("name").strip()
    if any(one.name == name for one in await admin_clients.list_providers(asking)):
        return await _edited(asking, form, refusal=Refusal(409, "There is a provider of that name already."))
    return await _put(asking, form, name, None)


@get("/providers/{name:str}")
async def show(asking: NamedDependency[Asking], name: FromPath[str], done: FromQuery[str] = "") -> Template:
    """A provider."""
    provider = await admin_clients.get_provider(asking, name)
    return await _edited(asking, _form(provider), provider, done=done)


@post("/providers/{name:str}")
async def change(
    asking: NamedDependency[Asking], form: NamedDependency[Parameters], name: FromPath[str]
) -> Template | Redirect:
    """Changes a provider, or deletes it."""
    if form.get("action") == "delete":
        await admin_clients.delete_provider(asking, name)
        return go(PROVIDERS, "deleted")
    return await _put(asking, form, name, await admin_clients.get_provider(asking, name))


async def _put(asking: Asking, form: Parameters, name: str, before: providers.Provider | None) -> Template | Redirect:
    try:
        asked = read(form, providers.NewProvider, *FIELDS)
        rules = [_rule(line) for line in lines(form, "roles")]
        secret = form.get("client_secret").strip()
        kept = before is not None and not secret and not form.get("no_secret")
        asked = msgspec.structs.replace(asked, roles=rules, client_secret=msgspec.UNSET if kept else secret)
        await admin_clients.put_provider(asking, name, asked)
    except Refusal as refusal:
        return await _edited(asking, form, before, refusal=refusal)
    return go(f"{PROVIDERS}/{name}", "saved" if before else "made")


async def _edited(
    asking: Asking,
    form: Parameters,
    provider: providers.Provider | None = None,
    *,
    done: str = "",
    refusal: Refusal | None = None,
) -> Template:
    context = {
        "form": form,
        "provider": provider,
        "issuer": asking.site.origins.issuer,
        "roles": [role.id for role in await admin_people.list_roles(asking)],
    }
    return await page(asking, "console/provider.html", HERE, context, done=done, refusal=refusal)


def _form(provider: providers.Provider) -> Parameters:
    rules = (f"{rule.claim} = {rule.value} → {', '.join(rule.roles)}" for rule in provider.roles)
    return Parameters({**fields_of(provider, *FIELDS).lists, "roles": ["\n".join(rules)]})


def _rule(line: str) -> providers.RoleRule:
    """From a line such as `groups = sales → readers, writers`. Raises Refusal."""
    condition, arrow, granted = line.replace("->", "→").partition("→")
    claim, sign, value = condition.partition("=")
    roles = [role.strip() for role in granted.split(",") if role.strip()]
    if not (arrow and sign and claim.strip() and roles):
        raise Refusal(400, f"A rule looks like groups = sales → readers; this one does not: {line[:80]!r}")
    return providers.RoleRule(claim.strip()[:200], value.strip()[:1000], roles)
