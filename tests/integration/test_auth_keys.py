"""API keys: made by people and administrators, taken by gateways, ended within a second, worth nothing else."""

import asyncio
import sqlite3
import time
from collections.abc import Generator
from typing import Any

import httpx2
import pytest

from administrator import API, Administrator
from auth_server import EMAIL, Auth, Browser, auth_with_bus
from browser import Form
from gateways import Authority, Gateway, running_gateway
from servers import TLS
from shelf import Shelf, make_worker, served

PASSWORD = "a long password of ann's"


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


def made(admin: Administrator, *scopes: str, **asked: Any) -> tuple[str, str]:
    """A new key: its id and the bearer token."""
    answer = admin.done("POST", "/keys", {"name": "A key", "scopes": list(scopes), **asked})
    return answer["key"]["id"], answer["secret"]


async def status(gateway: Gateway, token: str, path: str = "/mcp") -> int:
    async with httpx2.AsyncClient(verify=TLS) as http:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        return (await http.post(gateway.url + path, json=body, headers=headers)).status_code


async def refused_soon(gateway: Gateway, token: str) -> None:
    async with asyncio.timeout(1):
        while await status(gateway, token) != 401:
            await asyncio.sleep(0.01)


async def test_a_key_opens_what_its_scopes_and_its_owner_allow_until_it_is_ended(
    auth: Auth, admin: Administrator
) -> None:
    assert auth.nats is not None
    key_id, key = await asyncio.to_thread(made, admin, "data:read")
    authority = Authority(auth.nats)
    async with (
        running_gateway(auth.nats, authority) as one,
        running_gateway(auth.nats, authority) as two,
        served(make_worker(Shelf(), 4), auth.nats),
        one.client(token=key) as client,
    ):
        async with asyncio.timeout(5):
            while "say" not in (names := [tool.name for tool in (await client.list_tools()).tools]):
                await asyncio.sleep(0.02)
        assert "write" not in names
        assert not (await client.call_tool("say", {"words": "hello", "database": "shelf"})).is_error
        closed = await client.call_tool("write", {"words": "hello", "database": "shelf"})
        assert closed.is_error
        assert "There is no tool 'write'." in str(closed.content)
        _, narrow = await asyncio.to_thread(made, admin, "data:read", sources=["db.closed"])
        async with two.client(token=narrow) as other:
            tools = {tool.name: tool for tool in (await other.list_tools()).tools}
            assert tools["say"].input_schema["properties"]["database"]["enum"] == ["closed"]
        for wrong in (f"{key}x", key[:-1], "isk_", f"isk_{'a' * 43}", key.removeprefix("isk_")):
            assert await status(one, wrong) == 401
        await asyncio.to_thread(admin.done, "DELETE", f"/keys/{key_id}")
        await refused_soon(one, key)
        await refused_soon(two, key)


async def test_a_key_is_for_one_service_and_ends_with_its_owner(auth: Auth, admin: Administrator) -> None:
    assert auth.nats is not None
    asked = {"email": "key@example.com", "password": PASSWORD, "roles": ["everything"]}
    owner = (await asyncio.to_thread(admin.done, "POST", "/people", asked))["person"]["id"]
    await asyncio.to_thread(admin.done, "POST", "/services", {"namespace": "apart", "label": "Apart"})
    _, key = await asyncio.to_thread(made, admin, "data:read", account_id=owner, namespace="apart")
    _, second = await asyncio.to_thread(made, admin, "data:read", account_id=owner)
    async with running_gateway(auth.nats, Authority(auth.nats)) as gateway:
        assert await status(gateway, key) == 401
        assert await status(gateway, key, "/mcp/apart") != 401
        assert await status(gateway, second, "/mcp/apart") == 401
        await asyncio.to_thread(admin.done, "PATCH", f"/people/{owner}", {"disabled": True})
        await refused_soon(gateway, second)
        await asyncio.to_thread(admin.done, "PATCH", f"/people/{owner}", {"disabled": False})
        assert await status(gateway, second) != 401
        await asyncio.to_thread(admin.done, "DELETE", f"/people/{owner}")
        await refused_soon(gateway, second)
    assert admin.done("GET", f"/keys?account_id={owner}")["keys"] == []
    await asyncio.to_thread(admin.done, "DELETE", "/services/apart")


