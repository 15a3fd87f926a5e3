"""No way out of a store: links, swaps, special files, and stores that are gone."""

import os
import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores import Store, fill

SECRET = "the secret outside"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    root = tmp_path / "store"
    fill(tmp_path, {"outside/secret.txt": SECRET, "secret.txt": SECRET})
    fill(root, {"inside/a.txt": "a", "b.txt": "b"})
    (root / "inside/up").symlink_to("..")
    (root / "inside/out").symlink_to(tmp_path / "outside")
    (root / "secret.txt").symlink_to(tmp_path / "outside/secret.txt")
    (root / "loop").symlink_to("loop")
    return Store.over(root)


def outside(store: Store) -> dict[str, str]:
    return {p.name: p.read_text() for p in store.root.parent.rglob("*") if p.is_file() and store.root not in p.parents}


async def try_everything(store: Store, path: str) -> list[dict[str, Any]]:
    return [
        await store.call("list_files", path=path, recursive=True),
        await store.call("read_file", path=path),
        await store.call("read_file", path=path, encoding="base64"),
        await store.call("write_file", path=path, content="overwritten", mode="overwrite"),
        await store.call("write_file", path=path, content="appended", mode="append"),
        await store.call("edit_file", path=path, edits=[{"old": "secret", "new": "edited"}]),
        await store.call("create_folder", path=path),
        await store.call("copy_file", path=path, to_path="copied", recursive=True),
        await store.call("copy_file", path="b.txt", to_path=path),
        await store.call("move_file", path=path, to_path="moved", recursive=True),
        await store.call("move_file", path="moved", to_path=path, recursive=True),
        await store.call("delete_file", path=path, recursive=True, preview=True),
        await store.call("delete_file", path=path, recursive=True),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.txt",
        "inside/../../outside/secret.txt",
        "inside/up/b.txt",
        "inside/out/secret.txt",
        "inside/out/new.txt",
        "inside/out",
        "secret.txt",
        "loop",
        "loop/x",
        "/etc/passwd",
        "//etc/passwd",
        "C:\\secret.txt",
        "..\\outside\\secret.txt",
        "inside/out\0/secret.txt",
        "%2e%2e/outside/secret.txt/x",
        "file:///etc/passwd",
        "\N{TWO DOT LEADER}/outside/secret.txt",
        "\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/outside/secret.txt",
        "..\N{FULLWIDTH SOLIDUS}outside\N{FULLWIDTH SOLIDUS}secret.txt",
        "..\N{DIVISION SLASH}outside\N{DIVISION SLASH}secret.txt",
        "..\N{FULLWIDTH REVERSE SOLIDUS}outside\N{FULLWIDTH REVERSE SOLIDUS}secret.txt",
        ".\u200b./outside/secret.txt",
        "inside/o\u0075\u0301t/secret.txt",
        "..%c0%afoutside%c0%afsecret.txt",
        "inside//out/secret.txt",
        "inside/./out/secret.txt",
        "~/secret.txt",
        "$HOME/secret.txt",
        "CON",
        "inside/out::$DATA",
        "\\\\server\\share\\secret.txt",
        "inside/out\u2028/secret.txt",
        "/proc/self/root/etc/passwd",
        "inside/out/../out/secret.txt",
    ],
)
async def test_no_spelling_of_a_path_leads_out(store: Store, path: str) -> None:
    before = outside(store)
    for result in await try_everything(store, path):
        assert SECRET not in str(result)
        assert str(store.root.parent) not in str(result)
    assert outside(store) == before


PARTS = st.sampled_from(["..", ".", "", "inside", "up", "out", "secret.txt", "loop", "b.txt", "new", "~", "\0", "\\"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, min_size=1, max_size=5))
async def test_no_path_at_all_leads_out(store: Store, parts: list[str]) -> None:
    before = outside(store)
    for result in await try_everything(store, "/".join(parts)):
        assert SECRET not in str(result)
        assert str(store.root.parent) not in str(result)
    assert outside(store) == before


