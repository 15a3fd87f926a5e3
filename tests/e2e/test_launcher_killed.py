"""A launcher that is killed leaves nothing behind, whatever it was doing."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.launcher.state import DataFolder, Run, read
from stack import ISTHMUS, running_stack

pytestmark = pytest.mark.timeout(120)

GONE_WITHIN = 8.0


def processes_of(folder: Path) -> list[str]:
    """What runs with this data folder in its command line or in its environment."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
                if str(folder).encode() in command + (entry / "environ").read_bytes():
                    found.append(f"{entry.name} {command.replace(bytes(1), b' ').decode()}")
            except OSError:
                continue
    return found


def seconds_until(holds: Callable[[], object], most: float) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < most
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.parametrize("children", [0, 1, 3, 5])
def test_killed_while_starting(tmp_path: Path, children: int) -> None:
    data = DataFolder(tmp_path / "data")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    launcher = subprocess.Popen(
        [ISTHMUS, "up", "--data-dir", str(data.path)],
        cwd=tmp_path,
        env={**environment, "ISTHMUS_MARK": str(data.path)},
        stdout=subprocess.DEVNULL,
    )

    def started() -> bool:
        run = read(data.run_file, Run)
        return run is not None and len(run.children) >= children

    try:
        seconds_until(started, 45)
    finally:
        launcher.kill()
        launcher.wait()
    took = seconds_until(lambda: not processes_of(data.path), GONE_WITHIN)
    print(f"killed when {children} services had started: nothing left after {took:.2f} s")


@pytest.mark.parametrize("stopping", [False, True])
def test_killed_while_running_or_stopping(tmp_path: Path, stopping: bool) -> None:
    with running_stack(tmp_path / "data", ISTHMUS_MARK=str(tmp_path / "data")) as stack:
        assert len(processes_of(stack.folder.path)) >= 6
        if stopping:
            stack.process.send_signal(signal.SIGINT)
            seconds_until(lambda: not stack.folder.connection_file.exists(), 5)
        stack.process.kill()
        stack.process.wait()
        took = seconds_until(lambda: not processes_of(stack.folder.path), GONE_WITHIN)
    print(f"killed while {'stopping' if stopping else 'running'}: nothing left after {took:.2f} s")
    if not stopping:
        with running_stack(tmp_path / "data") as again:
            assert again.command("sources").returncode == 0
