"""The audit trail in the admin REST API and in the console: paged, filtered, followed, exported."""

import asyncio
import csv
import io
import re
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from administrator import Administrator
from auth_server import EMAIL, Auth, auth_with_bus
from console import Console, shown
from isthmus import bus, subjects
from isthmus_auth import audit_reader
from isthmus_auth.answers import Refusal
from isthmus_auth.audit_reader import Wanted, matching
from servers import NatsServer

Event = dict[str, Any]
BEGAN = int(time.time()) // 60 * 60 - 1200


@pytest.fixture(scope="module")
def auth(tmp_path_factory: pytest.TempPathFactory) -> Generator[Auth]:
    with auth_with_bus(tmp_path_factory.mktemp("auth")) as server:
        yield server


@pytest.fixture(scope="module")
def admin(auth: Auth) -> Administrator:
    return Administrator(auth)


@pytest.fixture(scope="module")
def console(auth: Auth) -> Console:
    return Console(auth)


def publish(auth: Auth, *messages: list[Event] | bytes) -> None:
    """As gateways do: each a message of the stream, an event a line."""

    async def run() -> None:
        assert auth.nats is not None
        client = await bus.connect(auth.nats.settings("gateway"), "gateway")
        stream = client.jetstream()
        for message in messages:
            body = message if isinstance(message, bytes) else b"\n".join(map(msgspec.json.encode, message))
            await stream.publish(subjects.audit("gateway"), body)
        await client.close()

    asyncio.run(run())


