"""What a reading process gives up before it sees a byte that somebody else wrote."""

import ctypes
import resource
import sys
from contextlib import suppress
from pathlib import Path

from isthmus_file_worker.readers.landlock import restrict

MEMORY = 512 * 1024 * 1024
"""Bytes of address space: of the readers' own code at most 140 MB."""
PROCESSOR = 30
"""Seconds of processor time, for all files of one call."""
FILES = 32
"""Open files: modules, while they are imported."""

LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
"""Where there may be files that the readers are made of, beside Python's own places."""

_PR_SET_NO_NEW_PRIVS = 38


def confine() -> None:
    """Little memory and time, no file written, no core, nothing gained by starting another program; on Linux, where
    the kernel knows how, also no file opened but those of Python and its libraries, and no connection."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, PROCESSOR),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, FILES),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):
            if sys.platform == "linux":  # elsewhere some bounds are not known
                raise
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        with suppress(OSError):  # when the machine runs out of memory, this goes first and not the worker
            Path("/proc/self/oom_score_adj").write_text("1000")
        restrict([*sys.path, sys.prefix, sys.base_prefix, *LIBRARIES])
