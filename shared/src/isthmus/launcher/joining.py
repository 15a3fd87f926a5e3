"""`isthmus run`: a program of your own, with what it needs to join the local stack as a worker."""

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from isthmus.errors import IsthmusError
from isthmus.launcher.client import running
from isthmus.launcher.state import DataFolder
from isthmus.settings import FILE_SUFFIX

USER = "worker"
"""The NATS user of workers of kinds other than `db` and `file`."""

KEY = "ISTHMUS_FINGERPRINT_KEY"


class CannotStart(IsthmusError):
    """The program cannot be started."""

    code = "cannot_start"


def environment(folder: DataFolder, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker on the bus of the stack that runs with this data folder. Raises NotRunning.

    What `given` says of another bus is left out.
    """
    _, connection = running(folder)
    secrets = folder.secrets()
    kept = {
        name: value
        for name, value in given.items()
        if not name.startswith("ISTHMUS_NATS_") and name != KEY + FILE_SUFFIX
    }
    return kept | {
        "ISTHMUS_NATS_URL": connection.nats_url,
        "ISTHMUS_NATS_USER": USER,
        "ISTHMUS_NATS_PASSWORD": secrets.nats_passwords[USER],
        KEY: secrets.fingerprint_key,
    }


def run(folder: DataFolder, program: Sequence[str]) -> NoReturn:
    """Becomes the program, which has this terminal, its signals and its exit code. Raises NotRunning, CannotStart."""
    joined = environment(folder, os.environ)
    try:
        os.execvpe(program[0], list(program), joined)  # noqa: S606  (the program that was asked for, without a shell)
    except FileNotFoundError:
        raise CannotStart(f"There is no program {program[0]!r}.") from None
    except OSError as error:
        raise CannotStart(f"{program[0]!r} cannot be started: {os.strerror(error.errno or 0)}.") from None
