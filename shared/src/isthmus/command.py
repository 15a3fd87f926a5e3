"""The command `isthmus`."""

import sys


def main() -> None:
    """Runs the command line; without the extra `launcher` it says what to install."""
    try:
        from isthmus.launcher.cli import app  # the extra may be missing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "isthmus":
            raise
        sys.exit("The command isthmus needs the launcher: install 'isthmus[launcher]'.")
    app()
