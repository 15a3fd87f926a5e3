"""File stores for the tests: a folder served with the worker's tools, called as the bus would."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from isthmus.answering import answer
from isthmus.grants import EVERYTHING, Grant, Granted
from isthmus.messages import Envelope, Principal
from isthmus.tools import Source, Toolbox
from isthmus.worker import Worker
from isthmus_file_worker.folder import Folder
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.worker import file_worker


@dataclass
class Store:
    """A writable store over a folder, and who calls."""

    root: Path
    worker: Worker[Folder]
    grants: tuple[Grant, ...] = (EVERYTHING,)

    @classmethod
    def over(cls, root: Path) -> "Store":
        settings = StoreSettings(path=str(root), access="read-write")
        return cls(root, file_worker({"reports": settings}))

    def granted(self, *objects: str, actions: tuple[str, ...] = ("read",)) -> "Store":
        """The same store for a caller who may do this with these paths, and nothing else."""
        return Store(self.root, self.worker, (Grant(("file.*",), actions, objects),))

    def also(self, *objects: str, actions: tuple[str, ...]) -> "Store":
        """The same store for a caller who may do this, too."""
        return Store(self.root, self.worker, (*self.grants, Grant(("file.*",), actions, objects)))

    def tree(self) -> dict[str, bytes | None]:
        """All that is on disk: path → bytes; None for a folder."""
        return {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
        }

    async def call(self, tool: str, *, seconds: float = 20, **arguments: Any) -> dict[str, Any]:
        """MCP's result, as a client gets it."""
        toolbox: Toolbox[Folder] = self.worker._toolbox  # pyright: ignore[reportPrivateUsage]
        source: Source[Folder] = toolbox.sources["reports"]
        raw = msgspec.Raw(json.dumps(arguments).encode())
        envelope = Envelope("c1", Principal("u", "c", "default"), {"file.reports": Granted.of(self.grants)}, raw)

        async def progress(done: float, total: float | None, message: str | None) -> None: ...

        result = await answer(toolbox, source, toolbox.tools_of(source).get(tool), envelope, seconds, progress)
        return json.loads(msgspec.json.encode(result))

    async def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer of a call that succeeds."""
        result = await self.call(tool, **arguments)
        assert result["isError"] is False, result["content"]
        return result["structuredContent"]

    async def refused(self, tool: str, **arguments: Any) -> tuple[str, str]:
        """The code and the sentence of a call that fails."""
        result = await self.call(tool, **arguments)
        assert result["isError"] is True, result
        return result["_meta"]["isthmus/error"], result["content"][0]["text"]

    async def listed(self, **arguments: Any) -> list[str]:
        """The paths that list_files shows."""
        return [entry["path"] for entry in (await self.ask("list_files", **arguments))["entries"]]


def fill(root: Path, files: dict[str, bytes | str]) -> None:
    """Makes these files, and the folders that they are in."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Returns once the condition holds; fails after the given time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
