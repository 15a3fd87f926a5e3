"""The bus is locked: what each NATS user may publish and hear, and that nothing else is possible.

A flush comes back after everything sent before it was judged, so no test here waits for something not to happen. It
takes two of them: nats-py sends the first one's PING before what it has gathered.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue

from auth_server import Auth
from gateways import running_gateway
from isthmus import policy, subjects
from isthmus.policy import Role
from servers import NatsServer, nats_server
from shelf import Shelf, make_worker, served

KV = f"$KV.{policy.BUCKET}"
STREAM = f"KV_{policy.BUCKET}"
PREFIXES = ("$KV.", "$JS.", "$SRV.", "$SYS.", "isthmus.", "_INBOX")

READS = frozenset(
    {
        f"$JS.API.STREAM.INFO.{STREAM}",
        f"$JS.API.DIRECT.GET.{STREAM}.{KV}.jwks",
        f"$JS.API.CONSUMER.CREATE.{STREAM}",
        f"$JS.API.CONSUMER.CREATE.{STREAM}.name.{KV}.>",
        f"$JS.API.CONSUMER.INFO.{STREAM}.name",
        f"$JS.API.CONSUMER.DELETE.{STREAM}.name",
        f"$JS.FC.{STREAM}.name.x",
    }
)
"""How a watch of the policy is made and kept."""

ASKS = frozenset({"$SRV.PING", "$SRV.INFO.db-worker.x", "$SRV.STATS.file-worker"})


def answers(kind: str) -> frozenset[str]:
    """What a worker of one kind publishes."""
    return frozenset(
        {
            subjects.CATALOG_CHANGED,
            subjects.updated(kind, "shop"),
            f"_INBOX_gateway.{kind}.connection.random",
            "_INBOX_gateway.srv.connection.random",
            "_INBOX_auth.srv.random",
            "_INBOX_ops.random",
        }
    )


MAY_PUBLISH: dict[str, frozenset[str]] = {
    "auth": READS
    | ASKS
    | {
        f"{KV}.role.x",
        f"{KV}.jwks",
        "$JS.API.INFO",
        f"$JS.API.STREAM.CREATE.{STREAM}",
        f"$JS.API.STREAM.UPDATE.{STREAM}",
        f"$JS.API.STREAM.PURGE.{STREAM}",
        subjects.audit("auth"),
        "$JS.API.STREAM.CREATE.AUDIT",
        "$JS.API.STREAM.UPDATE.AUDIT",
        "$JS.API.STREAM.INFO.AUDIT",
        "$JS.API.DIRECT.GET.AUDIT",
        "$JS.API.CONSUMER.CREATE.AUDIT.name.x",
        "$JS.API.CONSUMER.MSG.NEXT.AUDIT.name",
        "$JS.API.CONSUMER.DELETE.AUDIT.name",
        "$JS.ACK.AUDIT.name.1.1.1.1.1",
    },
    "gateway": READS
    | ASKS
    | {
        subjects.call("db", "shop", "query_table"),
        subjects.call("file", "papers", "read_file"),
        subjects.tools("db", "digest"),
        subjects.tools("file", "digest"),
        subjects.CANCEL,
        subjects.gateway("g1", "request"),
        subjects.audit("gateway"),
        "_INBOX_gateway.db.connection.random",
        "_INBOX_gateway.file.connection.random",
        "_INBOX_gateway.peer.connection.random",
        "_INBOX_gateway.srv.connection.random",
        "_INBOX_gateway.git.connection.random",
        "_INBOX_gateway.jetstream",
        "_INBOX_gateway.jetstream.random",
        subjects.call("git", "site", "list_commits"),
        subjects.tools("git", "digest"),
    },
    "db_worker": answers("db"),
    "file_worker": answers("file"),
    "worker": answers("git"),
    "ops": ASKS,
}
"""Everything that a user may publish, with one example of each kind."""

NOBODY_PUBLISHES = frozenset(
    {
        f"$JS.API.STREAM.DELETE.{STREAM}",
        f"$JS.API.STREAM.MSG.GET.{STREAM}",
        f"$JS.API.STREAM.MSG.DELETE.{STREAM}",
        f"$JS.API.STREAM.SNAPSHOT.{STREAM}",
        f"$JS.API.STREAM.RESTORE.{STREAM}",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.name",
        f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.name",
        f"$JS.API.CONSUMER.LIST.{STREAM}",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.CREATE.other",
        "$JS.API.STREAM.PURGE.AUDIT",
        "$JS.API.STREAM.DELETE.AUDIT",
        "$JS.FC.other.name.x",
        "$KV.other.x",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.ACCOUNT.ISTHMUS.CONNZ",
        "_INBOX_auth.jetstream",
        "_INBOX_db_worker.random",
        "_INBOX.random",
        "isthmus.other",
        "isthmus.updated",
        "isthmus.updated.git",
    }
)

SUBJECTS = sorted(NOBODY_PUBLISHES.union(*MAY_PUBLISH.values()))


def hears(kind: str) -> frozenset[str]:
    """What a worker of one kind subscribes to."""
    service = f"{kind}-worker"
    addressed = ((), (service,), (service, "x"))
    return frozenset(
        {
            subjects.calls(kind, "shop"),
            f"isthmus.call.{kind}.>",
            subjects.tools(kind, "digest"),
            subjects.CANCEL,
            f"_INBOX_{kind}_worker.>",
            *(subjects.srv(verb, *to) for verb in ("PING", "INFO", "STATS") for to in addressed),
        }
    )


WILDCARDS = frozenset(
    {"isthmus.call.>", "isthmus.call.*.shop.*", "isthmus.tools.>", "$SRV.PING.>", "$SRV.INFO.*.*", "$SRV.STATS.*"}
)
"""What `worker` may subscribe to and hears only its part of."""


MAY_SUBSCRIBE: dict[str, frozenset[str]] = {
    "auth": frozenset({"_INBOX_auth.>", subjects.CATALOG_CHANGED}),
    "gateway": frozenset(
        {
            "_INBOX_gateway.>",
            "_INBOX_gateway.db.connection.*",
            subjects.CATALOG_CHANGED,
            subjects.updated("*", "*"),
            subjects.gateway("g1", "request"),
        }
    ),
    "db_worker": hears("db"),
    "file_worker": hears("file"),
    "worker": (hears("git") - {"_INBOX_git_worker.>"}) | {"_INBOX_worker.>"} | WILDCARDS,
    "ops": frozenset({"_INBOX_ops.>"}),
}

NOBODY_SUBSCRIBES = frozenset(
    {
        *(">", "*", "*.>", "isthmus.>", "isthmus.*.>", "isthmus.audit.>"),
        *("$JS.>", "$JS.API.>", "$JS.EVENT.>", "$KV.>", f"{KV}.>", "$SYS.>", "$SRV.>", "$SRV.*"),
        *("_INBOX.>", "_INBOX_sys.>", "_INBOX_git_worker.>", "$SRV.*.db-worker", "$SRV.*.file-worker.>"),
    }
)
LISTENED = sorted(NOBODY_SUBSCRIBES.union(*MAY_SUBSCRIBE.values()))


@dataclass
class User:
    """One NATS user's connection, and what the bus refused it."""

    client: Client
    refusals: list[str] = field(default_factory=list[str])

    async def refused(self) -> bool:
        """Whether anything sent since the last question was refused."""
        await settled(self.client)
        refused, self.refusals[:] = list(self.refusals), []
        assert all("permissions violation" in refusal.lower() for refusal in refused), refused
        return bool(refused)


