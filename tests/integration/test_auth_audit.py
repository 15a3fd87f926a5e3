"""What auth puts on the audit trail, and that a bus which is away loses none of it."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

from auth_server import CLIENT_ID, EMAIL, Auth, Browser
from browser import Form
from servers import NatsServer
from trail import Event, reading


async def trail(nats: NatsServer, count: int) -> list[Event]:
    """The events, once there are so many."""
    async with reading(nats) as found:
        return await found.until(lambda events: len(events) >= count)


def go_through_everything(auth: Auth) -> dict[str, Any]:
    browser = Browser(auth)
    form = Form(browser.get("/admin/").text)
    browser.submit(form, {"email": EMAIL, "password": "not the password"})
    browser.submit(form, {"email": "nobody@example.com", "password": "not the password"})
    browser.sign_in()
    auth.browser = browser
    token = auth.exchange(auth.code()).json()
    browser.decide(auth.request(), "deny")
    auth.refresh("not a token")
    auth.token({"grant_type": "refresh_token", "client_id": "unknown", "refresh_token": "x"})
    auth.post(
        "/revoke",
        {"token": token["refresh_token"], "client_id": CLIENT_ID, "client_secret": "the-secret-of-the-service-client"},
    )
    return token


def waiting(auth: Auth) -> int:
    """Events that the stream has not acknowledged."""
    with sqlite3.connect(auth.database) as database:
        return database.execute("select count(*) from audit_entries").fetchone()[0]


EXPECTED = [
    ("sign_in", "wrong"),
    ("sign_in", "wrong"),
    ("sign_in", "ok"),
    ("consent", "ok"),
    ("token", "ok"),
    ("consent", "denied"),
    ("token", "invalid_grant"),
    ("revoked", "ok"),
]


async def test_who_signed_in_and_allowed_what_is_on_record(nats: NatsServer, tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth", nats)
    with auth.running():
        token = await asyncio.to_thread(go_through_everything, auth)
        events = await trail(nats, len(EXPECTED))
    assert [(event["event"], event.get("outcome", "ok")) for event in events] == EXPECTED
    wrong, nobody, right, consent, issued, denied, failed, revoked = events
    assert wrong["principal"] == right["principal"] == consent["principal"] == issued["principal"]
    assert "principal" not in nobody
    assert (consent["client"], consent["scope"], consent["sources"]) == (CLIENT_ID, "data:read data:write", ["**"])
    assert (issued["grant"], issued["service"]) == ("authorization_code", "default")
    assert "scope" not in denied
    assert (failed["client"], failed["grant"]) == (CLIENT_ID, "refresh_token")
    assert revoked["client"] == CLIENT_ID
    assert {event["address"] for event in events} == {"127.0.0.1"}
    text = json.dumps(events)
    for secret in (token["access_token"], token["refresh_token"], "not the password", EMAIL, "nobody@example.com"):
        assert secret not in text


async def test_a_bus_that_is_away_loses_no_event(nats: NatsServer, tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth", nats)
    with auth.running():
        nats.stop()
        await asyncio.to_thread(go_through_everything, auth)
        assert waiting(auth) == len(EXPECTED)
    with auth.running():  # what waits outlives the process
        nats.start()
        events = await trail(nats, len(EXPECTED))
        assert [(event["event"], event.get("outcome", "ok")) for event in events] == EXPECTED
        async with asyncio.timeout(10):
            while waiting(auth):
                await asyncio.sleep(0.02)


async def test_a_flood_of_sign_ins_is_on_record_once(nats: NatsServer, tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth", nats)
    with auth.running():
        browser = Browser(auth)
        form = Form((await asyncio.to_thread(browser.get, "/admin/")).text)
        for _ in range(14):
            await asyncio.to_thread(browser.submit, form, {"email": EMAIL, "password": "x"})
        events = await trail(nats, 11)
        async with asyncio.timeout(10):
            while waiting(auth):
                await asyncio.sleep(0.02)
    assert [event["outcome"] for event in events] == ["wrong"] * 10 + ["too_many"]
