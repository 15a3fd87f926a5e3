"""Reaching the bus: TLS, nkeys, a bus that is away, and credentials that are refused."""

import asyncio
import datetime
import ipaddress
import logging
import re
import subprocess
import sysconfig
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec
import nkeys
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats.aio.client import Client

from gateways import running_gateway
from isthmus import bus
from isthmus.errors import ConfigurationError
from isthmus.settings import BusSettings
from isthmus.worker import Call, Source, Worker, WorkerSettings
from servers import NatsServer, free_port, wait_for_port
from shelf import Say, Shelf, make_worker

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "bus.md"


@dataclass
class Issued:
    """A certificate with its key, as files and as what signs others."""

    certificate: x509.Certificate
    secret: ec.EllipticCurvePrivateKey
    cert: str
    key: str


def issue(folder: Path, name: str, by: Issued | None = None) -> Issued:
    """A certificate for 127.0.0.1, signed by another one or, as an authority, by itself."""
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(by.secret if by else secret, hashes.SHA256())
    )
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Issued(certificate, secret, str(cert), str(key))


@contextmanager
def server(folder: Path, configuration: str) -> Generator[str]:
    """A nats-server with a configuration of the test's own: its URL."""
    (folder / "nats.conf").write_text(configuration)
    program, port = Path(sysconfig.get_path("scripts")) / "nats-server", free_port()
    arguments = ["-c", str(folder / "nats.conf"), "-a", "127.0.0.1", "-p", str(port), "-l", str(folder / "nats.log")]
    process = subprocess.Popen([program, *arguments])
    try:
        wait_for_port(port)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def tls(server: Issued, authority: Issued) -> str:
    files = f'cert_file: "{server.cert}", key_file: "{server.key}", ca_file: "{authority.cert}"'
    return f"tls {{ {files}, verify: true }}\nauthorization {{ user: db_worker, password: secret }}\n"


def seed() -> tuple[str, str]:
    """A new nkey of a user: its seed, and its public key."""
    secret = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    public = bytes(nkeys.from_seed(bytearray(secret)).public_key)  # pyright: ignore[reportArgumentType]
    return secret.decode(), public.decode()


async def echoes(settings: BusSettings) -> bool:
    """Whether a service with these settings connects and hears its own message."""
    client = await asyncio.wait_for(bus.connect(settings, "db_worker"), 5)
    try:
        heard = await client.subscribe("_INBOX_db_worker.x")
        await client.publish("_INBOX_db_worker.x", b"hello")
        return (await heard.next_msg(5)).data == b"hello"
    finally:
        await client.close()


async def test_tls_with_a_private_authority_and_a_client_certificate(tmp_path: Path) -> None:
    authority = issue(tmp_path, "authority")
    ours, theirs = issue(tmp_path, "worker", authority), issue(tmp_path, "server", authority)
    with server(tmp_path, tls(theirs, authority)) as url:
        settings = BusSettings(
            nats_url=url,
            nats_user="db_worker",
            nats_password="secret",
            nats_ca=authority.cert,
            nats_cert=ours.cert,
            nats_key=ours.key,
        )
        assert await echoes(settings)
        assert await echoes(msgspec.structs.replace(settings, nats_url=url.replace("nats:", "tls:")))


async def test_a_server_that_another_authority_vouches_for_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").mkdir()
    authority, other = issue(tmp_path, "authority"), issue(tmp_path / "other", "authority")
    with server(tmp_path, tls(issue(tmp_path, "server", authority), authority)) as url:
        settings = BusSettings(nats_url=url, nats_user="db_worker", nats_password="secret", nats_ca=other.cert)
        await never_connects(settings, "certificate verify failed", caplog)