async def settled(client: Client) -> None:
    """The server has judged all that this client sent, and what it had to say to that is here."""
    await client.flush()
    await client.flush()


@asynccontextmanager
async def connected(server: NatsServer, name: str) -> AsyncGenerator[User]:
    refusals: list[str] = []

    async def on_error(error: Exception) -> None:
        refusals.append(str(error))

    client = Client()
    await client.connect(
        server.url,
        user=name,
        password=server.passwords[name],
        inbox_prefix=f"_INBOX_{name}",
        error_cb=on_error,
        allow_reconnect=False,
    )
    try:
        yield User(client, refusals)
    finally:
        await client.close()


@pytest.fixture(scope="module")
def spied(tmp_path_factory: pytest.TempPathFactory) -> Generator[NatsServer]:
    """The product's configuration, and in the same account one more user, who hears and may do everything."""
    folder = tmp_path_factory.mktemp("spied")
    conf = (resources.files("isthmus") / "nats.conf").read_text()
    spied, count = re.subn(r"users: \[", "users: [ { user: spy, password: pspy }", conf, count=1)
    assert count == 1
    (folder / "nats.conf").write_text(spied)
    server = NatsServer(folder, configuration=folder / "nats.conf")
    server.passwords["spy"] = "pspy"
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("name", sorted(MAY_PUBLISH))
async def test_a_user_publishes_what_its_work_needs_and_nothing_else_arrives(spied: NatsServer, name: str) -> None:
    async with connected(spied, name) as user, connected(spied, "spy") as spy:
        arrived: list[str] = []

        async def on_message(message: Msg) -> None:
            if message.data == name.encode():
                arrived.append(message.subject)

        await spy.client.subscribe(">", cb=on_message)
        await settled(spy.client)
        passed: set[str] = set()
        for subject in SUBJECTS:
            await user.client.publish(subject, name.encode())
            if not await user.refused():
                passed.add(subject)
        await settled(spy.client)
        assert passed == MAY_PUBLISH[name]
        assert set(arrived) <= MAY_PUBLISH[name]
        assert {s for s in arrived if not s.startswith("$JS.")} == {s for s in passed if not s.startswith("$JS.")}


