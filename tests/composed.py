"""The stack of compose.yaml on a real Docker engine.

`ISTHMUS_COMPOSE` is the Compose command to use: then the images are built by `ISTHMUS_COMPOSE_BUILD` before, if that is
given, and otherwise taken as they are. Without it `docker compose` builds and runs them, where an engine answers.
"""

import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from isthmus.launcher.state import Connection
from servers import free_port

ROOT = Path(__file__).parents[1]
BUILD_WITHIN = 900.0
UP_WITHIN = 180.0
PROFILES = {"tls": ["tls", "certificate"]}
"""What each profile adds."""


class Welcome(msgspec.Struct, frozen=True):
    """What `welcome --json` says."""

    mcp_endpoint: str
    issuer: str
    admin_url: str
    client_id: str
    client_secret: str
    admin_email: str
    admin_password: str


@dataclass
class Composed:
    """A project of its own name and ports."""

    command: list[str]
    project: str
    settings: dict[str, str]
    """The variables of compose.yaml: ports, and what a test changes."""
    healthy_in: float = 0.0

    def compose(self, *arguments: str, within: float = 60) -> str:
        """What the Compose command prints. Fails with what it said if it fails."""
        done = subprocess.run(
            [*self.command, "-p", self.project, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.settings},
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Starts what does not run yet; returns once everything is healthy, since `welcome` waits for that."""
        self.compose("up", "-d", "--no-build", *arguments, within=UP_WITHIN)

    @contextmanager
    def changed(self, **settings: str) -> Generator[None]:
        """The stack with other settings for a while; `COMPOSE_PROFILES` adds services, which go again."""
        before = self.settings
        self.settings = {**before, **settings}
        try:
            self.up()
            yield
        finally:
            if profile := settings.get("COMPOSE_PROFILES"):
                self.compose("rm", "-s", "-f", *PROFILES[profile])
            self.settings = before
            self.up()

    def containers(self, service: str) -> list[str]:
        """The ids of the service's running containers."""
        return self.compose("ps", "-q", "--status", "running", service).split()

    def kill(self, container: str) -> None:
        """Ends it at once; the engine does not start it again."""
        subprocess.run(["docker", "kill", container], capture_output=True, timeout=30, check=True)

    def connection(self) -> Connection:
        """What a person reads in `docker compose logs welcome`."""
        said = msgspec.json.decode(self.compose("run", "--rm", "--no-deps", "-T", "welcome", "--json"), type=Welcome)
        return Connection(**msgspec.structs.asdict(said), nats_url="", nats_monitor_url="")


@contextmanager
def composed() -> Generator[Composed]:
    """The project, healthy; removed with its volumes in any case. Skips the test where there is no engine."""
    ports = {"ISTHMUS_GATEWAY_PORT": str(free_port()), "ISTHMUS_AUTH_PORT": str(free_port())}
    stack = Composed(_command(), f"isthmus-test-{secrets.token_hex(4)}", ports)
    try:
        began = time.monotonic()
        stack.up()
        stack.healthy_in = time.monotonic() - began
        yield stack
    except BaseException:
        print(stack.compose("logs", "--no-color", "--tail", "40"))
        raise
    finally:
        stack.settings["COMPOSE_PROFILES"] = ",".join(PROFILES)  # so that nothing of them stays
        stack.compose("down", "-v", "--remove-orphans", "--timeout", "5", within=UP_WITHIN)


def _command() -> list[str]:
    """The Compose command; builds the images, or skips."""
    if given := os.environ.get("ISTHMUS_COMPOSE"):
        command = shlex.split(given)
        build = shlex.split(os.environ.get("ISTHMUS_COMPOSE_BUILD", ""))
    elif shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        command = ["docker", "compose"]
        build = [*command, "build"]
    else:
        pytest.skip("No Docker engine answers here.")
    if build:
        subprocess.run(build, cwd=ROOT, timeout=BUILD_WITHIN, check=True)
    return command
