"""Runs a program that knows nothing of its launcher, and ends it when standard input closes.

Used for nats-server where the kernel offers no signal at a parent's end.
"""

import signal
import subprocess
import sys
import threading


def main() -> None:
    """`python -m isthmus.launcher.guard PROGRAM ARGUMENT…`"""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def end(*_: object) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, end)

    def wait_for_launcher() -> None:
        sys.stdin.buffer.read()
        process.terminate()

    threading.Thread(target=wait_for_launcher, daemon=True).start()
    sys.exit(process.wait())


if __name__ == "__main__":
    main()