@pytest.mark.parametrize("name", sorted(MAY_SUBSCRIBE))
async def test_a_user_hears_what_its_work_needs_and_nothing_else(spied: NatsServer, name: str) -> None:
    async with connected(spied, name) as user:
        passed: set[str] = set()
        for subject in LISTENED:
            subscription = await user.client.subscribe(subject)
            if not await user.refused():
                passed.add(subject)
            await subscription.unsubscribe()
        inbox = f"_INBOX_{name}.>"
        assert passed == MAY_SUBSCRIBE[name] | {inbox}


def test_the_tables_know_every_subject_of_the_configuration() -> None:
    conf = (resources.files("isthmus") / "nats.conf").read_text()
    configured = {text for text in re.findall(r'"([^"]+)"', conf) if text.startswith(PREFIXES)}
    known = frozenset(SUBJECTS) | frozenset(LISTENED)

    def covers(pattern: str, subject: str) -> bool:
        expression = re.escape(pattern).replace(r"\*", "[^.]+").replace(r"\.>", r"\..+").replace(">", ".+")
        return re.fullmatch(expression, subject) is not None

    assert [pattern for pattern in configured if not any(covers(pattern, subject) for subject in known)] == []


async def test_a_worker_hears_no_call_of_another_kind_and_cannot_answer_it(spied: NatsServer) -> None:
    async with (
        connected(spied, "gateway") as gateway,
        connected(spied, "db_worker") as owner,
        connected(spied, "file_worker") as thief,
    ):
        stolen = await thief.client.subscribe("isthmus.call.db.shop.*", queue="shop")
        assert await thief.refused()
        calls = await owner.client.subscribe("isthmus.call.db.shop.*", queue="shop")
        replies = await gateway.client.subscribe("_INBOX_gateway.db.c.*")
        await settled(owner.client)
        for number in range(20):
            await gateway.client.publish("isthmus.call.db.shop.say", b"", reply=f"_INBOX_gateway.db.c.{number}")
        await settled(gateway.client)
        for number in range(20):
            call = await calls.next_msg(1)
            await thief.client.publish(call.reply, b"forged")
            assert await thief.refused()
            await owner.client.publish(call.reply, b"true")
            answer = await replies.next_msg(1)
            assert (answer.subject, answer.data) == (f"_INBOX_gateway.db.c.{number}", b"true")
        assert stolen.pending_msgs == 0