@contextmanager
def swapping(folder: Path, target: Path) -> Generator[None]:
    """A folder that turns into a link and back, as fast as the disk can."""
    aside = folder.with_name("aside")
    link = folder.with_name("other-link")
    link.symlink_to(target)
    end = threading.Event()

    def swap() -> None:
        while not end.is_set():
            folder.rename(aside)
            link.rename(folder)
            folder.rename(link)
            aside.rename(folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


async def test_a_folder_swapped_for_a_link_at_the_worst_moment_leads_nowhere(store: Store) -> None:
    fill(store.root, {"swap/secret.txt": "harmless"})
    caller = store.granted("**", actions=("read", "update", "delete")).also("drafts/**", actions=("create",))
    before = outside(store)
    seen: set[str] = set()
    with swapping(store.root / "swap", store.root.parent / "outside"):
        for n in range(150):
            result = await caller.call("read_file", path="swap/secret.txt")
            seen.add(result["content"][0]["text"].split(".")[0])
            await caller.call("write_file", path="swap/secret.txt", content="harmless", mode="overwrite")
            await caller.call("list_files", path="swap")
            await caller.call("write_file", path="swap/secret.txt", content="", mode="append")
            await caller.call("edit_file", path="swap/secret.txt", edits=[{"old": "harmless", "new": "harmless"}])
            await caller.call("move_file", path="b.txt", to_path=f"swap/none{n}")
            await caller.call("delete_file", path=f"swap/none{n}")
    assert SECRET not in seen
    assert "harmless" in seen
    assert outside(store) == before


async def test_special_files_are_not_opened_and_block_nothing(store: Store) -> None:
    os.mkfifo(store.root / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(store.root / "s"))
        for path in ("fifo", "s", "fifo/x"):
            for encoding in (None, "base64"):
                code, sentence = await store.refused("read_file", path=path, encoding=encoding)
                assert code == "not_found"
                assert sentence.startswith(f"There is no {path}.")
            assert (await store.refused("delete_file", path=path))[0] == "not_found"
            assert (await store.refused("write_file", path=path, content="x", mode="overwrite"))[0] == "conflict"


async def test_no_call_leaves_a_file_or_folder_open(store: Store) -> None:
    fill(store.root, {"deep/er/x.csv": "x", "deep/er/y.csv": "y"})
    await store.listed()
    before = len(list(Path("/dev/fd").iterdir()))
    for path in ("inside/a.txt", "inside/out/x", "none", "deep", "inside"):
        await try_everything(store, path)
        await store.call("list_files", recursive=True, limit=2)
    assert len(list(Path("/dev/fd").iterdir())) == before


async def test_a_store_without_its_folder_says_so_and_comes_back(tmp_path: Path) -> None:
    store = Store.over(tmp_path / "later")
    for tool, arguments in {
        "list_files": {},
        "read_file": {"path": "a.txt"},
        "write_file": {"path": "a.txt", "content": "x"},
        "create_folder": {"path": "a"},
        "edit_file": {"path": "a.txt", "edits": [{"old": "a", "new": "b"}]},
        "copy_file": {"path": "a.txt", "to_path": "b.txt"},
        "move_file": {"path": "a.txt", "to_path": "b.txt"},
        "delete_file": {"path": "a.txt"},
    }.items():
        assert await store.refused(tool, **arguments) == (
            "source_unavailable",
            "The store reports cannot be reached at the moment.",
        )
    assert not store.root.exists()
    store.root.mkdir()
    assert await store.listed() == []


async def test_a_root_that_is_a_file_is_no_store(tmp_path: Path) -> None:
    fill(tmp_path, {"file": "x"})
    assert (await Store.over(tmp_path / "file").refused("list_files"))[0] == "source_unavailable"


async def test_a_root_may_itself_be_reached_through_a_link(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").symlink_to(store.root)
    assert await Store.over(tmp_path / "elsewhere").listed() == ["b.txt", "inside/"]


@contextmanager
def unprivileged() -> Generator[None]:
    """Without root's right to read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


async def test_what_is_closed_to_the_worker_is_said_to_be() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.over(Path(folder))
        fill(store.root, {"b.txt": "b", "closed/a.txt": "a"})
        (store.root / "b.txt").chmod(0)
        (store.root / "closed").chmod(0)
        store.root.chmod(0o755)
        with unprivileged():
            assert await store.refused("read_file", path="b.txt") == (
                "not_allowed",
                "The store reports does not give its worker that access to b.txt.",
            )
            assert (await store.refused("write_file", path="new.txt", content="x"))[0] == "not_allowed"
            assert await store.listed(recursive=True) == ["b.txt", "closed/"]
        store.root.chmod(0)
        with unprivileged():
            assert (await store.refused("list_files"))[0] == "source_unavailable"
        store.root.chmod(0o755)
