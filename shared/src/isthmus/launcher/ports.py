"""Ports: ours where they are free, others where they are taken."""

import socket

import msgspec


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the services of a local stack listen, all on loopback."""

    gateway: int = 7410
    auth: int = 7411
    nats: int = 4222
    nats_monitor: int = 8222


def choose(wanted: Ports) -> tuple[Ports, list[str]]:
    """Free ports, as wanted where possible, and a sentence for each that is another."""
    chosen: dict[str, int] = {}
    notes: list[str] = []
    for name, port in msgspec.structs.asdict(wanted).items():
        if is_free(port) and port not in chosen.values():
            chosen[name] = port
            continue
        chosen[name] = _any_free()
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
