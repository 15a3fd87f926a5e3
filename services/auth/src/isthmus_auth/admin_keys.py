"""The admin REST API: API keys, and the keys that sign access tokens."""

from typing import Annotated

import msgspec
from litestar.di import NamedDependency
from litestar.params import Body, FromPath, FromQuery
from sqlalchemy.orm import Session

from isthmus_auth import api_keys
from isthmus_auth.administration import MOST, Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.models import Account
from isthmus_auth.signing import ANNOUNCED_FOR
from isthmus_auth.site import Site


class ApiKeys(msgspec.Struct, frozen=True):
    """A page of API keys."""

    keys: list[api_keys.ApiKey]
    next_after: str | None
    """`after` of the next page; null: there is none."""


async def list_api_keys(
    asking: NamedDependency[Asking],
    account_id: FromQuery[str] = "",
    search: FromQuery[str] = "",
    after: FromQuery[str] = "",
) -> ApiKeys:
    """API keys, of one account or of all, a page at a time."""

    def work(session: Session, _: Account) -> ApiKeys:
        found = api_keys.find(session, account_id[:255], after[:64], MOST + 1, search[:200])
        more = len(found) > MOST
        return ApiKeys(found[:MOST], found[MOST - 1].id if more else None)

    return await asking.read(work)


async def create_api_key(
    asking: NamedDependency[Asking], data: Annotated[api_keys.NewApiKey, Body()]
) -> api_keys.MadeApiKey:
    """Makes an API key for a person or a service account; it is in this answer alone."""
    return await asking.change("create", lambda made: f"key {made.key.id}", lambda s, by: api_keys.create(s, by, data))


async def delete_api_key(asking: NamedDependency[Asking], key_id: FromPath[str]) -> None:
    """Ends an API key."""
    await asking.change("delete", lambda _: f"key {key_id[:64]}", lambda s, _: api_keys.remove(s, key_id))


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


async def list_keys(asking: NamedDependency[Asking]) -> list[Key]:
    """The keys that tokens are verified with, in the order in which they sign."""
    return await asking.read(lambda _s, _by: _keys(asking.site))


async def add_key(asking: NamedDependency[Asking], data: Annotated[NewKey, Body()]) -> list[Key]:
    """Makes the next key. Those before it stay for as long as tokens of theirs may be valid."""

    def work(_session: Session, _by: Account) -> list[Key]:
        asking.site.keys.add(data.after)
        return _keys(asking.site)

    changed = await asking.change("create", lambda keys: f"signing key {keys[-1].kid}", work)
    asking.site.publisher.wake()
    return changed


async def delete_key(asking: NamedDependency[Asking], kid: FromPath[str]) -> None:
    """Ends a key: every token that it has signed is void. Another one takes its place at once if need be."""

    def work(_session: Session, _by: Account) -> None:
        if not asking.site.keys.remove(kid):
            raise Refusal(404, "There is no signing key of that kid.")

    await asking.change("delete", lambda _: f"signing key {kid[:64]}", work)
    asking.site.publisher.wake()


def _keys(site: Site) -> list[Key]:
    signing = site.keys.signing.kid
    return [Key(key.kid, key.signs_from, key.kid == signing) for key in site.keys.ring.keys]