async def test_a_worker_of_a_kind_of_its_own_hears_and_takes_nothing_of_databases_and_files(spied: NatsServer) -> None:
    """The bus lets its wildcards in; what is denied does not come, and in a queue group another member has it."""
    async with (
        connected(spied, "gateway") as gateway,
        connected(spied, "db_worker") as owner,
        connected(spied, "worker") as thief,
    ):
        heard: list[str] = []

        async def on_message(message: Msg) -> None:
            heard.append(message.subject)

        for subject in WILDCARDS:
            for queue in ("", "shop"):
                await thief.client.subscribe(subject, queue=queue, cb=on_message)
        assert not await thief.refused()
        calls = await owner.client.subscribe(subjects.calls("db", "shop"), queue="shop")
        await settled(owner.client)
        for _ in range(50):
            await gateway.client.publish(subjects.call("db", "shop", "query_table"), b"secret")
            await gateway.client.publish(subjects.call("file", "shop", "read_file"), b"secret")
        for subject in ("$SRV.INFO.db-worker.x", "$SRV.PING.file-worker", subjects.tools("db", "digest")):
            await gateway.client.publish(subject)
        await gateway.client.publish(own := subjects.call("git", "shop", "list_commits"))
        await settled(gateway.client)
        for _ in range(50):
            assert (await calls.next_msg(1)).data == b"secret"
        await settled(thief.client)
        assert set(heard) == {own}


async def test_a_kind_can_have_a_user_of_its_own_as_the_page_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "bus.md").read_text()
    (entry,) = re.findall(r"```\n(\{ user: git_worker.*?)```", page, re.DOTALL)
    conf = (resources.files("isthmus") / "nats.conf").read_text().replace("users: [", f"users: [ {entry}", 1)
    (tmp_path / "nats.conf").write_text(conf)
    server = NatsServer(tmp_path, configuration=tmp_path / "nats.conf")
    server.passwords["git_worker"] = "pgit"
    server.start()
    try:
        async with connected(server, "git_worker") as user:
            for subject in hears("git"):
                await user.client.subscribe(subject)
                assert not await user.refused(), subject
            for subject in answers("git"):
                await user.client.publish(subject)
                assert not await user.refused(), subject
            for subject in (hears("db") | hears("hg")) - hears("git") | WILDCARDS:
                await user.client.subscribe(subject)
                assert await user.refused(), subject
            for subject in (answers("db") | answers("hg")) - answers("git"):
                await user.client.publish(subject)
                assert await user.refused(), subject
    finally:
        server.stop()


async def test_policy_is_written_by_auth_alone_and_read_by_gateways_alone(spied: NatsServer) -> None:
    async with connected(spied, "auth") as auth, connected(spied, "gateway") as gateway:
        bucket = await auth.client.jetstream().create_key_value(bucket=policy.BUCKET, history=1, direct=True)
        await bucket.put("role.x", b"true")
        reading = await gateway.client.jetstream().key_value(policy.BUCKET)
        assert (await reading.get("role.x")).value == b"true"

        for name in ("gateway", "db_worker", "file_worker", "worker", "ops"):
            async with connected(spied, name) as user:
                for headers in ({}, {"KV-Operation": "DEL"}, {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}):
                    await user.client.publish(f"{KV}.role.x", b"forged", headers=headers)
                    assert await user.refused()
                await user.client.publish(f"$JS.API.STREAM.PURGE.{STREAM}", b"{}", reply=f"_INBOX_{name}.x")
                assert await user.refused()
        assert (await reading.get("role.x")).value == b"true"


