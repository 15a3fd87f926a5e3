"""A real MariaDB for the tests, from Debian's mariadb-server."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))
ROOT = ["--user=root"] if os.geteuid() == 0 else []
"""As root the server runs only when it is told so."""
SECONDS = 20


@dataclass(frozen=True)
class MariadbServer:
    """A server and its data in a folder, reached over a socket, as root without a password."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def url(self) -> str:
        """The URL of its database `test`."""
        return f"mariadb://root@localhost/test?unix_socket={self.socket}"

    def connect(self) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection to no database."""
        return pymysql.connect(user="root", unix_socket=str(self.socket), ssl_disabled=True, autocommit=True)

    def start(self) -> None:
        """Returns when it answers."""
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                [
                    "setsid", "--fork", _program("mariadbd"), "--no-defaults", *ROOT,
                    f"--datadir={self.folder / 'data'}", f"--socket={self.socket}", f"--pid-file={self.pid_file}",
                    "--skip-networking", "--skip-log-bin", "--character-set-server=utf8mb4",
                    "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--performance-schema=OFF",
                ],
                check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + SECONDS
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket))
                self.connect().close()
            except (OSError, pymysql.OperationalError):
                assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Returns when it is gone: with its end it removes the file with its process id."""
        os.kill(int(self.pid_file.read_text()), signal.SIGTERM)
        end = time.monotonic() + SECONDS
        while self.pid_file.exists():
            assert time.monotonic() < end, "MariaDB does not stop"
            time.sleep(0.02)


@contextmanager
def mariadb_server(name: str = "") -> Generator[MariadbServer]:
    """A running server. Skips the test where it is not installed, but fails in CI.

    The parallel workers of one run share the one of a name: the first one starts it, the last one stops it.
    """
    if shutil.which("mariadbd", path=PATH) is None and not os.environ.get("CI"):
        pytest.skip("MariaDB is not installed: apt-get install mariadb-server")
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    folder = Path(tempfile.gettempdir()) / f"isthmus-mariadb-{run[:12]}{name}"
    folder.mkdir(exist_ok=True)
    server = MariadbServer(folder)
    with _users(folder) as users:
        if not users:
            _install(folder / "data")
            server.start()
        users.append(str(os.getpid()))
    try:
        yield server
    finally:
        with _users(folder) as users:
            users.remove(str(os.getpid()))
            if not users:
                server.stop()
                shutil.rmtree(folder)


@contextmanager
def _users(folder: Path) -> Generator[list[str]]:
    """The processes that use the server; nobody else looks or writes meanwhile."""
    with (folder / "users").open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        users = file.read().split()
        yield users
        file.truncate(0)
        file.write("\n".join(users))


def _install(data: Path) -> None:
    subprocess.run(
        [
            _program("mariadb-install-db"), "--no-defaults", *ROOT, f"--datadir={data}",
            "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
        ],
        check=True, capture_output=True, timeout=SECONDS,
    )  # fmt: skip


def _program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: apt-get install mariadb-server")
    return found
