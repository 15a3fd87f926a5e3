"""What auth tells the gateways over the bus, and that it does so whatever happens to the bus."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NoKeysError
from nats.js.kv import KeyValue

from auth_server import CLIENT_ID, Auth, claims
from isthmus import bus, policy
from isthmus.grants import EVERYTHING
from isthmus_auth.signing import LONGEST_ACCESS
from servers import NatsServer

DAY = 24 * 3600


@pytest.fixture
def auth(tmp_path: Path, nats: NatsServer) -> Auth:
    return Auth(tmp_path / "auth", nats)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Waits for a condition; fails after the given time."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.02)


async def bucket(client: Client) -> KeyValue:
    """The policy bucket, once auth has filled it."""
    kv = await client.jetstream().key_value(policy.BUCKET)
    await until(lambda: has(kv, policy.JWKS))
    return kv


async def has(kv: KeyValue, key: str) -> bool:
    try:
        await kv.get(key)
    except KeyNotFoundError:
        return False
    return True


async def value(kv: KeyValue, key: str) -> bytes:
    found = (await kv.get(key)).value
    assert found is not None
    return found


async def seconds_left(client: Client, key: str) -> int:
    """The lifetime that an entry was written with."""
    message = await client.jetstream().get_msg(f"KV_{policy.BUCKET}", subject=f"$KV.{policy.BUCKET}.{key}", direct=True)
    assert message.headers is not None
    return int(str(message.headers["Nats-TTL"]))  # pyright: ignore[reportUnknownArgumentType]


async def connected(nats: NatsServer) -> Client:
    return await bus.connect(nats.settings("gateway"), "gateway")


async def test_services_roles_users_and_keys_are_published(auth: Auth, nats: NatsServer) -> None:
    with auth.running():
        client = await connected(nats)
        await until(lambda: filled(client))
        kv = await bucket(client)
        service = msgspec.json.decode(await value(kv, policy.key("service", "default")), type=policy.Service)
        assert (service.namespace, service.default, service.sources) == ("default", True, ("**",))
        role = msgspec.json.decode(await value(kv, policy.key("role", "everything")), type=policy.Role)
        assert role.grants == (EVERYTHING,)
        for account in (CLIENT_ID, "isthmus-cli"):
            user = msgspec.json.decode(await value(kv, policy.key("user", account)), type=policy.User)
            assert user == policy.User(id=account, roles=("everything",))
        token = await asyncio.to_thread(lambda: auth.exchange(auth.code()).json())
        sub = claims(token["access_token"])["sub"]
        person = msgspec.json.decode(await value(kv, policy.key("user", sub)), type=policy.User)
        assert person.roles == ("everything",)
        assert person.attributes == {"email": "admin@example.com"}
        keys = msgspec.json.decode(await value(kv, policy.JWKS))
        assert keys == auth.get("/jwks").json()
        await client.close()


async def filled(client: Client) -> bool:
    """Whether auth has made the bucket and put its last entry there."""
    try:
        kv = await client.jetstream().key_value(policy.BUCKET)
        return {policy.JWKS, policy.key("user", "isthmus-cli")} <= set(await kv.keys())
    except (BucketNotFoundError, NoKeysError):
        return False


async def test_a_consent_is_there_before_the_token_and_lives_as_long_as_the_refresh_token(
    auth: Auth, nats: NatsServer
) -> None:
    with auth.running():
        client = await connected(nats)
        await until(lambda: filled(client))
        kv = await bucket(client)
        token = (await asyncio.to_thread(lambda: auth.exchange(auth.code()))).json()
        key = policy.key("consent", claims(token["access_token"])["sid"])
        consent = msgspec.json.decode(await value(kv, key), type=policy.Consent)
        assert consent.sources == ("**",)
        first = await kv.get(key)
        assert 7 * DAY - 5 <= await seconds_left(client, key) <= 7 * DAY
        await asyncio.to_thread(auth.refresh, token["refresh_token"])
        await until(lambda: renewed(kv, key, first.revision or 0))
        assert 7 * DAY - 5 <= await seconds_left(client, key) <= 7 * DAY
        await client.close()


async def renewed(kv: KeyValue, key: str, revision: int) -> bool:
    return ((await kv.get(key)).revision or 0) > revision


@pytest.mark.parametrize("what", ["code", "refresh token"])
async def test_using_something_twice_is_told_to_the_gateways(auth: Auth, nats: NatsServer, what: str) -> None:
    with auth.running():
        client = await connected(nats)
        await until(lambda: filled(client))
        kv = await bucket(client)
        code = await asyncio.to_thread(auth.code)
        token = (await asyncio.to_thread(auth.exchange, code)).json()
        claimed = claims(token["access_token"])
        if what == "code":
            await asyncio.to_thread(auth.exchange, code)
        else:
            await asyncio.to_thread(auth.refresh, token["refresh_token"])
            await asyncio.to_thread(auth.refresh, token["refresh_token"])
        key = policy.key("revoked", "session", claimed["sid"])
        await until(lambda: has(kv, key))
        revoked = msgspec.json.decode(await value(kv, key), type=policy.Revoked)
        assert revoked.before > claimed["iat"]
        assert LONGEST_ACCESS <= await seconds_left(client, key) <= LONGEST_ACCESS + policy.CLOCK_LEEWAY
        assert not await has(kv, policy.key("consent", claimed["sid"]))
        await client.close()


async def test_auth_serves_without_a_bus_and_publishes_when_it_comes(auth: Auth, nats: NatsServer) -> None:
    nats.stop()
    with auth.running():
        token = (await asyncio.to_thread(lambda: auth.exchange(auth.code()))).json()
        assert auth.get("/readyz").status_code == 200
        nats.start()
        client = await connected(nats)
        await until(lambda: filled(client))
        kv = await bucket(client)
        assert await has(kv, policy.key("consent", claims(token["access_token"])["sid"]))
        await until(lambda: asyncio.to_thread(outbox_is_empty, auth))
        await client.close()


async def test_what_changes_while_the_bus_is_away_is_published_when_it_is_back(auth: Auth, nats: NatsServer) -> None:
    with auth.running():
        client = await connected(nats)
        await until(lambda: filled(client))
        await client.close()
        nats.stop()
        token = (await asyncio.to_thread(lambda: auth.exchange(auth.code()))).json()
        nats.start()
        client = await connected(nats)
        kv = await bucket(client)
        await until(lambda: has(kv, policy.key("consent", claims(token["access_token"])["sid"])))
        await client.close()


async def test_entries_that_should_not_be_there_go_at_the_next_start(auth: Auth, nats: NatsServer) -> None:
    with auth.running():
        client = await connected(nats)
        await until(lambda: filled(client))
        await client.close()
    writer = await bus.connect(nats.settings("auth"), "auth")
    await writer.jetstream().publish(f"$KV.{policy.BUCKET}.user.ghost", b"{}")
    await writer.close()
    with auth.running():
        client = await connected(nats)
        kv = await bucket(client)
        await until(lambda: gone(kv, "user.ghost"))
        assert await has(kv, policy.key("user", "isthmus-cli"))
        await client.close()


async def gone(kv: KeyValue, key: str) -> bool:
    return not await has(kv, key)


def outbox_is_empty(auth: Auth) -> bool:
    connection = sqlite3.connect(auth.database)
    try:
        return connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    finally:
        connection.close()
