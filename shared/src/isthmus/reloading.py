"""Sources that follow the configuration: read again when its file changes, or when somebody asks."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from isthmus.configuration import read_sources
from isthmus.errors import ConfigurationError
from isthmus.settings import PREFIX
from isthmus.tools import Source

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

logger = logging.getLogger("isthmus.reloading")

EVERY = 0.5
"""Seconds between two looks at the file. One that changed between the last two is left alone: it is being written."""


class ConfiguredSources(Generic[T]):
    """The sources of one section of `isthmus.toml`. The environment is as it was when the process started."""

    def __init__(
        self,
        section: str,
        kind: type[S],
        make: Callable[[str, S], Source[T]],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`make` gives the source for a name and its settings; it connects to nothing."""
        given = os.environ if environ is None else environ
        self._file = Path(given[PREFIX + "CONFIG"]) if given.get(PREFIX + "CONFIG") else None
        self._seen = self._stamp()
        self._asked = asyncio.Event()
        kept: dict[str, tuple[S, Source[T]]] = {}

        def read() -> dict[str, Source[T]]:
            nonlocal kept
            kept = {
                name: kept[name] if name in kept and kept[name][0] == settings else (settings, make(name, settings))
                for name, settings in read_sources(section, kind, environ).items()
            }
            return {name: source for name, (_, source) in kept.items()}

        self._read = read

    def read(self) -> dict[str, Source[T]]:
        """All sources by name; one whose settings are as they were is the same object as before.

        Raises ConfigurationError; the next reading then begins where the last good one ended.
        """
        self._seen = self._stamp()
        return self._read()

    def look_again(self) -> None:
        """Reads now, whether the file changed or not."""
        self._asked.set()

    async def changes(self) -> AsyncGenerator[dict[str, Source[T]]]:
        """All sources, each time that the file was changed and is valid; what is wrong with it is logged."""
        stamp = self._seen
        while True:
            asked = await self._asked_within(EVERY)
            before, stamp = stamp, self._stamp()
            if not asked and (stamp == self._seen or stamp != before):
                continue
            try:
                yield await asyncio.to_thread(self.read)
            except ConfigurationError as error:
                logger.error("the configuration was refused and the sources stay as they were: %s", error.message)

    async def _asked_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes whenever the file does; None: there is none."""
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
