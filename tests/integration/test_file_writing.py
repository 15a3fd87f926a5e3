"""`write_file` and `create_folder`: whole or not at all, and only where the caller may."""

import asyncio
import base64
import json
import os
import resource
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from isthmus_file_worker import placing
from stores import FolderPlace, Place, Store, fill

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def store(place: Place) -> Store:
    place.fill({"a.txt": "old"})
    return Store.at(place)


@pytest.fixture
def local(folder: FolderPlace) -> Store:
    folder.fill({"a.txt": "old"})
    return Store.at(folder)


async def test_a_new_file_is_written_with_the_folders_above_it(store: Store) -> None:
    result = await store.call("write_file", path="notes/2026/ü.md", content="Grüße\n")
    assert result["content"][0]["text"] == "Created notes/2026/ü.md, 8 bytes."
    assert result["structuredContent"].pop("etag")
    assert result["structuredContent"] == {"path": "notes/2026/ü.md", "done": "created", "size": 8}
    assert store.tree() == {
        "a.txt": b"old",
        "notes": None,
        "notes/2026": None,
        "notes/2026/ü.md": "Grüße\n".encode(),
    }


async def test_bytes_are_written_from_base64(store: Store) -> None:
    data = bytes(range(256))
    await store.ask("write_file", path="a.bin", content=base64.b64encode(data).decode(), encoding="base64")
    assert store.tree()["a.bin"] == data
    assert await store.refused("write_file", path="b.bin", content="no!", encoding="base64") == (
        "invalid_arguments",
        "`content` is not valid base64.",
    )


async def test_a_file_that_is_there_is_only_replaced_on_request(store: Store) -> None:
    assert await store.refused("write_file", path="a.txt", content="new") == (
        "conflict",
        'a.txt is there already; mode "overwrite" would replace it.',
    )
    assert store.tree() == {"a.txt": b"old"}
    assert (await store.ask("write_file", path="a.txt", content="new", mode="overwrite"))["done"] == "replaced"
    assert store.tree() == {"a.txt": b"new"}


async def test_a_file_that_is_replaced_keeps_its_mode(local: Store) -> None:
    (local.root / "a.txt").chmod(0o640)
    await local.ask("write_file", path="a.txt", content="new", mode="overwrite")
    assert (local.root / "a.txt").stat().st_mode & 0o777 == 0o640


async def test_a_folder_or_a_link_is_never_replaced_by_a_file(local: Store) -> None:
    (local.root / "folder").mkdir()
    (local.root / "link").symlink_to("a.txt")
    for path in ("folder", "link"):
        for mode in ("create", "overwrite"):
            code, _ = await local.refused("write_file", path=path, content="x", mode=mode)
            assert code == "conflict"
    assert (local.root / "a.txt").read_text() == "old"
    assert (await local.refused("write_file", path="a.txt/b", content="x"))[1] == (
        "a.txt is not a folder, so nothing can be put into it."
    )
    for path in ("", "folder/"):
        assert (await local.refused("write_file", path=path, content="x"))[1] == "`path` must name a file."


async def test_of_many_that_create_one_file_at_once_one_does(local: Store) -> None:
    results = await asyncio.gather(
        *(local.call("write_file", path="new/race.txt", content=f"writer {n}") for n in range(24))
    )
    winners = [n for n, result in enumerate(results) if not result["isError"]]
    assert len(winners) == 1
    assert local.tree()["new/race.txt"] == f"writer {winners[0]}".encode()
    assert {result["_meta"]["isthmus/error"] for result in results if result["isError"]} == {"conflict"}


async def test_readers_see_the_old_or_the_new_file_and_nothing_between(local: Store) -> None:
    texts = ["a" * 200_000, "b" * 200_000]
    await local.ask("write_file", path="a.txt", content=texts[0], mode="overwrite")
    done = asyncio.Event()

    async def write() -> None:
        for n in range(20):
            await local.ask("write_file", path="a.txt", content=texts[n % 2], mode="overwrite")
        done.set()

    async def read() -> None:
        while not done.is_set():
            assert (await local.ask("read_file", path="a.txt"))["content"] in texts

    await asyncio.gather(write(), read(), read())
    assert list(local.tree()) == ["a.txt"]