async def test_no_password_goes_to_a_server_without_tls_where_an_authority_is_set(
    nats: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = msgspec.structs.replace(nats.settings("db_worker"), nats_ca=issue(tmp_path, "authority").cert)
    await never_connects(settings, "the server does not speak TLS", caplog)


async def test_an_nkey_in_place_of_user_and_password(tmp_path: Path) -> None:
    secret, public = seed()
    with server(tmp_path, f"authorization {{ users: [ {{ nkey: {public} }} ] }}\n") as url:
        assert await echoes(BusSettings(nats_url=url, nats_nkey_seed=secret))


async def test_the_site_of_the_documentation_serves_its_own_sources_and_hears_no_other_calls(tmp_path: Path) -> None:
    secret, public = seed()
    (entry,) = re.findall(r"```\n(\{ nkey: .*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    conf = (resources.files("isthmus") / "nats.conf").read_text()
    conf = conf.replace("users: [", "users: [" + entry.replace("UPUBLICKEYOFTHESITE", public), 1)
    (tmp_path / "site.conf").write_text(conf)
    nats = NatsServer(tmp_path, configuration=tmp_path / "site.conf")
    nats.start()
    try:
        worker = Worker[None]("db", argument="database")

        @worker.tool(scope="data:read", action="read", read_only=True)
        async def say(call: Call[None], arguments: Say) -> str:
            """Says it."""
            return arguments.words

        worker.add(Source("lyon_sales", None, engine="test", target="test://lyon"))
        until = asyncio.Event()
        settings = WorkerSettings(nats_url=nats.url, nats_nkey_seed=secret)
        serving = asyncio.create_task(worker.serve(settings, until))
        async with running_gateway(nats) as gateway, gateway.client() as client:
            async with asyncio.timeout(5):
                while "say" not in [tool.name for tool in (await client.list_tools()).tools]:
                    await asyncio.sleep(0.02)
            assert not (await client.call_tool("say", {"words": "bonjour"})).is_error
        until.set()
        await serving
        assert "Violation" not in nats.log.read_text()

        refusals: list[str] = []

        async def on_error(error: Exception) -> None:
            refusals.append(str(error))

        site = Client()
        await site.connect(nats.url, nkeys_seed_str=secret, error_cb=on_error)
        for subject in ("isthmus.call.db.shop.*", "isthmus.call.db.>", "isthmus.call.>", "isthmus.call.db.*.*"):
            await site.subscribe(subject)
        await site.flush()
        await site.flush()
        await site.close()
        assert len(refusals) == 4
    finally:
        nats.stop()


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"nats_nkey_seed": "SUNO"}, "ISTHMUS_NATS_NKEY_SEED"),
        ({"nats_ca": "/nowhere.pem"}, "ISTHMUS_NATS_CA"),
        ({"nats_cert": "/nowhere.pem"}, "ISTHMUS_NATS_CERT"),
    ],
)
async def test_credentials_that_cannot_be_are_named(changes: dict[str, str], variable: str) -> None:
    with pytest.raises(ConfigurationError, match=variable):
        await bus.connect(msgspec.convert(changes, BusSettings), "db_worker")


async def test_a_bus_that_goes_and_comes_is_said_once_each(nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    back = asyncio.Event()

    async def on_reconnect() -> None:
        back.set()

    client = await bus.connect(nats.settings("db_worker"), "db_worker", on_reconnect=on_reconnect)
    assert messages(caplog) == []
    nats.stop()
    (server,) = client._server_pool  # pyright: ignore[reportPrivateUsage]
    attempts = server.reconnects
    await asyncio.wait_for(until(lambda: server.reconnects >= attempts + 5), 5)
    nats.start()
    await asyncio.wait_for(back.wait(), 5)
    await client.close()
    assert messages(caplog) == ["the bus is away; waiting for it", "the bus is back"]


async def test_a_worker_that_never_reached_the_bus_stops_at_once() -> None:
    settings = WorkerSettings(nats_url=f"nats://127.0.0.1:{free_port()}")
    until = asyncio.Event()
    task = asyncio.create_task(make_worker(Shelf()).serve(settings, until))
    await asyncio.wait([task], timeout=0.5)
    assert not task.done()
    until.set()
    await asyncio.wait_for(task, 2)


async def never_connects(settings: BusSettings, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is logged once, however many attempts are made, and the attempts can be ended."""
    connecting = asyncio.create_task(bus.connect(settings, "db_worker"))
    await asyncio.wait_for(until(lambda: any(reason in text for text in messages(caplog))), 5)
    await asyncio.wait([connecting], timeout=0.7)
    assert not connecting.done()
    connecting.cancel()
    await asyncio.wait([connecting], timeout=2)
    assert connecting.cancelled()
    assert len(messages(caplog)) == 1, messages(caplog)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "isthmus.bus"]


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)
