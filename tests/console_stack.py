"""Auth with all that its console calls tools of: bus, gateway and workers, in threads of the test's own process."""

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import uvicorn
from litestar import Litestar

from administrator import Administrator
from auth_server import Auth
from isthmus.demo import database, files
from isthmus.worker import Worker, WorkerSettings
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.worker import file_worker
from isthmus_mcp_gateway.__main__ import Server
from isthmus_mcp_gateway.app import create_app
from isthmus_mcp_gateway.settings import Settings
from servers import TLS, NatsServer, free_port, nats_server

PUBLIC = "http://mcp.example.test"
"""The origin that clients know the gateway by. Nothing answers there: auth has an address of its own for it."""


Instead = Callable[[BaseHTTPRequestHandler], None]


class Front:
    """Stands where auth looks for the gateway: sees the tokens, and answers calls in its place if told to."""

    def __init__(self, gateway: str) -> None:
        self.tokens: list[str] = []
        self.hosts: set[str] = set()
        self.instead: Instead | None = None
        self.http = httpx2.Client(verify=TLS, timeout=30)
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                with suppress(OSError):  # who asked may be gone
                    self.answer()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                front.tokens.append(self.headers["Authorization"].removeprefix("Bearer "))
                front.hosts.add(self.headers["Host"])
                if front.instead is not None and self.headers.get("Mcp-Name", "list_sources") != "list_sources":
                    front.instead(self)
                    self.close_connection = True
                    return
                answer = front.http.post(gateway + self.path, content=body, headers=dict(self.headers))
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's signature)
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def running(self) -> Generator["Front"]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), name="front", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            self.http.close()

    @contextmanager
    def answering(self, instead: Instead) -> Generator[None]:
        """So are calls answered until the context ends."""
        self.instead = instead
        try:
            yield
        finally:
            self.instead = None


@dataclass
class ConsoleStack:
    """The console, and somebody who may use it."""

    auth: Auth
    gateway: str
    """Where the gateway is."""
    front: Front
    """Where auth believes it to be."""
    documents: Path
    """The folder of the file store."""
    admin: Administrator = field(init=False)

    def __post_init__(self) -> None:
        self.admin = Administrator(self.auth)


@contextmanager
def console_stack(folder: Path, *workers: Worker[Any]) -> Generator[ConsoleStack]:
    """With the demo as sources `shop` and `documents`, both writable, and with more workers if given."""
    (folder / "nats").mkdir()
    (folder / "documents").mkdir()
    database.create(folder / "shop.db")
    files.create(folder / "documents")
    shop = msgspec.convert({"url": f"sqlite:///{folder / 'shop.db'}", "access": "read-write"}, DatabaseSettings)
    documents = msgspec.convert({"path": str(folder / "documents"), "access": "read-write"}, StoreSettings)
    serving: list[tuple[str, Worker[Any]]] = [
        ("db_worker", create_worker({"shop": shop})),
        ("file_worker", file_worker({"documents": documents})),
        *(("worker", worker) for worker in workers),
    ]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with nats_server(folder / "nats") as nats:
        front = Front(url)
        auth = Auth(folder / "auth", nats, {"gateway_url": PUBLIC, "gateway_address": front.url})
        with front.running(), auth.running(), _thread(nats, auth.url, port, serving):
            yield ConsoleStack(auth, url, front, folder / "documents")


@contextmanager
def _thread(nats: NatsServer, issuer: str, port: int, workers: list[tuple[str, Worker[Any]]]) -> Generator[None]:
    """A loop of its own for gateway and workers, until the context ends."""
    settings = Settings(
        **msgspec.structs.asdict(nats.settings("gateway")),
        port=port,
        issuer=issuer,
        gateway_url=PUBLIC,
        leave_after=0,
    )
    app = create_app(settings)
    server = Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=1))

    async def run() -> None:
        until = asyncio.Event()
        tasks = [
            asyncio.create_task(
                worker.serve(WorkerSettings(**msgspec.structs.asdict(nats.settings(user))), until), name=user
            )
            for user, worker in workers
        ]
        try:
            await server.serve()
        finally:
            until.set()
            await asyncio.wait(tasks, timeout=5)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="gateway and workers", daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not (server.started and app.state.gateway.ready and _sources(app) >= len(workers)):
            assert thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < end, "the sources did not come in time"
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


def _sources(app: Litestar) -> int:
    """How many sources the gateway knows."""
    return len(app.state.gateway.discovery.catalog.sources)
