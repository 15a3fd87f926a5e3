"""The services as child processes: they never outlive the launcher, and they end in order."""

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from isthmus.lifetime import LAUNCHED

LAST_LINES = 12

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Service:
    """One running child."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def start_python(name: str, module: str, environment: dict[str, str], logs: Path) -> Service:
    """One of our services; it ends when its standard input closes, too, and by force if it must."""
    return _start(name, [sys.executable, "-m", module], {**environment, LAUNCHED: "1"}, logs)


def start_nats(port: int, monitor_port: int, store: Path, passwords: dict[str, str], logs: Path) -> Service:
    """nats-server from its wheel, on loopback, with the configuration that compose uses too."""
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    configuration = resources.files("isthmus") / "nats.conf"
    arguments = [str(program), "-c", str(configuration), "-a", "127.0.0.1", "-p", str(port)]
    arguments += ["-m", str(monitor_port), "-sd", str(store)]
    environment = {f"NATS_{user.upper()}_PASSWORD": password for user, password in passwords.items()}
    if sys.platform == "linux":
        return _start("nats-server", arguments, environment, logs)
    return _start("nats-server", [sys.executable, "-m", "isthmus.launcher.guard", *arguments], environment, logs)


def stop(services: Iterable[Service], seconds: float) -> None:
    """Asks all of them to end, and makes those end that have not within the time."""
    asked = list(services)
    for service in asked:
        if not service.has_ended:
            service.process.terminate()
    end = time.monotonic() + seconds
    for service in asked:
        try:
            service.process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()


def _start(name: str, arguments: list[str], environment: dict[str, str], logs: Path) -> Service:
    log = logs / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone
            preexec_fn=_end_with_parent() if sys.platform == "linux" else None,
        )
    return Service(name, process, log)


def _end_with_parent() -> Callable[[], None]:
    """Linux: the kernel sends SIGTERM when the thread that forked ends, so services start from the main thread.

    It ends a service that has not come to look at its standard input yet, too: what it imports takes seconds.
    """
    prctl, launcher = ctypes.CDLL(None).prctl, os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != launcher:  # it ended before the kernel was asked
            os._exit(1)

    return before_exec
