"""File stores for the tests: a place served with the worker's tools, called as the bus would."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from isthmus.answering import answer
from isthmus.grants import EVERYTHING, Grant, Granted
from isthmus.messages import Envelope, Method, Principal
from isthmus.tools import Toolbox
from isthmus.worker import Worker
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.store import Store as Handle
from isthmus_file_worker.worker import file_worker
from wires import Heard


class Place(Protocol):
    """Where files are, as it looks without Isthmus."""

    @property
    def settings(self) -> StoreSettings: ...

    def fill(self, files: dict[str, bytes | str]) -> None:
        """Makes these files, and the folders that they are in."""
        ...

    def delete(self, path: str) -> None:
        """Deletes a file."""
        ...

    def tree(self) -> dict[str, bytes | None]:
        """All that is there: path → bytes; None for a folder."""
        ...


@dataclass
class FolderPlace:
    """A folder on the disk."""

    root: Path

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(path=str(self.root), access="read-write")

    def fill(self, files: dict[str, bytes | str]) -> None:
        fill(self.root, files)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()

    def tree(self) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(self.root)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
        }


@dataclass
class Store:
    """A writable store, and who calls."""

    place: Place
    worker: Worker[Handle]
    grants: tuple[Grant, ...] = (EVERYTHING,)

    @classmethod
    def at(cls, place: Place) -> "Store":
        return cls(place, file_worker({"reports": place.settings}))

    @classmethod
    def over(cls, root: Path) -> "Store":
        return cls.at(FolderPlace(root))

    @property
    def root(self) -> Path:
        """Of a store that is a folder."""
        assert isinstance(self.place, FolderPlace)
        return self.place.root

    def granted(self, *objects: str, actions: tuple[str, ...] = ("read",)) -> "Store":
        """The same store for a caller who may do this with these paths, and nothing else."""
        return Store(self.place, self.worker, (Grant(("file.*",), actions, objects),))

    def also(self, *objects: str, actions: tuple[str, ...]) -> "Store":
        """The same store for a caller who may do this, too."""
        return Store(self.place, self.worker, (*self.grants, Grant(("file.*",), actions, objects)))

    def fill(self, files: dict[str, bytes | str]) -> None:
        self.place.fill(files)

    def tree(self) -> dict[str, bytes | None]:
        return self.place.tree()

    def ordered(self) -> list[str]:
        """All paths in the order of lists, where that of a folder ends with a slash."""
        return sorted(path if data is not None else f"{path}/" for path, data in self.tree().items())

    async def call(self, tool: str, *, seconds: float = 20, **arguments: Any) -> dict[str, Any]:
        """MCP's result, as a client gets it."""
        return await self._answer("tools/call", tool, arguments, Heard(), seconds)

    async def request(self, method: Method, name: str, **arguments: Any) -> dict[str, Any]:
        """The result of a prompt, a resource or a completion; raises what the call fails with."""
        return await self._answer(method, name, arguments, Heard())

    async def read(self, path: str) -> dict[str, Any]:
        """The contents of a file's resource."""
        (contents,) = (await self.request("resources/read", "file", store="reports", path=path))["contents"]
        return contents

    async def completed(self, value: str) -> list[str]:
        """How a path is completed."""
        return (await self.request("completion/complete", "path", value=value))["completion"]["values"]

    async def told(self, tool: str, **arguments: Any) -> list[str]:
        """The resources that a call that succeeds says have changed."""
        heard = Heard()
        result = await self._answer("tools/call", tool, arguments, heard)
        assert result["isError"] is False, result["content"]
        return heard.updates

    async def wrote(self, tool: str, **arguments: Any) -> list[tuple[str, str, int]]:
        """What a call puts on the audit trail: object, action and count."""
        heard = Heard()
        await self._answer("tools/call", tool, arguments, heard)
        return [(written.object, written.action, written.count) for written in heard.written]

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
        """The paths that list_files shows; those of folders end with a slash."""
        return [key_of(entry) for entry in (await self.ask("list_files", **arguments))["entries"]]

    async def pages(self, **arguments: Any) -> list[str]:
        """The same, of all pages together."""
        keys: list[str] = []
        cursor = None
        while True:
            answer = await self.ask("list_files", cursor=cursor, **arguments)
            assert len(answer["entries"]) <= arguments.get("limit", 200)
            keys += [key_of(entry) for entry in answer["entries"]]
            if (cursor := answer["next_cursor"]) is None:
                return keys

    async def _answer(
        self, method: Method, name: str, arguments: dict[str, Any], heard: Heard, seconds: float = 20
    ) -> dict[str, Any]:
        toolbox: Toolbox[Handle] = self.worker._toolbox  # pyright: ignore[reportPrivateUsage]
        raw = msgspec.Raw(json.dumps(arguments).encode())
        grants = {"file.reports": Granted.of(self.grants)}
        envelope = Envelope("c1", Principal("u", "c", "default"), grants, raw, method, uri="asked://for")
        return json.loads(
            msgspec.json.encode(await answer(toolbox, toolbox.sources["reports"], name, envelope, seconds, heard))
        )


def key_of(entry: dict[str, Any]) -> str:
    """The path of an entry; that of a folder ends with a slash."""
    return entry["path"] + ("/" if entry["kind"] == "folder" else "")


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