async def test_a_key_that_expired_opens_nothing(auth: Auth, admin: Administrator) -> None:
    assert auth.nats is not None
    key_id, key = await asyncio.to_thread(made, admin, "data:read", "admin")
    with sqlite3.connect(auth.database, timeout=10) as database:
        database.execute("UPDATE api_keys SET expires_at = ? WHERE id = ?", (int(time.time()) - 1, key_id))
    answer = auth.get(f"{API}/me", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


def test_keys_are_stored_as_digests_and_listed_without_their_secret(auth: Auth, admin: Administrator) -> None:
    key_id, key = made(admin, "data:read", days=1)
    listed = {one["id"]: one for one in admin.done("GET", "/keys")["keys"]}
    assert listed[key_id]["owner"] == EMAIL
    assert 86_390 < listed[key_id]["expires_at"] - time.time() <= 86_400
    assert key not in str(listed)
    assert key.encode() not in b"".join(path.read_bytes() for path in auth.folder.glob("auth.db*"))


def test_an_administrator_scripts_with_a_key_of_the_scope_admin_alone(auth: Auth, admin: Administrator) -> None:
    _, plain = made(admin, "data:read")
    _, key = made(admin, "admin")

    def call(method: str, path: str, token: str, body: Any = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.request(method, auth.url + API + path, json=body, headers=headers, verify=TLS)

    assert call("GET", "/me", key).json()["email"] == EMAIL
    assert call("PUT", "/roles/scripted", key, {"name": "Scripted"}).status_code == 200
    assert call("DELETE", "/roles/scripted", key).status_code == 204
    for token in (plain, "x", "isk_x", key + "x"):
        assert call("GET", "/me", token).status_code == 401
    person = admin.done("POST", "/people", {"email": "once@example.com", "password": PASSWORD, "is_admin": True})
    other = Administrator(auth, "once@example.com", PASSWORD)
    _, theirs = made(other, "admin")
    assert call("GET", "/me", theirs).status_code == 200
    admin.done("PATCH", f"/people/{person['person']['id']}", {"is_admin": False})
    assert call("GET", "/me", theirs).status_code == 403
    refused = admin.refused("POST", "/keys", {"name": "x", "scopes": ["admin"], "account_id": person["person"]["id"]})
    assert refused[0] == 403


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["data:all"]}, "There is no scope 'data:all'."),
        ({"days": 0}, "days"),
        ({"days": 400}, "days"),
        ({"namespace": "nowhere"}, "There is no MCP service of that namespace."),
        ({"account_id": "u_nobody"}, "There is no account of that id."),
        ({"name": ""}, "name"),
    ],
)
def test_what_is_wrong_with_a_key_is_said(admin: Administrator, asked: dict[str, Any], sentence: str) -> None:
    assert sentence in admin.refused("POST", "/keys", {"name": "x", "scopes": ["data:read"], **asked})[1]


def test_people_make_keys_of_their_own_and_end_those_alone(auth: Auth, admin: Administrator) -> None:
    admin.done("POST", "/people", {"email": "own@example.com", "password": PASSWORD})
    browser = Browser(auth)
    form = Form(browser.get("/keys").text)
    browser.submit(form, {"email": "own@example.com", "password": PASSWORD})
    page = browser.get("/keys").text
    assert "Administrate" not in page
    token = page.partition('name="csrf_token" value="')[2][:64]

    def post(**fields: Any) -> httpx2.Response:
        return browser.http.post("/keys", data={"csrf_token": token, **fields}, headers={"Origin": auth.url})

    page = post(name="<b>Mine</b>", scope=["data:read", "files:read"], days="30")
    key = page.text.partition('<code class="secret">')[2].partition("<")[0]
    assert key.startswith("isk_")
    assert "<b>" not in page.text
    again = browser.get("/keys").text
    assert key not in again
    assert "Read the schemas and rows of databases; List, read and search files" in again
    assert "A key needs a name" in post(name="x").text
    assert post(name="x", scope=["admin"], days="30").status_code == 403
    foreign, _ = made(admin, "data:read")
    assert post(end=foreign).status_code == 404
    own = again.partition('name="end" value="')[2].partition('"')[0]
    assert post(end=own).status_code == 303
    assert own not in browser.get("/keys").text
    assert httpx2.post(f"{auth.url}/keys", data={"name": "x"}, verify=TLS).status_code == 403
