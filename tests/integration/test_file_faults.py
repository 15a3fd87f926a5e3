"""What goes wrong with disks, files and workers: one clear sentence, and nothing half-written."""

import os
import secrets
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from file_caller import file_worker, stores
from isthmus.errors import Conflict
from isthmus_file_worker.folder import Folder
from servers import NatsServer
from stores import FolderPlace, Place, Store, fill

pytest_plugins = ["store_fixtures"]

WRITES: list[tuple[str, dict[str, Any]]] = [
    ("write_file", {"path": "new.txt", "content": "x" * 2_000_000}),
    ("write_file", {"path": "a.txt", "content": "x" * 2_000_000, "mode": "overwrite"}),
    ("write_file", {"path": "a.txt", "content": "x" * 2_000_000, "mode": "append"}),
    ("edit_file", {"path": "a.txt", "edits": [{"old": "old", "new": "x" * 2_000_000}]}),
    ("copy_file", {"path": "half.bin", "to_path": "copy.bin"}),
    ("copy_file", {"path": "work", "to_path": "copy", "recursive": True}),
]


@contextmanager
def small_disk(folder: Path, options: str = "size=1m") -> Generator[Path]:
    """A file system of its own; only root can have one."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("a file system of its own takes the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_written(tmp_path: Path) -> None:
    with small_disk(tmp_path) as root:
        fill(root, {"a.txt": "old", "half.bin": b"\0" * 600_000, "work/big.bin": b"", "work/b.txt": "b"})
        os.truncate(root / "work/big.bin", 2_000_000)
        store = Store.over(root)
        before = store.tree()
        for tool, arguments in WRITES:
            code, sentence = await store.refused(tool, **arguments)
            target = arguments.get("to_path") or arguments["path"]
            assert (code, sentence) == ("source_unavailable", f"The store reports has no room left for {target}.")
            assert store.tree() == before
        await store.ask("write_file", path="small.txt", content="fits")


async def test_a_disk_that_is_read_only_is_said_to_be(tmp_path: Path) -> None:
    with small_disk(tmp_path) as root:
        fill(root, {"a.txt": "old", "half.bin": b"\0" * 100, "work/b.txt": "b"})
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        store = Store.over(root)
        before = store.tree()
        others: list[tuple[str, dict[str, Any]]] = [
            ("delete_file", {"path": "a.txt"}),
            ("delete_file", {"path": "work", "recursive": True}),
            ("move_file", {"path": "a.txt", "to_path": "b.txt"}),
            ("create_folder", {"path": "new"}),
        ]
        for tool, arguments in [*WRITES, *others]:
            code, sentence = await store.refused(tool, **arguments)
            assert code == "not_allowed"
            assert sentence.startswith("The store reports does not give its worker that access to ")
        assert store.tree() == before


async def test_what_is_on_another_disk_is_not_moved_there(tmp_path: Path) -> None:
    fill(tmp_path, {"a.txt": "a", "disk/x": ""})
    with small_disk(tmp_path / "disk"):
        store = Store.over(tmp_path)
        assert await store.refused("move_file", path="a.txt", to_path="disk/a.txt") == (
            "conflict",
            "disk/a.txt is on another disk, where a.txt cannot be moved; copy it and delete the original.",
        )
        await store.ask("copy_file", path="a.txt", to_path="disk/a.txt")
        assert store.tree() == {"a.txt": b"a", "disk": None, "disk/a.txt": b"a"}


def test_a_file_that_is_rewritten_while_it_is_read_is_said_to_be(folder: FolderPlace) -> None:
    folder.fill({"a.txt": "x" * 100})
    store = Folder("reports", folder.root)

    def read(new: bytes, how: str) -> bytes:
        with store.open_file(("a.txt",)) as file:
            first = file.read(0, 50)
            with (folder.root / "a.txt").open(how) as other:
                other.write(new)
            os.utime(folder.root / "a.txt", ns=(1, secrets.randbelow(10**9)))
            return first + file.read(50, 50)

    for new in (b"y" * 100, b"y" * 10):
        with pytest.raises(Conflict) as caught:
            read(new, "wb")
        assert caught.value.message == "a.txt was changed by another while it was read; read it again."
    assert read(b"a new line of a log", "ab") == b"y" * 10
    store.close()


async def test_what_is_deleted_after_it_was_listed_is_not_there(place: Place) -> None:
    store = Store.at(place)
    store.fill({"a.txt": "a", "b.txt": "b"})
    (path, _) = await store.listed()
    store.place.delete(path)
    for tool in ("read_file", "delete_file"):
        code, sentence = await store.refused(tool, path=path)
        assert code == "not_found"
        assert sentence.startswith("There is no a.txt.")


async def test_names_of_five_thousand_characters_are_refused_by_every_tool(place: Place) -> None:
    store = Store.at(place)
    store.fill({"a.txt": "a"})
    for path in ("n" * 5000, "n/" * 2499 + "n", "ü" * 2500):
        calls: list[tuple[str, dict[str, Any]]] = [
            ("list_files", {}),
            ("read_file", {}),
            ("write_file", {"content": "x"}),
            ("edit_file", {"edits": [{"old": "a", "new": "b"}]}),
            ("create_folder", {}),
            ("delete_file", {}),
            ("copy_file", {"to_path": "b"}),
            ("move_file", {"to_path": "b"}),
        ]
        for tool, arguments in calls:
            assert (await store.refused(tool, path=path, **arguments))[0] == "invalid_arguments"
        for tool in ("copy_file", "move_file"):
            assert (await store.refused(tool, path="a.txt", to_path=path))[0] == "invalid_arguments"
    assert store.tree() == {"a.txt": b"a"}


async def test_a_worker_that_is_killed_leaves_every_file_old_or_new(
    nats: NatsServer, place: Place, tmp_path: Path
) -> None:
    """Two hundred writes, of every kind, and a worker that is killed three times among them."""
    old, new = "old " * 50_000, "new " * 50_000
    place.fill({f"{n}.txt": old for n in range(40)})
    setting = {name: value for name, value in _settings(place).items() if value}
    for _ in range(4):
        async with file_worker(nats, ISTHMUS_FILES=stores(drafts=setting)) as caller:
            for n in range(50):
                mode = ("overwrite", "append")[n % 2]
                await caller.send("drafts", "write_file", path=f"{n % 40}.txt", content=new, mode=mode)
            await caller.next()
            caller.process.kill()
            caller.process.wait()
    for path, data in place.tree().items():
        if path.startswith(".isthmus"):
            continue  # was being written, and nobody sees it
        assert data is not None
        text = data.decode()
        begin, rest = (old, text.removeprefix(old)) if text.startswith(old) else (new, text.removeprefix(new))
        assert text.startswith(begin), path
        assert rest == new * (len(rest) // len(new)), path


def _settings(place: Place) -> dict[str, object]:
    settings = place.settings
    return {
        "path": settings.path,
        "url": settings.url,
        "access_key": settings.access_key,
        "secret_key": settings.secret_key,
        "access": "read-write",
        "limit": 50,
    }
