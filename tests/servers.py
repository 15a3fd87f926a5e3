"""Real servers for the tests, each on a free port, gone when its context ends."""

import os
import secrets
import socket
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from isthmus.settings import BusSettings

TLS = ssl.create_default_context()
"""What every HTTP client wants, though it speaks plain HTTP: made once, because that takes 30 ms."""

USERS = ("auth", "gateway", "db_worker", "file_worker", "worker", "ops", "sys")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, seconds: float = 10) -> None:
    """Returns once something listens on the port; fails after the given time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


@dataclass
class NatsServer:
    """A nats-server with the product's own configuration and users."""

    folder: Path
    port: int = field(default_factory=free_port)
    passwords: dict[str, str] = field(default_factory=lambda: {user: "p" + secrets.token_hex(8) for user in USERS})
    configuration: Path = Path(str(resources.files("isthmus") / "nats.conf"))
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "nats.log"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def settings(self, user: str) -> BusSettings:
        """How the service `user` reaches this server."""
        return BusSettings(nats_url=self.url, nats_user=user, nats_password=self.passwords[user])

    def environment(self, user: str) -> dict[str, str]:
        """The same as environment variables of a service."""
        return {
            "ISTHMUS_NATS_URL": self.url,
            "ISTHMUS_NATS_USER": user,
            "ISTHMUS_NATS_PASSWORD": self.passwords[user],
        }

    def start(self) -> None:
        program = Path(sysconfig.get_path("scripts")) / "nats-server"
        names = {f"NATS_{user.upper()}_PASSWORD": password for user, password in self.passwords.items()}
        places = ["-sd", str(self.folder), "-l", str(self.log)]
        self.process = subprocess.Popen(
            [program, "-c", str(self.configuration), "-a", "127.0.0.1", "-p", str(self.port), *places],
            env={**os.environ, **names},
        )
        wait_for_port(self.port)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)


@contextmanager
def nats_server(folder: Path) -> Generator[NatsServer]:
    """A running nats-server that keeps its state in the folder."""
    server = NatsServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
