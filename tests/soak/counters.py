"""What a process holds, written to a file when a signal asks for it: the one thing that is not the product's own."""

import asyncio
import gc
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar, get_origin

import msgspec

T = TypeVar("T")

FOLDER = "SOAK_FOLDER"
"""The variable that says where the files go."""


class Counters(msgspec.Struct, frozen=True):
    """One look at one process."""

    memory: int
    """Bytes resident, after a collection of garbage."""
    tasks: dict[str, int]
    """By the names of their coroutines."""
    idle: dict[str, int]
    """What must be nothing once nobody calls."""
    held: dict[str, int]
    """What must be as it was before."""
    kept: dict[str, int]
    """What is kept for a while by design; only shown."""


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def file_of(folder: Path, pid: int) -> Path:
    """Where a process writes."""
    return folder / f"{pid}.json"


def the(kind: type[T]) -> T:
    """The one object of this type in the process."""
    wanted = get_origin(kind) or kind
    return next(found for found in gc.get_objects() if type(found) is wanted)


def watch(count: Callable[[], tuple[dict[str, int], dict[str, int], dict[str, int]]]) -> None:
    """From now on SIGUSR1 writes counters; `count` gives idle, held and kept."""
    file = file_of(Path(os.environ[FOLDER]), os.getpid())

    def write(_number: int, _frame: FrameType | None) -> None:
        gc.collect()
        tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        found = Counters(resident(os.getpid()), dict(tasks), *count())
        unfinished = file.with_suffix(".part")
        unfinished.write_bytes(msgspec.json.encode(found))
        unfinished.rename(file)

    signal.signal(signal.SIGUSR1, write)