async def test_a_gateway_cannot_write_policy_through_a_consumer_either(spied: NatsServer) -> None:
    async with connected(spied, "auth") as auth, connected(spied, "gateway") as gateway:
        bucket = await auth.client.jetstream().create_key_value(bucket=policy.BUCKET, history=1, direct=True)
        await bucket.put("role.reader", b"{}")
        config = {"deliver_subject": f"{KV}.role.admin", "deliver_policy": "all", "ack_policy": "none"}
        body = json.dumps({"stream_name": STREAM, "config": config}).encode()
        answer = await gateway.client.request(f"$JS.API.CONSUMER.CREATE.{STREAM}", body, timeout=2)
        assert "cycle" in json.loads(answer.data)["error"]["description"]
        assert "role.admin" not in await bucket.keys()


async def test_only_sys_sees_the_system_and_it_sees_no_call(spied: NatsServer) -> None:
    async with connected(spied, "sys") as sys_user, connected(spied, "gateway") as gateway:
        answer = await sys_user.client.request("$SYS.REQ.SERVER.PING", timeout=2)
        assert "server" in json.loads(answer.data)
        heard = await sys_user.client.subscribe(">")
        await settled(sys_user.client)
        await gateway.client.publish(subjects.call("db", "shop", "query_table"), b"secret")
        await settled(gateway.client)
        await settled(sys_user.client)
        while heard.pending_msgs:
            assert (await heard.next_msg(1)).data != b"secret"
        answer = await sys_user.client.request("$JS.API.STREAM.NAMES", timeout=2)
        assert "not enabled" in json.loads(answer.data)["error"]["description"]


@pytest.mark.parametrize(("user", "password"), [(None, None), ("gateway", None), ("gateway", "wrong")])
async def test_nobody_comes_in_without_a_password(spied: NatsServer, user: str | None, password: str | None) -> None:
    client = Client()
    with pytest.raises(NatsError, match="Authorization Violation"):
        await client.connect(spied.url, allow_reconnect=False, error_cb=_ignore, user=user, password=password)
    await client.close()


async def test_an_answer_that_cannot_be_sent_ends_no_worker(nats: NatsServer) -> None:
    """`nats micro ls` without an inbox prefix asks for answers where no worker may publish."""
    async with served(make_worker(Shelf()), nats), connected(nats, "ops") as ops:
        for reply in ("_INBOX.somewhere", "isthmus.cancel", "_INBOX_gateway.file.x.y"):
            await ops.client.publish("$SRV.PING", reply=reply)
        answer = await ops.client.request("$SRV.PING.db-worker", timeout=2)
        assert json.loads(answer.data)["name"] == "db-worker"
    assert "Publish Violation" in nats.log.read_text()


async def keys(bucket: KeyValue) -> list[str]:
    """All that there are. The client may take a bucket for empty when the server was quicker than its own look."""
    while True:
        with contextlib.suppress(NoKeysError):
            return await bucket.keys()


async def test_the_services_do_all_their_work_without_one_refusal(tmp_path: Path) -> None:
    (tmp_path / "auth").mkdir()
    with nats_server(tmp_path) as server:
        async with running_gateway(server) as gateway, served(make_worker(Shelf()), server), gateway.client() as client:
            while "say" not in [tool.name for tool in (await client.list_tools()).tools]:
                await asyncio.sleep(0.02)
            assert not (await client.call_tool("say", {"words": "x", "database": "shelf"})).is_error
            assert not (await client.call_tool("write", {"words": "x"})).is_error
            await gateway.authority.publish({"role.reader": Role("reader", "Reader", ())})
        with Auth(tmp_path / "auth", server).running():
            async with connected(server, "gateway") as reader:
                bucket = await reader.client.jetstream().key_value(policy.BUCKET)
                async with asyncio.timeout(10):
                    while "service.other" in await keys(bucket):  # auth makes the bucket equal to its database
                        await asyncio.sleep(0.02)
        assert "Violation" not in server.log.read_text()


async def _ignore(error: Exception) -> None:
    del error
