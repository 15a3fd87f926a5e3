"""When a service ends: at a signal, when its launcher is gone, or when it cannot go on."""

import logging
import os
import signal
import threading

logger = logging.getLogger("isthmus.lifetime")

LAUNCHED = "ISTHMUS_LAUNCHED"
"""Set in the environment by the launcher: standard input is a pipe that closes when the launcher is gone."""

STDIN = 0

GRACE = 4.0
"""Seconds that an orderly end may take once the launcher is gone."""


def follow_launcher() -> None:
    """Ends this process in order, then by force, as soon as the launcher that started it is gone."""
    if not os.environ.get(LAUNCHED):
        return

    def wait() -> None:
        while os.read(STDIN, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        forced = threading.Timer(GRACE, os._exit, (1,))
        forced.daemon = True
        forced.start()

    threading.Thread(target=wait, name="launcher", daemon=True).start()


def fail(reason: str) -> None:
    """Says why this service cannot go on, and ends it in order."""
    logger.critical("%s", reason)
    os.kill(os.getpid(), signal.SIGTERM)
