"""What the services depend on goes away and comes back: the bus, a database, auth."""

import asyncio
import json
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from nats.aio.msg import Msg
from sqlalchemy.pool import NullPool

import fleet
from fleet import Process, db_worker, ledger, process, sources, under_load, until_listed
from gateways import running_gateway
from isthmus import bus
from isthmus.launcher.client import LocalStack, call_tool, fetch_token
from isthmus_db_worker.settings import parse_url
from postgres import named_server
from servers import NatsServer

pytestmark = [pytest.mark.timeout(60), pytest.mark.alone]

SECRET = "the-secret-of-the-command-line"


async def test_after_the_bus_was_killed_all_are_back_and_the_catalog_is_whole_within_five_seconds(
    nats: NatsServer, tmp_path: Path
) -> None:
    file = ledger(tmp_path)
    url = f"sqlite:///{file}"
    with db_worker(nats, tmp_path, ledger=url), db_worker(nats, tmp_path, ledger=url, extra=url):
        async with running_gateway(nats, call_timeout=8) as gateway, under_load(gateway, "ledger", 2, 2) as load:
            await until_listed(load.client, "extra")
            assert nats.process is not None
            nats.process.kill()
            nats.process.wait(5)
            await asyncio.sleep(0.5)
            nats.start()
            up = time.monotonic()
            answered = await load.until_answered()
            assert sorted(await sources(load.client)) == ["extra", "ledger"]
            assert not (await load.client.call_tool("query_table", {"database": "extra", "table": "numbers"})).is_error
            whole = time.monotonic() - up
            failed_by_then = len(load.failed)
            await until_answer(nats, 2)
            back = time.monotonic() - up
            reads = load.reads
            async with asyncio.timeout(10):
                while load.reads < reads + 50:
                    await asyncio.sleep(0.01)
    print(f"bus killed: first answer {answered:.2f} s, catalog whole {whole:.2f} s, both workers {back:.2f} s after it")
    print(load.told())
    assert max(whole, back) < 5
    assert len(load.failed) == failed_by_then
    load.check_writes(file)


async def until_answer(nats: NatsServer, workers: int) -> None:
    """Asks who is there until so many database workers answer. Raises TimeoutError if they do not."""
    answered: set[str] = set()

    async def note(message: Msg) -> None:
        answered.add(json.loads(message.data)["id"])

    ops = await bus.connect(nats.settings("ops"), "ops")
    try:
        await ops.subscribe("_INBOX_ops.x", cb=note)
        async with asyncio.timeout(10):
            while len(answered) < workers:
                await ops.publish("$SRV.PING.db-worker", reply="_INBOX_ops.x")
                await asyncio.sleep(0.02)
    finally:
        await ops.close()


async def test_a_database_that_restarts_is_used_again_without_a_restart_of_the_worker(
    nats: NatsServer, tmp_path: Path
) -> None:
    with named_server(f"restart-{uuid.uuid4().hex[:8]}") as server:
        pid, url = server.get_pid(), server.get_uri()
        assert pid is not None
        _fill(url)
        with db_worker(nats, tmp_path, ledger=url) as worker:
            async with running_gateway(nats, call_timeout=8) as gateway, under_load(gateway, "ledger", 3, 2) as load:
                async with asyncio.timeout(10):
                    while load.told()["done"] < 20:
                        await asyncio.sleep(0.01)
                os.kill(pid, signal.SIGQUIT)  # it ends at once, as in a crash
                async with asyncio.timeout(10):
                    while not load.failed or (server.pgdata / "postmaster.pid").exists():
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(server.ensure_postgres_running)
                began = time.monotonic()
                answered = await load.until_answered()
                done = load.told()["done"]
                async with asyncio.timeout(10):
                    while load.told()["done"] < done + 20:
                        await asyncio.sleep(0.01)
                took = time.monotonic() - began
            assert worker.popen.poll() is None
        said = Counter(text.partition(",")[0] for text in load.failed)
        print(f"database restarted: first answer {answered:.2f} s, 20 writes {took:.2f} s after it was back")
        print(f"{load.reads} reads, {dict(said)}; {dict(load.told())}")
        assert all("source_unavailable" in text for text in load.failed), load.failed
        engine = sa.create_engine(parse_url("ledger", url), poolclass=NullPool)
        with engine.connect() as connection:
            found = Counter(connection.execute(sa.text("select token from attempts")).scalars())
        engine.dispose()
        load.check_told(found)