def at(second: int) -> str:
    """A time of some minutes ago."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(BEGAN + second))


def call(number: int, **changes: Any) -> Event:
    usual = {"event": "call", "time": f"{at(number)}.000Z", "gateway": "g"}
    return {**usual, "principal": "ann", "client": "app", "service": "default", "tool": f"tool_{number}", **changes}


def listed(admin: Administrator, query: str) -> dict[str, Any]:
    return admin.done("GET", f"/audit?{query}")


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_pages_lose_and_repeat_nothing_while_new_events_come(auth: Auth, admin: Administrator) -> None:
    mine = [call(number, client="paging") for number in range(230)]
    publish(auth, *(mine[start : start + 23] for start in range(0, 230, 23)))
    seen: list[str] = []
    before = ""
    for pages in range(10):
        page = listed(admin, f"client=paging&before={before}")
        seen += [found["event"]["tool"] for found in page["events"]]
        assert len(page["events"]) <= audit_reader.PAGE
        publish(auth, [call(900 + pages, client="paging", tool="new")])
        before = page["next_before"]
        if before is None:
            break
    assert seen == [f"tool_{number}" for number in reversed(range(230))]


def test_what_is_new_is_told_once(auth: Auth, admin: Administrator) -> None:
    page = listed(admin, "client=following")
    assert page["events"] == []
    publish(auth, [call(1, client="following"), call(2, client="other")], [call(3, client="following")])
    newer = listed(admin, f"client=following&after={page['newest']}")
    assert [found["event"]["tool"] for found in newer["events"]] == ["tool_3", "tool_1"]
    assert listed(admin, f"client=following&after={newer['newest']}")["events"] == []


@pytest.mark.parametrize(
    ("query", "tools"),
    [
        ("tool=tool_2", [2]),
        ("source=db.shop", [1]),
        ("outcome=failed", [3]),
        ("outcome=not_allowed", [3]),
        ("outcome=ok", [4, 2, 1]),
        ("search=GR%C3%9CSSE", [2]),
        ("principal=bob", [4]),
        (f"since={at(3)}", [4, 3]),
        (f"until={at(2)}", [2, 1]),
        (f"since={at(1)[:10]}&until={at(4)[:10]}", [4, 3, 2, 1]),
        ("event=call&service=default", [4, 3, 2, 1]),
        ("event=refused", []),
    ],
)
def test_events_are_filtered(auth: Auth, admin: Administrator, query: str, tools: list[int]) -> None:
    if not listed(admin, "client=filtering")["events"]:
        publish(
            auth,
            [
                call(1, client="filtering", source="db.shop"),
                call(2, client="filtering", arguments={"text": "Grüsse"}),
                call(3, client="filtering", outcome="not_allowed"),
                call(4, client="filtering", principal="bob", outcome="ok"),
            ],
        )
    found = listed(admin, f"client=filtering&{query}")["events"]
    assert [one["event"]["tool"] for one in found] == [f"tool_{number}" for number in tools]


def test_lines_that_cannot_be_read_and_events_of_unknown_kinds_are_passed_on(auth: Auth, admin: Administrator) -> None:
    unknown = {"event": "later", "client": "odd", "new_field": {"deep": [1]}}
    publish(auth, b'{"event": "broken "odd"', [unknown], b"[1, 2]\n\xff\xfe odd")
    events = [found["event"] for found in listed(admin, "search=odd")["events"]]
    assert unknown in events
    assert sum(event["event"] == "unreadable" for event in events) == 2


def test_a_search_that_finds_nothing_says_how_far_back_it_looked(
    auth: Auth, admin: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(auth, *([call(number)] for number in range(60)))
    monkeypatch.setattr(audit_reader, "MOST_LOOKED_AT", 20)
    page = listed(admin, "search=there-is-no-such-thing")
    assert page["events"] == []
    assert page["next_before"]
    assert page["looked_back_to"] > "2026"
    rounds = 0
    while page["next_before"]:
        rounds += 1
        assert rounds < 50
        page = listed(admin, f"search=there-is-no-such-thing&before={page['next_before']}")


@pytest.mark.parametrize("query", ["before=x", "before=1", "before=1.2.3", "after=-1.0", "since=yesterday", "until=1"])
def test_what_is_no_place_and_no_time_is_refused(admin: Administrator, query: str) -> None:
    assert admin.call("GET", f"/audit?{query}").status_code == 400


def test_everything_is_exported_in_order_and_no_formula_with_it(auth: Auth, admin: Administrator) -> None:
    evil = '=HYPERLINK("http://evil.example")'
    publish(auth, [call(1, client="export", tool=evil), call(2, client="export", written=[{"object": "crm.orders"}])])
    exported = admin.call("GET", "/audit/export?client=export")
    events = [msgspec.json.decode(line) for line in exported.text.splitlines()]
    assert [event["tool"] for event in events] == [evil, "tool_2"]
    as_csv = admin.call("GET", "/audit/export?client=export&format=csv")
    assert "isthmus-audit.csv" in as_csv.headers["content-disposition"]
    head, first, second = csv.reader(io.StringIO(as_csv.text))
    assert dict(zip(head, first, strict=True))["tool"] == f"'{evil}"
    assert dict(zip(head, second, strict=True))["written"] == '[{"object":"crm.orders"}]'
    assert admin.call("GET", "/audit/export?client=nobody").text == ""


def test_the_trail_is_for_administrators_alone(auth: Auth) -> None:
    for path in ("/api/admin/audit", "/api/admin/audit/export"):
        assert auth.get(path).status_code == 401


def test_the_page_shows_people_by_their_addresses_and_nothing_as_markup(auth: Auth, console: Console) -> None:
    publish(auth, [call(1, client="markup", tool="<script>alert(1)</script>", written=[{"keys": [7, "<b>"]}])])
    until(lambda: "admin@example.com" in console.get("/admin/audit?event=sign_in"))
    page = console.get("/admin/audit?client=markup")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "[{&#34;keys&#34;:[7,&#34;&lt;b&gt;&#34;]}]" in page
    by_address = shown(console.get(f"/admin/audit?principal={EMAIL}&event=sign_in"))
    assert "sign in password" in by_address


def test_the_page_leads_to_older_events_and_follows_new_ones(auth: Auth, console: Console) -> None:
    publish(auth, [call(number, client="walk") for number in range(70)])
    page = console.get("/admin/audit?client=walk")
    older = re.findall(r'rel="next" href="([^"]+)">Older<', page)[0].replace("&amp;", "&")
    assert "tool_69" in page
    assert "tool_0<" in console.get(older)
    page = console.get("/admin/audit?client=walk&follow=true")
    newer = re.findall(r'hx-get="([^"]+)"', page)[0].replace("&amp;", "&")
    publish(auth, [call(100, client="walk")])
    part = console.get(newer)
    assert "tool_100" in part
    assert "tool_69" not in part
    assert "<html" not in part


def test_empty_pages_say_the_next_step(console: Console) -> None:
    page = shown(console.get("/admin/audit?search=never-ever-said"))
    assert "Nothing on the trail matches. All events" in page


def test_a_trail_that_does_not_answer_is_said_on_the_page(tmp_path: Path) -> None:
    alone = Auth(tmp_path / "alone")  # without a bus
    with alone.running():
        answer = Console(alone).browser.get("/admin/audit")
        assert answer.status_code == 503
        assert "The bus is away, and the audit trail with it." in answer.text
        assert Administrator(alone).call("GET", "/audit").status_code == 503


async def test_a_bus_without_the_trail_is_told_from_one_that_is_away(nats: NatsServer) -> None:
    client = await bus.connect(nats.settings("auth"), "auth")
    try:
        with pytest.raises(Refusal, match="There is no audit trail on the bus yet"):
            await audit_reader.find(client, Wanted())
    finally:
        await client.close()
    with pytest.raises(Refusal, match="The bus is away"):
        await audit_reader.find(client, Wanted())


def test_events_that_are_not_wanted_are_told_from_those_that_are() -> None:
    line = b'{"event":"call","time":"2026-11-20T10:00:00.000Z","tool":"a"}'
    assert matching(line, Wanted()) is not None
    assert matching(line, Wanted(tool="b")) is None
    assert matching(line, Wanted(until="2026-11-19")) is None
    assert matching(line, Wanted(until="2026-11-20T10:00Z")) is not None
