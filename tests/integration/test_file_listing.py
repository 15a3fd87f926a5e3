"""`list_files`: order, pages, patterns, and what a caller does not see."""

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isthmus_file_worker import walking
from stores import FolderPlace, Place, Store, fill

pytest_plugins = ["store_fixtures"]

TREE = {
    "a/b.txt": "b",
    "a/deep/er/c.csv": "c",
    "a.txt": "a",
    "a-b.csv": "ab",
    "z/last.csv": "last",
}


@pytest.fixture
def store(place: Place) -> Store:
    place.fill(dict(TREE))
    return Store.at(place)


@pytest.fixture
def local(folder: FolderPlace) -> Store:
    folder.fill(dict(TREE))
    return Store.at(folder)


async def test_a_folder_lists_its_entries_with_size_and_time(store: Store) -> None:
    answer = await store.ask("list_files", pattern="a*")
    times = [entry.pop("modified") for entry in answer["entries"]]
    assert answer == {
        "path": "",
        "entries": [
            {"path": "a-b.csv", "kind": "file", "size": 2},
            {"path": "a.txt", "kind": "file", "size": 1},
            {"path": "a", "kind": "folder", "size": None},
        ],
        "truncated": False,
        "next_cursor": None,
    }
    for time in times[:2]:
        assert abs(datetime.fromisoformat(time) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_the_text_for_the_model_is_one_line_an_entry(local: Store) -> None:
    os.utime(local.root / "a.txt", (1790755200, 1790755200))
    result = await local.call("list_files", limit=3)
    lines = result["content"][0]["text"].splitlines()
    assert lines[1:3] == ["a.txt\t1\t2026-09-30T08:00:00Z", "a/"]
    assert lines[3].startswith("There is more: call again with cursor")


async def test_a_recursive_list_is_in_the_order_of_whole_paths(store: Store) -> None:
    assert await store.listed(recursive=True) == store.ordered()
    assert await store.listed(path="a", recursive=True) == ["a/b.txt", "a/deep/", "a/deep/er/", "a/deep/er/c.csv"]


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_pages_join_to_the_whole(store: Store, limit: int) -> None:
    assert await store.pages(recursive=True, limit=limit) == store.ordered()
    assert await store.pages(limit=limit) == ["a-b.csv", "a.txt", "a/", "z/"]


async def test_a_page_goes_on_after_its_last_entry_was_deleted(store: Store) -> None:
    first = await store.ask("list_files", limit=1)
    store.place.delete("a-b.csv")
    assert await store.listed(cursor=first["next_cursor"]) == ["a.txt", "a/", "z/"]


async def test_a_folder_with_more_names_than_a_batch_is_listed_whole(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "BATCH", 2)
    assert await local.listed(recursive=True) == local.ordered()


NAMES = st.sampled_from(["a", "a.", "a-", "a0", "b", "B", "ä", "a b"])


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12), limit=st.integers(1, 5))
async def test_any_tree_is_listed_whole_and_in_order(
    new_place: Callable[[], Place], files: set[str], limit: int
) -> None:
    store = Store.at(new_place())
    folders = {str(folder) for path in files for folder in Path(path).parents}
    store.fill(dict.fromkeys(files - folders, "x"))
    assert await store.pages(recursive=True, limit=limit) == store.ordered()
    assert await store.pages(limit=limit) == [key for key in store.ordered() if "/" not in key[:-1]]


async def test_a_pattern_with_a_slash_looks_into_folders(store: Store) -> None:
    assert await store.listed(pattern="*.csv") == ["a-b.csv"]
    assert await store.listed(pattern="*.csv", recursive=True) == ["a-b.csv", "a/deep/er/c.csv", "z/last.csv"]
    assert await store.listed(pattern="a/**/*.csv") == ["a/deep/er/c.csv"]
    assert await store.listed(path="a", pattern="deep/*/c.csv") == ["a/deep/er/c.csv"]


async def test_nothing_found_is_said(store: Store) -> None:
    result = await store.call("list_files", path="a", pattern="*.pdf")
    assert result["content"][0]["text"] == "There is nothing to list in a."
    assert result["structuredContent"]["entries"] == []


async def test_a_missing_folder_and_a_file_are_told_apart(store: Store) -> None:
    code, sentence = await store.refused("list_files", path="a.txtt")
    assert (code, sentence.split(" Did")[0]) == ("not_found", "There is no a.txtt.")
    assert "a.txt" in sentence
    assert await store.refused("list_files", path="a.txt") == (
        "invalid_arguments",
        "a.txt is a file; use read_file.",
    )