def _fill(url: str) -> None:
    engine = sa.create_engine(parse_url("ledger", url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("create table numbers (id integer primary key, square integer)"))
        connection.execute(sa.text("create table attempts (id serial primary key, token text not null)"))
        rows = f"insert into numbers select n, n * n from generate_series(0, {fleet.ROWS - 1}) as n"  # noqa: S608
        connection.execute(sa.text(rows))
    engine.dispose()


async def test_while_auth_is_down_tokens_work_and_a_gateway_can_start(nats: NatsServer, tmp_path: Path) -> None:
    auth_port, gateway_port = fleet.free_ports()
    stack = LocalStack(
        auth_url=f"http://127.0.0.1:{auth_port}",
        gateway_url=f"http://127.0.0.1:{gateway_port}",
        mcp_endpoint=f"http://127.0.0.1:{gateway_port}/mcp",
        secret=SECRET,
    )
    origins = {"ISTHMUS_ISSUER": stack.auth_url, "ISTHMUS_GATEWAY_URL": stack.gateway_url}

    def calls() -> bool:
        arguments = {"database": "ledger", "table": "numbers", "limit": 1}
        return not call_tool(stack, token, "query_table", arguments).get("isError")

    async def until_called() -> None:
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(calls):
                await asyncio.sleep(0.02)

    with (
        db_worker(nats, tmp_path, ledger=f"sqlite:///{ledger(tmp_path)}"),
        fleet.auth(nats, tmp_path, auth_port, ISTHMUS_CLI_SECRET=SECRET, **origins) as auth,
    ):
        with fleet.gateway(nats, tmp_path, gateway_port, **origins) as first:
            await fleet.answers(stack.auth_url)
            await fleet.answers(stack.gateway_url)
            token = await asyncio.to_thread(fetch_token, stack)
            await until_called()
            auth.kill()
            assert await asyncio.to_thread(calls)
            first.kill()
        with fleet.gateway(nats, tmp_path, gateway_port, **origins):
            ready = await fleet.answers(stack.gateway_url)
            await until_called()
    print(f"auth down: existing tokens work, and a gateway that starts is ready after {ready:.2f} s")


SERVICES = ("isthmus_auth", "isthmus_mcp_gateway", "isthmus_db_worker", "isthmus_file_worker")
USERS = dict(zip(SERVICES, ("auth", "gateway", "db_worker", "file_worker"), strict=True))


@asynccontextmanager
async def all_services(nats: NatsServer, folder: Path) -> AsyncGenerator[list[Process]]:
    """Every service, alive: those with HTTP answer, the others have had the time for it."""
    with ExitStack() as stack:
        auth_port, gateway_port = fleet.free_ports()
        ports = {"isthmus_auth": auth_port, "isthmus_mcp_gateway": gateway_port}
        url = f"sqlite:///{ledger(folder)}"
        (folder / "papers").mkdir()
        settings = {
            "ISTHMUS_DATA_DIR": str(folder / "auth"),
            "ISTHMUS_DATABASES": json.dumps({"ledger": {"url": url}}),
            "ISTHMUS_FILES": json.dumps({"papers": {"path": str(folder / "papers")}}),
        }
        yield [
            stack.enter_context(
                process(
                    folder,
                    module,
                    **{**settings, **nats.environment(USERS[module]), "ISTHMUS_PORT": str(ports.get(module, 1))},
                )
            )
            for module in SERVICES
        ]


async def said(running: list[Process], text: str) -> None:
    """Every one of them has logged the text."""
    async with asyncio.timeout(20):
        while not all(text in service.log.read_text() for service in running):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("was_there", [True, False])
async def test_every_service_ends_within_three_seconds_while_the_bus_is_away(
    nats: NatsServer, tmp_path: Path, was_there: bool
) -> None:
    if not was_there:
        nats.stop()
    try:
        async with all_services(nats, tmp_path) as running:
            if was_there:
                workers = [service for service in running if "worker" in service.name]
                await said(workers, "serving")
                await said([running[0]], "policy published")
                await said([running[1]], "catalog: ")
                nats.stop()
            await said(running, "the bus is away")
            took = await asyncio.gather(*(asyncio.to_thread(service.terminate) for service in running))
            for service in running:
                assert service.log.read_text().count("the bus is away") == 1
                assert "Traceback" not in service.log.read_text(), service.log.read_text()
    finally:
        if not was_there or (nats.process is not None and nats.process.poll() is not None):
            nats.start()
    figures = ", ".join(
        f"{s.name.rpartition('-')[0]} {seconds:.2f} s" for s, seconds in zip(running, took, strict=True)
    )
    print(f"told to stop while the bus is away ({'lost' if was_there else 'never there'}): {figures}")
    assert max(took) < 3
