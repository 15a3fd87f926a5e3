"""`make soak`: prints a report; ends with 1 if something leaks, grows or is answered wrongly."""

import argparse
import asyncio
import logging
import sys
import tempfile
import warnings
from pathlib import Path

from mcp.shared.exceptions import MCPDeprecationWarning

from soak.run import soak


def main() -> None:
    """Runs once."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long the load lasts (at least 20)")
    seconds: float = parser.parse_args().seconds
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # clients of 2025 follow resources in their own way
    logging.disable()  # the SDK's client logs each call that was cancelled, or lost by a cut
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(soak(max(20.0, seconds), Path(folder)))
    print(report)
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