@pytest.mark.parametrize("cursor", ["x", "ÿ", "_w==", "a/b"])
async def test_a_made_up_cursor_is_refused(store: Store, cursor: str) -> None:
    code, sentence = await store.refused("list_files", cursor=cursor)
    assert code == "invalid_arguments"
    assert sentence == "That cursor is not one that list_files returned."


async def test_links_special_files_and_names_that_no_path_has_are_left_out(local: Store) -> None:
    root = local.root
    (root / "link").symlink_to("/etc")
    (root / "a/link").symlink_to("b.txt")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "s"))
    (root / "new\nline").write_text("x")
    (root / "back\\slash").write_text("x")
    (Path(os.fsdecode(bytes(root) + b"/\xff\xfe"))).write_text("x")
    fill(root, {".isthmus/connection.json": "{}", ".isthmus-0123": "half"})
    assert await local.listed(recursive=True) == sorted(TREE.keys() | {"a/", "a/deep/", "a/deep/er/", "z/"})


async def test_a_tree_too_deep_for_paths_is_listed_as_far_as_paths_go(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    path = tmp_path.joinpath(*["d"] * 120)
    path.mkdir(parents=True)
    assert len(await store.listed(recursive=True)) == 100


async def test_what_may_not_be_read_is_not_listed(store: Store) -> None:
    store.fill({"public/open.txt": "x", "public/sub/open.csv": "x", "private/secret.txt": "x", "public2": "x"})
    caller = store.granted("public/**")
    assert await caller.listed(recursive=True) == [
        "public/",
        "public/open.txt",
        "public/sub/",
        "public/sub/open.csv",
    ]
    assert await caller.listed() == ["public/"]
    assert await caller.listed(path="public", pattern="*.csv", recursive=True) == ["public/sub/open.csv"]


async def test_a_hidden_folder_is_answered_like_an_absent_one(store: Store) -> None:
    store.fill({"public/open.txt": "x", "private/secret.txt": "x"})
    caller = store.granted("public/**")
    for tool in ("list_files", "read_file"):
        hidden = await caller.refused(tool, path="private/secret.txt")
        absent = await caller.refused(tool, path="privatf/secret.txt")
        assert hidden == ("not_found", "There is no private/secret.txt.")
        assert absent == ("not_found", "There is no privatf/secret.txt.")
    assert (await caller.refused("list_files", path="private"))[0] == "not_found"
    assert "private" not in (await caller.refused("list_files", path="privat"))[1].removeprefix("There is no privat.")


async def test_a_file_that_stands_where_a_folder_might_be_read_stays_hidden(store: Store) -> None:
    store.fill({"public": "a file, not a folder"})
    caller = store.granted("public/**")
    assert await caller.listed() == []
    assert (await caller.refused("read_file", path="public"))[0] == "not_found"
    assert (await caller.refused("list_files", path="public"))[0] == "not_found"


async def test_folders_are_listed_to_a_depth(store: Store) -> None:
    assert await store.listed(depth=1) == await store.listed() == ["a-b.csv", "a.txt", "a/", "z/"]
    assert await store.listed(depth=2) == ["a-b.csv", "a.txt", "a/", "a/b.txt", "a/deep/", "z/", "z/last.csv"]
    assert await store.pages(depth=2, limit=1) == await store.listed(depth=2)
    assert await store.listed(depth=3, path="a") == ["a/b.txt", "a/deep/", "a/deep/er/", "a/deep/er/c.csv"]
    assert await store.listed(depth=9) == await store.listed(recursive=True)
    assert await store.listed(depth=2, pattern="*.csv") == ["a-b.csv", "z/last.csv"]


async def test_the_largest_or_the_newest_come_first_when_asked_for(store: Store) -> None:
    by_size = ["z/last.csv", "a-b.csv", "a.txt", "a/b.txt", "a/deep/er/c.csv"]
    arguments = {"recursive": True, "order_by": "-size"}
    assert (await store.listed(**arguments))[:5] == by_size
    assert await store.pages(limit=2, **arguments) == await store.listed(**arguments)
    caller = store.granted("a/**")
    assert (await caller.listed(**arguments))[:2] == ["a/b.txt", "a/deep/er/c.csv"]
    wrong = (await store.ask("list_files", limit=1))["next_cursor"]
    assert (await store.refused("list_files", cursor=wrong, **arguments))[0] == "invalid_arguments"


async def test_the_newest_files_are_found(local: Store) -> None:
    for number, path in enumerate(sorted(TREE)):
        os.utime(local.root / path, (1_790_000_000 + number, 1_790_000_000 + number))
    newest = await local.listed(recursive=True, order_by="-modified", pattern="*.*")
    assert newest == sorted(TREE, reverse=True)
    assert await local.pages(recursive=True, order_by="-modified", pattern="*.*", limit=2) == newest
