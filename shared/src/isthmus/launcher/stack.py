"""The local stack: what runs, in what order it starts, when it is ready, in what order it ends."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from isthmus.configuration import source_names
from isthmus.demo import database as demo_database
from isthmus.demo import files as demo_files
from isthmus.errors import IsthmusError
from isthmus.launcher.client import LocalStack, call_tool, fetch_token
from isthmus.launcher.ports import Ports
from isthmus.launcher.processes import Service, start_nats, start_python, stop
from isthmus.launcher.state import Child, Connection, DataFolder, Run, Secrets, child, write
from isthmus.origins import Origins, OriginSettings

READY_WITHIN = 20.0
"""Seconds until every service must answer."""
SOURCES_WITHIN = 3.0
"""Seconds that the catalog may take to be whole once every service answers."""

Report = Callable[[str], None]


class ServiceDied(IsthmusError):
    """A service ended by itself."""

    code = "service_died"

    def __init__(self, service: Service) -> None:
        super().__init__(
            f"{service.name} ended by itself (exit code {service.process.returncode}). Its last lines:\n"
            f"{service.last_lines()}"
        )
        self.service = service


class Sources(msgspec.Struct, kw_only=True):
    """What the workers serve: a configuration file, and what the command line adds."""

    config: Path | None = None
    databases: dict[str, dict[str, str]] = {}
    files: dict[str, dict[str, str]] = {}

    def names(self) -> set[str]:
        """All of them. Raises ConfigurationError if the file is not valid."""
        return {*self.databases, *self.files} | (source_names(self.config) if self.config else set())

    def is_empty(self) -> bool:
        """Whether nobody named a source, so that the demo is shown."""
        return self.config is None and not self.databases and not self.files


class Front(msgspec.Struct, frozen=True):
    """What stands between clients and the services; nothing by default."""

    public_url: str = ""
    """The origin that clients know."""
    trusted_proxies: str = ""
    """Whose forwarded headers count."""


def demo(folder: Path) -> Sources:
    """A small business as a database and as files, both writable; made where they are missing."""
    database, files = folder / "demo" / "shop.db", folder / "demo" / "documents"
    if not database.exists():
        database.parent.mkdir(parents=True, exist_ok=True)
        demo_database.create(database)
    if not files.exists():
        files.mkdir(parents=True)
        demo_files.create(files)
    return Sources(
        databases={
            "shop": {
                "url": f"sqlite:///{database.resolve()}",
                "description": "Demo: customers, products, orders, invoices and employees of a small business",
                "access": "read-write",
            }
        },
        files={
            "documents": {
                "path": str(files.resolve()),
                "description": "Demo: documents of the same business",
                "access": "read-write",
            }
        },
    )


class Stack:
    """The running services."""

    def __init__(self, folder: DataFolder, secrets: Secrets, ports: Ports, front: Front, sources: Sources) -> None:
        self.folder = folder
        self.secrets = secrets
        self.ports = ports
        self.front = front
        self.sources = sources
        self.services: dict[str, Service] = {}
        self.auth_url = f"http://127.0.0.1:{ports.auth}"
        self.gateway_url = f"http://127.0.0.1:{ports.gateway}"
        self.origins = Origins.of(
            OriginSettings(public_url=front.public_url, issuer=self.auth_url, gateway_url=self.gateway_url)
        )
        self.run = Run(
            launcher=child(os.getpid()),
            auth_url=self.auth_url,
            gateway_url=self.gateway_url,
            config=str(sources.config.resolve()) if sources.config is not None else "",
        )

    def start(self, report: Report) -> list[dict[str, Any]]:
        """Starts everything, waits until all of it answers, and returns the sources as the catalog shows them."""
        logs = self.folder.path / "logs"
        logs.mkdir(exist_ok=True)
        write(self.folder.run_file, self.run)
        report("Starting nats-server")
        store, passwords = self.folder.path / "nats", self.secrets.nats_passwords
        self._add(start_nats(self.ports.nats, self.ports.nats_monitor, store, passwords, logs))
        self._until(READY_WITHIN, self._nats_answers)
        report("Starting auth, mcp-gateway, db-worker and file-worker")
        for name, module, environment in self._python_services():
            self._add(start_python(name, module, environment, logs))
        self._until(READY_WITHIN, lambda: _answers(self.auth_url) and _answers(self.gateway_url))
        report("Looking for the sources")
        stack = LocalStack(
            auth_url=self.auth_url,
            gateway_url=self.gateway_url,
            mcp_endpoint=self.origins.endpoint(),
            secret=self.secrets.cli_secret,
        )
        found = self._catalog(stack, fetch_token(stack))
        write(self.folder.connection_file, self.connection())
        return found

    def connection(self) -> Connection:
        """How to connect, for people and scripts."""
        return Connection(
            mcp_endpoint=self.origins.endpoint(),
            issuer=self.origins.issuer,
            client_id=self.secrets.client_id,
            client_secret=self.secrets.client_secret,
            admin_url=f"{self.origins.issuer}/admin/",
            admin_email=self.secrets.admin_email,
            admin_password=self.secrets.admin_password,
            nats_url=f"nats://127.0.0.1:{self.ports.nats}",
            nats_monitor_url=f"http://127.0.0.1:{self.ports.nats_monitor}",
        )

    def check(self) -> None:
        """Raises ServiceDied when one has ended."""
        for service in self.services.values():
            if service.has_ended:
                raise ServiceDied(service)

    def stop(self) -> None:
        """First who takes calls, then who answers them, then who both depend on."""
        self.folder.connection_file.unlink(missing_ok=True)
        running = [[self.services[name] for name in step if name in self.services] for step in _STOP_ORDER]
        for step, seconds in zip(running, (2.0, 1.5, 0.6, 0.6), strict=True):
            stop(step, seconds)
        self.folder.run_file.unlink(missing_ok=True)

    def _python_services(self) -> list[tuple[str, str, dict[str, str]]]:
        shared = {
            "ISTHMUS_PUBLIC_URL": self.front.public_url,
            "ISTHMUS_TRUSTED_PROXIES": self.front.trusted_proxies,
            "ISTHMUS_ISSUER": self.auth_url,
            "ISTHMUS_GATEWAY_URL": self.gateway_url,
        }
        auth = {
            **shared,
            "ISTHMUS_PORT": str(self.ports.auth),
            "ISTHMUS_GATEWAY_ADDRESS": self.gateway_url,
            "ISTHMUS_DATA_DIR": str(self.folder.path / "auth"),
            "ISTHMUS_ADMIN_EMAIL": self.secrets.admin_email,
            "ISTHMUS_ADMIN_PASSWORD": self.secrets.admin_password,
            "ISTHMUS_CLIENT_ID": self.secrets.client_id,
            "ISTHMUS_CLIENT_SECRET": self.secrets.client_secret,
            "ISTHMUS_CLI_SECRET": self.secrets.cli_secret,
            # On loopback whoever holds the secret holds the data anyway; a published client is nobody by itself.
            "ISTHMUS_CLIENT_ROLES": "" if self.front.public_url else "everything",
        }
        gateway = {
            **shared,
            "ISTHMUS_PORT": str(self.ports.gateway),
            "ISTHMUS_LEAVE_AFTER": "0",
        }  # nobody balances load
        workers = {"ISTHMUS_FINGERPRINT_KEY": self.secrets.fingerprint_key}
        if self.sources.config is not None:
            workers["ISTHMUS_CONFIG"] = str(self.sources.config.resolve())
        databases = {"ISTHMUS_DATABASES": _json(self.sources.databases)}
        files = {
            "ISTHMUS_FILES": _json(self.sources.files),
            "ISTHMUS_DATA_DIR": str(self.folder.path / "files"),
        }
        return [
            ("mcp-gateway", "isthmus_mcp_gateway", {**gateway, **self._bus("gateway")}),
            ("auth", "isthmus_auth", {**auth, **self._bus("auth")}),
            ("db-worker", "isthmus_db_worker", {**workers, **databases, **self._bus("db_worker")}),
            ("file-worker", "isthmus_file_worker", {**workers, **files, **self._bus("file_worker")}),
        ]

    def _bus(self, user: str) -> dict[str, str]:
        return {
            "ISTHMUS_NATS_URL": f"nats://127.0.0.1:{self.ports.nats}",
            "ISTHMUS_NATS_USER": user,
            "ISTHMUS_NATS_PASSWORD": self.secrets.nats_passwords[user],
        }

    def _add(self, service: Service) -> None:
        self.services[service.name] = service
        self.run.children = [*self.run.children, Child(service.process.pid, child(service.process.pid).started)]
        write(self.folder.run_file, self.run)

    def _until(self, seconds: float, answers: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not answers():
            self.check()
            if time.monotonic() > end:
                raise IsthmusError(f"Not everything answers after {seconds:.0f} s; see {self.folder.path / 'logs'}.")
            time.sleep(0.03)

    def _nats_answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", self.ports.nats)) == 0

    def _catalog(self, stack: LocalStack, token: str) -> list[dict[str, Any]]:
        """All sources that were named, or what there is when the time is over."""
        wanted = self.sources.names()
        end = time.monotonic() + SOURCES_WITHIN
        while True:
            self.check()
            answer = call_tool(stack, token, "list_sources", {"limit": 200})
            found: list[dict[str, Any]] = answer["structuredContent"]["sources"]
            usable = {source["name"] for source in found if source["tools"] or source["problem"]}
            if wanted <= usable or time.monotonic() > end:
                return found
            time.sleep(0.05)


_STOP_ORDER = (("mcp-gateway",), ("db-worker", "file-worker"), ("auth",), ("nats-server",))


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=1, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def _json(value: Mapping[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
