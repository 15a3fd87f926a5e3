"""What the launcher keeps in its data folder: secrets, who runs, and how to connect."""

import contextlib
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import msgspec

from isthmus.errors import ConfigurationError

NATS_USERS = ("auth", "gateway", "db_worker", "file_worker", "worker", "ops", "sys")
"""The users of `nats.conf`; `worker` is for workers of kinds of your own."""

RECLAIM_WITHIN = 6.0
"""Seconds that what an earlier launcher left behind has to end by itself."""

S = TypeVar("S", bound=msgspec.Struct)


def _hex() -> str:
    return secrets.token_hex(16)


def _password() -> str:
    """nats-server reads a value from the environment as configuration: a letter first makes it text."""
    return "p" + _hex()


class Secrets(msgspec.Struct, kw_only=True):
    """`secrets.json`: made at the first start, used by every later one."""

    nats_passwords: dict[str, str] = msgspec.field(default_factory=lambda: {user: _password() for user in NATS_USERS})
    client_id: str = msgspec.field(default_factory=lambda: f"isthmus-{secrets.token_hex(6)}")
    client_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    cli_secret: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    admin_email: str = "admin@localhost"
    admin_password: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(12))
    fingerprint_key: str = msgspec.field(default_factory=_hex)

    def add_users(self) -> bool:
        """Makes the passwords that an earlier version did not know of; whether there are any."""
        missing = [user for user in NATS_USERS if user not in self.nats_passwords]
        self.nats_passwords.update({user: _password() for user in missing})
        return bool(missing)


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """`connection.json`: there while everything answers."""

    mcp_endpoint: str
    issuer: str
    client_id: str
    client_secret: str
    admin_url: str
    admin_email: str
    admin_password: str
    nats_url: str
    nats_monitor_url: str


class Child(msgspec.Struct, frozen=True):
    """A process, told from a later one with the same id by its start time."""

    pid: int
    started: str


class Run(msgspec.Struct, kw_only=True):
    """`run.json`: the launcher that holds the lock, and where its services listen on this machine."""

    launcher: Child
    auth_url: str
    gateway_url: str
    config: str = ""
    """The configuration file that sources come from; empty: there is none."""
    children: list[Child] = []


class DataFolder:
    """The files below `--data-dir`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection_file = path / "connection.json"
        self.run_file = path / "run.json"
        self.secrets_file = path / "secrets.json"

    def make(self) -> None:
        """Creates the folder, for this user's eyes only."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def secrets(self) -> Secrets:
        """The secrets of this folder; what is missing is made."""
        kept = read(self.secrets_file, Secrets)
        known = kept or Secrets()
        if kept is None or kept.add_users():
            write(self.secrets_file, known)
        return known

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Holds the folder; the lock goes with the process, however it ends. Raises if another one runs here."""
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                run = read(self.run_file, Run)
                who = f" (process {run.launcher.pid})" if run else ""
                raise ConfigurationError(
                    f"Isthmus already runs with {self.path}{who}; stop it, or choose another --data-dir."
                ) from None
            yield

    def reclaim(self) -> None:
        """Waits until everything that a killed launcher left behind has ended, and ends what has not."""
        run = read(self.run_file, Run)
        self.connection_file.unlink(missing_ok=True)
        if run is None:
            return
        end = time.monotonic() + RECLAIM_WITHIN
        while (left := [child for child in run.children if is_alive(child)]) and time.monotonic() < end:
            time.sleep(0.05)
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        self.run_file.unlink(missing_ok=True)


def read(path: Path, kind: type[S]) -> S | None:
    """The file as a Struct; None: there is none. Raises ConfigurationError if it is not what it should be."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise ConfigurationError(f"{path} is damaged; remove it and start again.") from None


def write(path: Path, value: msgspec.Struct) -> None:
    """Writes the Struct aside, readable by this user alone, and renames it into place."""
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(value)))
    aside.replace(path)


def child(pid: int) -> Child:
    """The process with this id, as it is now."""
    return Child(pid, _start_time(pid))


def is_alive(process: Child) -> bool:
    """Whether this very process still runs."""
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _start_time(process.pid) == process.started


def _start_time(pid: int) -> str:
    """Clock ticks after boot on Linux; elsewhere nothing, so that the id alone counts."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
