"""Ports: ours where they are free, others where they are taken."""

import contextlib
import fcntl
import os
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path

import msgspec


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the services of a local stack listen, all on loopback."""

    gateway: int = 7410
    auth: int = 7411
    nats: int = 4222
    nats_monitor: int = 8222


@contextlib.contextmanager
def one_at_a_time() -> Generator[None]:
    """Holds other launchers of this user up, so that no two choose a port that neither listens on yet."""
    path = Path(tempfile.gettempdir()) / f"isthmus-ports-{os.getuid()}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def choose(wanted: Ports) -> tuple[Ports, list[str]]:
    """Free ports, as wanted where possible, and a sentence for each that is another."""
    chosen: dict[str, int] = {}
    notes: list[str] = []
    for name, port in msgspec.structs.asdict(wanted).items():
        if is_free(port) and port not in chosen.values():
            chosen[name] = port
            continue
        while (other := _any_free()) in chosen.values():  # nothing listens there yet, so it may come twice
            pass
        chosen[name] = other
        notes.append(f"Port {port} is taken; {name.replace('_', ' ')} listens on {chosen[name]}.")
    return Ports(**chosen), notes


def is_free(port: int) -> bool:
    """Whether nothing listens on the port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
