"""The audit trail: real workers and gateways on a bus with the product's own configuration."""

import asyncio
import logging
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from nats.js.api import StreamConfig

import wire
from auth_server import Auth
from fleet import until_listed
from gateways import Gateway, running_gateway
from isthmus import bus, subjects
from isthmus.auditing import STREAM, Written
from isthmus.errors import ConfigurationError, Conflict
from isthmus.launcher import audit as command
from isthmus.launcher.survey import connected
from isthmus.worker import Call, Source, Worker
from isthmus_auth import audit_stream
from isthmus_mcp_gateway import audit
from isthmus_mcp_gateway.audit import Audit, CallEvent
from isthmus_mcp_gateway.redaction import KEPT, LONGEST
from servers import TLS, NatsServer
from shelf import Shelf, served
from trail import Event, reading

ORDERS = Written(object="crm.orders", action="update", count=3, keys=(7, 8, 9), plan="p1")
LINES = Written(object="crm.lines", action="create", keys=(["pen", "DE"],))
SECRET = "hunter2"
"""A value that a client sends, and that must not travel on."""


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What to do."""

    how: str = "well"
    value: str = SECRET
    database: str | None = None


class Seen(msgspec.Struct):
    """A table."""

    columns: list[str] = msgspec.field(default_factory=lambda: ["word"])
    rows: list[list[str]] = msgspec.field(default_factory=lambda: [["one"], ["two"]])

    def text(self) -> str:
        return "one, two"


def make_worker(shelf: Shelf) -> Worker[Shelf]:
    """One tool that writes, whose call ends in every way; one that reads."""
    worker = Worker[Shelf]("db", argument="database")

    @worker.tool(scope="data:write", action="update")
    async def change(call: Call[Shelf], arguments: Change) -> str:
        """Changes something, in one of many ways."""
        if arguments.how == "ask":
            call.elicit("sure", "Sure?", Change)
        if arguments.how == "refuse":
            raise Conflict("No.")
        if arguments.how == "hold":
            call.wrote(LINES)
            shelf.held += 1
            await shelf.open.wait()
        if arguments.how == "finish":  # as a commit that was quicker than the cancellation
            shelf.held += 1
            try:
                await shelf.open.wait()
            except asyncio.CancelledError:
                shelf.stopped += 1
        call.wrote(ORDERS)
        if arguments.how == "fail":
            raise RuntimeError(SECRET)
        if arguments.how == "conflict":
            raise Conflict("Only after it was written.")
        call.wrote(LINES)
        return "done"

    @worker.tool(scope="data:write", action="update", task_support="optional")
    async def change_slowly(call: Call[Shelf], arguments: Change) -> str:
        """Changes something in a task."""
        await call.become_task()
        call.wrote(ORDERS)
        return "done"

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def look(call: Call[Shelf], arguments: Change) -> Seen:
        """Reads."""
        return Seen()

    worker.add(Source("shelf", shelf, engine="test", target="test://shelf", writable=True))
    return worker


@asynccontextmanager
async def calling(nats: NatsServer, shelf: Shelf | None = None) -> AsyncGenerator[tuple[Gateway, Client]]:
    async with (
        running_gateway(nats, call_timeout=10) as gateway,
        served(make_worker(shelf or Shelf()), nats),
        gateway.client() as client,
    ):
        await until_listed(client, "shelf")
        yield gateway, client


def outcomes(events: list[Event]) -> list[str]:
    return [event["outcome"] for event in events]


def objects(event: Event) -> list[str]:
    return [written["object"] for written in event.get("written", ())]


async def test_every_call_leaves_an_event_that_says_who_did_what_where(nats: NatsServer) -> None:
    async with calling(nats) as (gateway, client), reading(nats, ignored="") as trail:
        assert not (await client.call_tool("change", {"database": "shelf"})).is_error
        table = await client.call_tool("look", {"value": "hidden"})
        await client.call_tool("list_sources", {"kind": "db"})
        event, read, listed = (await trail.until(lambda events: events and events[-1].get("arguments") == ["kind"]))[
            -3:
        ]
        assert gateway.app is not None
        assert (read["tool"], read["read_only"], read["rows"], read["arguments"]) == ("look", True, 2, ["value"])
        assert (listed["tool"], listed["arguments"], "source" in listed) == ("list_sources", ["kind"], False)
        assert read["bytes"] > len(str(table.structured_content))
        assert event.pop("bytes") > 0
        assert event.pop("time").endswith("Z")
        assert len(event.pop("call")) == 24
        assert event.pop("milliseconds") > 0
        assert event == {
            "event": "call",
            "gateway": gateway.app.state.gateway.id,
            "principal": "ann",
            "client": "c",
            "service": "default",
            "tool": "change",
            "arguments": ["database"],
            "source": "db.shelf",
            "outcome": "ok",
            "written": [
                {"object": "crm.orders", "action": "update", "count": 3, "keys": [7, 8, 9], "plan": "p1"},
                {"object": "crm.lines", "action": "create", "count": 1, "keys": [["pen", "DE"]]},
            ],
        }


async def test_every_outcome_of_a_write_is_on_record_in_order_and_nothing_of_its_values(nats: NatsServer) -> None:
    async with calling(nats) as (gateway, client), reading(nats) as trail:
        for how in ("refuse", "conflict", "fail"):
            await client.call_tool("change", {"how": how})
        with pytest.raises(MCPError):  # this client has no forms for its user
            await client.call_tool("change", {"how": "ask"})
        await client.call_tool("change", {"database": "nowhere"})
        await client.call_tool("change", {"hwo": "well"})
        await gateway.authority.publish({"role.reader": {"id": "reader", "name": "Reader", "grants": []}})
        async with gateway.client(token=gateway.authority.token(sub="eve")) as eve:
            await eve.call_tool("change", {})
        events = await trail.until(lambda events: len(events) == 7)
        told = ["conflict", "conflict", "worker_failed", "client_cannot"]
        assert outcomes(events) == [*told, "unknown_source", "invalid_arguments", "unknown_tool"]
        assert [objects(event) for event in events] == [[], ["crm.orders"], ["crm.orders"], [], [], [], []]
        assert (events[-1]["principal"], events[-1]["tool"]) == ("eve", "change")
        assert SECRET not in str(events)
        assert gateway.authority.token()[:20] not in str(events)


@pytest.mark.parametrize(("how", "late"), [("hold", ["crm.lines"]), ("finish", ["crm.orders", "crm.lines"])])
async def test_what_was_committed_when_its_caller_had_gone_is_on_record_too(
    nats: NatsServer, how: str, late: list[str]
) -> None:
    shelf = Shelf()
    async with calling(nats, shelf) as (gateway, _), reading(nats) as trail:
        async with gateway.client() as leaving:
            call = asyncio.create_task(leaving.call_tool("change", {"how": how}))
            await shelf.until_held()
            call.cancel()
            await asyncio.wait([call])
        cancelled, told = await trail.until(lambda events: len(events) == 2)
        assert (cancelled["outcome"], objects(cancelled)) == ("cancelled", [])
        assert (told["late"], told["call"], told["outcome"]) == (True, cancelled["call"], "cancelled")
        assert objects(told) == late


async def test_a_bus_that_goes_during_a_write_loses_no_event_and_the_worker_tells_later_what_it_wrote(
    nats: NatsServer,
) -> None:
    shelf = Shelf()
    async with calling(nats, shelf) as (_, client), reading(nats) as trail:
        await client.call_tool("change", {})
        await trail.until(lambda events: len(events) == 1)
        call = asyncio.create_task(client.call_tool("change", {"how": "finish"}))
        await shelf.until_held()
        nats.stop()
        assert (await call).is_error
        assert (await client.call_tool("change", {})).is_error  # no bus to write over
        shelf.open.set()
        nats.start()
        events = await trail.until(lambda events: len(events) == 4, 20)
        assert outcomes(events)[0] == "ok"
        assert set(outcomes(events)[1:]) == {"outcome_unknown", "no_worker"}
        late = next(event for event in events if event.get("late"))
        unknown = next(event for event in events[1:] if event["outcome"] == "outcome_unknown")
        assert (late["call"], objects(late)) == (unknown["call"], ["crm.orders", "crm.lines"])


async def test_both_eras_and_tasks_leave_the_same_events_with_the_trace_of_their_callers(nats: NatsServer) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with calling(nats) as (gateway, _), reading(nats) as trail:
        call: dict[str, Any] = {"name": "change", "arguments": {}}
        await wire.ask(gateway, "tools/call", call, traceparent=f"00-{trace}-b7ad6b7169203331-01")
        async with gateway.client("legacy") as older:
            await older.call_tool("change", {})
        await wire.ask(gateway, "tools/call", {**call, "name": "change_slowly"}, capabilities=wire.TASKS)
        events = await trail.until(lambda events: len(events) == 4)
        assert outcomes(events) == ["ok", "ok", "task", "ok"]
        assert [event.get("trace") for event in events] == [trace, None, None, None]
        assert [objects(event) for event in events[:2]] == [["crm.orders", "crm.lines"]] * 2
        assert objects(events[2]) + objects(events[3]) == ["crm.orders"]  # told once, as soon as it is known
        assert events[2]["call"] == events[3]["call"]


async def test_requests_that_come_no_further_than_the_gate_are_counted(nats: NatsServer) -> None:
    async with calling(nats) as (gateway, _), reading(nats) as trail:
        async with httpx2.AsyncClient(base_url=gateway.url, verify=TLS) as http:
            await http.post("/mcp")  # as every client does at first
            for number in range(20):
                await http.post("/mcp", headers={"Authorization": f"Bearer {number}"})
            token = gateway.authority.token(sub="bob", scope="data:read")
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "change"}}
            await http.post("/mcp", json=body, headers={"Authorization": f"Bearer {token}"})
        events = await trail.until(lambda events: sum(event.get("count", 0) for event in events) == 21)
        assert len(events) <= 4  # one or two seconds
        assert {event["event"] for event in events} == {"refused"}
        (missing,) = [event for event in events if event["status"] == 403]
        assert (missing["principal"], missing["client"], missing["scope"]) == ("bob", "c", "data:write")
        assert "principal" not in next(event for event in events if event["status"] == 401)
        assert token[:20] not in str(events)


def test_of_arguments_names_values_or_nothing_are_kept_and_never_what_is_written() -> None:
    sent = {"table": "orders", "filter": "total > 5", "records": [{"salary": SECRET}], "content": SECRET}
    assert KEPT["none"](sent) is msgspec.UNSET
    assert KEPT["names"](sent) == msgspec.Raw(b'["table","filter","records","content"]')
    assert KEPT["names"]({}) is msgspec.UNSET
    kept = msgspec.json.decode(msgspec.json.encode(KEPT["values"](sent)))
    assert kept == {"table": "orders", "filter": "total > 5", "records": {"bytes": 22}, "content": {"bytes": 9}}
    long = {"filter": "x" * 10_000, "columns": ["a"]}
    kept = msgspec.json.decode(msgspec.json.encode(KEPT["values"](long)))
    assert kept == {"filter": {"bytes": 10_002}, "columns": ["a"]}
    many = {str(number): "\ud800" for number in range(1000)}
    assert len(msgspec.json.encode(KEPT["values"](many))) < 2 * LONGEST
    assert len(msgspec.json.encode(KEPT["names"]({"n" * 1000: 1}))) < 100


async def test_reads_leave_half_of_the_room_to_writes(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST", 10)
    client = await bus.connect(nats.settings("gateway"), "gateway", pending_size=0)
    trail_of_gateway = Audit(client, "g")
    for number in range(20):
        trail_of_gateway.put(msgspec.structs.replace(call_event(number), read_only=True))
    for number in range(100, 105):
        trail_of_gateway.put(call_event(number))
    async with reading(nats) as trail:
        await audit_stream.make(trail.client.jetstream())
        trail_of_gateway.start()
        events = await trail.until(lambda events: len(events) >= 11)
        assert [event.get("call") for event in events[:10]] == [*"01234", *(str(n) for n in range(100, 105))]
        assert events[10]["count"] == 15
        await trail_of_gateway.close()
    await client.close()


def test_what_is_no_trace_id_is_left_out() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert audit.trace_id(f"00-{trace}-b7ad6b7169203331-01") == trace
    assert audit.trace_id(f"00-{'0' * 32}-b7ad6b7169203331-01") == ""
    assert audit.trace_id("hunter2") == ""


def call_event(number: int) -> CallEvent:
    return CallEvent(
        time=audit.now(),
        gateway="g",
        call=str(number),
        principal="ann",
        client="c",
        service="default",
        tool="change",
        outcome="ok",
        milliseconds=1.0,
    )


async def test_ten_thousand_events_go_in_batches_and_in_order(nats: NatsServer) -> None:
    client = await bus.connect(nats.settings("gateway"), "gateway", pending_size=0)
    trail_of_gateway = Audit(client, "g")
    async with reading(nats) as trail:
        await audit_stream.make(trail.client.jetstream())
        for number in range(audit.MOST):
            trail_of_gateway.put(call_event(number))
        trail_of_gateway.start()
        events = await trail.until(lambda events: len(events) >= audit.MOST)
        assert [event["call"] for event in events] == [str(number) for number in range(audit.MOST)]
        assert trail.messages == audit.MOST // audit.BATCH
        await trail_of_gateway.close()
    await client.close()


async def test_without_a_stream_events_gather_up_to_a_bound_and_the_gap_is_told_in_its_place(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit, "MOST", 250)
    caplog.set_level(logging.WARNING, "isthmus.audit")
    client = await bus.connect(nats.settings("gateway"), "gateway", pending_size=0)
    trail_of_gateway = Audit(client, "g")
    trail_of_gateway.start()
    for number in range(1000):
        trail_of_gateway.put(call_event(number))
    async with reading(nats) as trail:
        async with asyncio.timeout(5):
            while not caplog.messages:
                await asyncio.sleep(0.01)
        await audit_stream.make(trail.client.jetstream())
        events = await trail.until(lambda events: len(events) >= 251)
        trail_of_gateway.put(call_event(1000))
        await trail_of_gateway.close()  # waits until that one is acknowledged
        await trail.until(lambda events: len(events) >= 252)
        kept = [event["call"] for event in events if event["event"] == "call"]
        assert kept == [*(str(number) for number in range(250)), "1000"]
        (lost,) = [event for event in events if event["event"] == "lost"]
        assert (lost["count"], lost["gateway"]) == (750, "g")
        assert events.index(lost) < len(events) - 1
    assert caplog.messages == [
        "the audit trail cannot be written (NoStreamResponseError): 250 events wait, 750 are lost"
    ]
    await client.close()


async def test_the_command_prints_the_trail_from_when_it_is_asked_to_and_follows_it(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with connected(nats.settings("auth"), command.USER) as client:
        with pytest.raises(command.NoTrail):
            [line async for line in command.read(client, None, follow=False)]
        with Auth(tmp_path / "auth", nats).running():
            gateway = await bus.connect(nats.settings("gateway"), "gateway", pending_size=0)
            trail_of_gateway = Audit(gateway, "g")
            trail_of_gateway.start()
            for number in range(150):
                trail_of_gateway.put(call_event(number))
            await trail_of_gateway.close()
            await gateway.close()
        lines = [line async for line in command.read(client, timedelta(hours=1), follow=False)]
        assert [msgspec.json.decode(line)["call"] for line in lines] == [str(number) for number in range(150)]
        assert [line async for line in command.read(client, None, follow=False)] == lines
        assert [line async for line in command.read(client, timedelta(0), follow=False)] == []
        following = command.read(client, timedelta(0), follow=True)
        next_line = asyncio.create_task(anext(following))
        async with asyncio.timeout(5):
            while not next_line.done():  # it begins with what comes after it has begun
                await client.jetstream().publish(subjects.audit("auth"), b'{"event": "test"}')
                await asyncio.wait([next_line], timeout=0.05)
        assert next_line.result() == '{"event": "test"}'
        await following.aclose()


def test_since_and_until_take_a_number_and_a_unit() -> None:
    assert command.parse_ago("--since", "90m") == timedelta(minutes=90)
    assert command.parse_ago("--since", "") is None
    with pytest.raises(ConfigurationError, match="--until takes a time"):
        command.parse_ago("--until", "yesterday")


async def test_the_trail_is_exported_up_to_a_moment_to_a_file_of_ones_own(nats: NatsServer, tmp_path: Path) -> None:
    async with reading(nats) as trail:
        stream = trail.client.jetstream()
        await audit_stream.make(stream)
        old, new = (datetime.now(UTC) - timedelta(hours=hours) for hours in (3, 1))
        lines = [f'{{"event":"test","time":"{when.isoformat()}"}}' for when in (old, new)]
        await stream.publish(subjects.audit("auth"), "\n".join(lines).encode())
    output = tmp_path / "audit.jsonl"

    def export(until: timedelta | None) -> list[str]:
        command.show(nats.settings("auth"), None, until, output=output, follow=False)
        assert stat.S_IMODE(output.stat().st_mode) == 0o600
        return output.read_text().splitlines()

    assert await asyncio.to_thread(export, timedelta(hours=2)) == lines[:1]
    with pytest.raises(ConfigurationError, match="--output: File exists"):
        await asyncio.to_thread(export, None)
    output.unlink()
    assert await asyncio.to_thread(export, None) == lines


async def test_auth_makes_the_stream_and_brings_another_one_up_to_date(nats: NatsServer) -> None:
    async with reading(nats) as trail:
        stream = trail.client.jetstream()

        async def settings() -> dict[str, Any]:
            config = (await stream.stream_info(STREAM)).config
            return {name: getattr(config, name) for name in audit_stream.ours()}

        await audit_stream.make(stream)
        assert await settings() == audit_stream.ours()
        older = StreamConfig(name=STREAM, subjects=["isthmus.audit.gateway"], max_age=3600, description="mine")
        await stream.update_stream(older)
        await audit_stream.make(stream)
        assert await settings() == audit_stream.ours()
        assert (await stream.stream_info(STREAM)).config.description == "mine"
        await audit_stream.make(stream)
