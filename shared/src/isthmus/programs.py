"""Programs behind tools: run within a call, their output bounded, and gone when the call is."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

from isthmus.settings import PREFIX

MOST = 100_000
"""Bytes of output that are kept, unless the caller says otherwise."""

CUT = "\n[cut here; ask for less]"


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program did."""

    code: int
    """Its exit code; negative: the signal that ended it, as when its output was cut."""
    output: str
    """What it wrote to standard output."""


async def run(*command: str, folder: Path | None = None, most: int = MOST) -> Finished:
    """Runs a program, without a shell and without input, until it ends or has written too much; that is said there.

    Where the call is stopped meanwhile, by its deadline or its caller, the program's whole process group is killed.
    It does not see `ISTHMUS_…` variables: the way to the bus is not its business. Raises OSError if it cannot start.
    """
    ours, theirs = os.pipe()  # not asyncio's own: it would wait for whoever still has the other end open
    stream = asyncio.StreamReader()
    reading, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(ours, "rb")
    )
    with contextlib.closing(reading):
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env={name: value for name, value in os.environ.items() if not name.startswith(PREFIX)},
                stdin=DEVNULL,
                stdout=theirs,
                stderr=DEVNULL,
                start_new_session=True,  # a group of its own, so that what it starts can be killed with it
            )
        finally:
            os.close(theirs)
        cut = ""
        try:
            output = await stream.readexactly(most + 1)
            output, cut = output[:most], CUT
        except asyncio.IncompleteReadError as end:
            output = end.partial
            await process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = await process.wait()
    return Finished(code, output.decode(errors="replace") + cut)