async def test_where_there_are_no_hard_links_a_name_is_taken_only_once(local: Store) -> None:
    fill(local.root, {"one": "1", "two": "2"})
    folder = os.open(local.root, os.O_RDONLY)
    try:
        placing.take_name_without_links(folder, "one", folder, "new")
        with pytest.raises(FileExistsError):
            placing.take_name_without_links(folder, "two", folder, "new")
    finally:
        os.close(folder)
    assert local.tree() == {"a.txt": b"old", "new": b"1", "two": b"2"}


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """As on a full disk: the system refuses to write more than this many bytes into a file (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("mode", ["create", "overwrite"])
async def test_a_write_that_fails_half_way_leaves_nothing_behind(local: Store, mode: str) -> None:
    path = "a.txt" if mode == "overwrite" else "new.txt"
    with files_of_at_most(3_000_000):
        code, sentence = await local.refused("write_file", path=path, content="x" * 4_000_000, mode=mode)
    assert code == "source_unavailable"
    assert sentence == f"The store reports has no room left for {path}."
    assert local.tree() == {"a.txt": b"old"}


async def test_a_write_whose_time_is_up_leaves_nothing_half_written(local: Store) -> None:
    content = "x" * 7_000_000
    for milliseconds in range(0, 24, 2):
        result = await local.call("write_file", seconds=milliseconds / 1000, path="new.txt", content=content)
        if result["isError"]:
            assert local.tree() == {"a.txt": b"old"}
        else:
            assert local.tree() == {"a.txt": b"old", "new.txt": content.encode()}
            (local.root / "new.txt").unlink()


async def test_a_file_too_large_for_one_call_is_refused(store: Store) -> None:
    code, sentence = await store.refused("write_file", path="big", content="x" * (8 * 1024 * 1024))
    assert code == "too_large"
    assert sentence == "A file of 8388608 bytes is too large for one call; 8323072 bytes fit."


async def test_half_a_surrogate_pair_is_no_text(store: Store) -> None:
    assert json.dumps("\ud800") == '"\\ud800"'
    code, _ = await store.refused("write_file", path="x", content="\ud800")
    assert code == "invalid_arguments"


async def test_creating_takes_the_right_to_create_and_replacing_the_right_to_update(store: Store) -> None:
    creator = store.granted("in/**", "*.txt", actions=("create",))
    assert (await creator.ask("write_file", path="in/new.txt", content="x"))["done"] == "created"
    assert await creator.refused("write_file", path="out/new.txt", content="x") == (
        "not_allowed",
        "You may not create out/new.txt.",
    )
    assert await creator.refused("write_file", path="a.txt", content="x", mode="overwrite") == (
        "not_allowed",
        "You may not change a.txt, which is there already.",
    )
    editor = store.granted("drafts/**", actions=("create",)).also("a.txt", "b.txt", actions=("update",))
    assert (await editor.ask("write_file", path="a.txt", content="x", mode="overwrite"))["done"] == "replaced"
    assert await editor.refused("write_file", path="b.txt", content="x", mode="overwrite") == (
        "not_allowed",
        "You may not create b.txt, and it is not there.",
    )
    assert set(store.tree()) == {"a.txt", "in", "in/new.txt"}


async def test_making_a_folder_twice_is_making_it_once(local: Store) -> None:
    assert await local.ask("create_folder", path="x/y/z") == {"path": "x/y/z", "done": "created"}
    assert await local.ask("create_folder", path="x/y/z/") == {"path": "x/y/z", "done": "nothing"}
    assert await local.ask("create_folder", path="") == {"path": "", "done": "nothing"}
    assert (await local.refused("create_folder", path="a.txt"))[0] == "conflict"
    assert (await local.refused("create_folder", path="a.txt/b"))[0] == "conflict"


async def test_a_folder_is_made_only_where_something_may_be_created(local: Store) -> None:
    caller = local.granted("in/**", actions=("create",))
    assert (await caller.ask("create_folder", path="in"))["done"] == "created"
    assert (await caller.ask("create_folder", path="in/deep"))["done"] == "created"
    assert await caller.refused("create_folder", path="out") == ("not_allowed", "You may not create out.")


async def test_what_was_written_is_put_on_record_and_what_was_not_is_not(local: Store) -> None:
    assert await local.wrote("write_file", path="new/b.txt", content="x") == [("new/b.txt", "create", 1)]
    assert await local.wrote("write_file", path="a.txt", content="x", mode="overwrite") == [("a.txt", "update", 1)]
    assert await local.wrote("write_file", path="a.txt", content="y") == []
    assert await local.wrote("create_folder", path="new/inner") == [("new/inner", "create", 1)]
    assert await local.wrote("create_folder", path="new/inner") == []
    assert await local.wrote("delete_file", path="new") == []
    assert await local.wrote("delete_file", path="new", recursive=True) == [("new", "delete", 3)]
    assert await local.wrote("delete_file", path="a.txt") == [("a.txt", "delete", 1)]
