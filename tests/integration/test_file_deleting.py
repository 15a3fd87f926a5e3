"""`delete_file`: one file, or a whole folder, and never more than the caller may."""

from pathlib import Path

import pytest

from stores import FolderPlace, Place, Store, fill

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def store(place: Place) -> Store:
    place.fill({"a.txt": "a", "work/one.txt": "1", "work/deep/two.txt": "2", "work/keep/three.txt": "3"})
    return Store.at(place)


@pytest.fixture
def local(folder: FolderPlace) -> Store:
    folder.fill({"a.txt": "a", "work/one.txt": "1"})
    return Store.at(folder)


async def test_a_file_is_deleted(store: Store) -> None:
    result = await store.call("delete_file", path="a.txt")
    assert result["content"][0]["text"] == "Deleted a.txt."
    assert "a.txt" not in store.tree()
    assert (await store.refused("delete_file", path="a.txt"))[0] == "not_found"


async def test_a_folder_goes_only_on_request_with_all_that_is_in_it(store: Store) -> None:
    assert await store.refused("delete_file", path="work") == (
        "conflict",
        "work is a folder with 3 entries; set `recursive` to delete it with all that is in it.",
    )
    result = await store.call("delete_file", path="work", recursive=True)
    assert result["content"][0]["text"] == "Deleted work with 5 entries."
    assert store.tree() == {"a.txt": b"a"}


@pytest.mark.parametrize("path", ["", ".", "/", ".."])
async def test_the_root_is_never_deleted(store: Store, path: str) -> None:
    assert (await store.refused("delete_file", path=path, recursive=True))[0] == "invalid_arguments"
    assert len(store.tree()) == 7


async def test_links_in_a_folder_go_without_what_they_point_at(local: Store, tmp_path: Path) -> None:
    fill(tmp_path, {"outside/precious.txt": "x"})
    (local.root / "work/link").symlink_to(tmp_path / "outside")
    (local.root / "work/file").symlink_to(tmp_path / "outside/precious.txt")
    await local.ask("delete_file", path="work", recursive=True)
    assert (tmp_path / "outside/precious.txt").read_text() == "x"
    assert local.tree() == {"a.txt": b"a"}


async def test_a_link_itself_is_not_there(local: Store, tmp_path: Path) -> None:
    fill(tmp_path, {"outside/precious.txt": "x"})
    (local.root / "link").symlink_to(tmp_path / "outside")
    for path in ("link", "link/precious.txt"):
        assert (await local.refused("delete_file", path=path, recursive=True))[0] == "not_found"
    assert (tmp_path / "outside/precious.txt").read_text() == "x"


async def test_nothing_goes_unless_everything_in_the_folder_may(store: Store) -> None:
    caller = store.granted("work", "work/*", "work/deep/**", actions=("read", "delete"))
    before = store.tree()
    assert await caller.refused("delete_file", path="work", recursive=True) == (
        "not_allowed",
        "You may not delete work, since that takes the right to delete all that is in it.",
    )
    assert store.tree() == before
    assert (await caller.ask("delete_file", path="work/deep", recursive=True))["entries"] == 2


async def test_entries_that_may_not_be_read_are_not_counted(store: Store) -> None:
    caller = store.granted("work", "work/one.txt", actions=("read", "delete"))
    assert (await caller.refused("delete_file", path="work"))[1] == (
        "work is a folder with 1 entry; set `recursive` to delete it with all that is in it."
    )


async def test_what_may_not_be_read_is_not_there_to_delete(store: Store) -> None:
    caller = store.granted("work/**").also("a.txt", actions=("delete",))
    assert await caller.refused("delete_file", path="a.txt") == ("not_found", "There is no a.txt. There is only work.")
    assert await caller.refused("delete_file", path="work/one.txt") == (
        "not_allowed",
        "You may not delete work/one.txt.",
    )
    assert len(store.tree()) == 7


async def test_the_state_of_isthmus_is_not_deleted_with_the_folder_round_it(local: Store) -> None:
    fill(local.root, {"work/.isthmus/auth.sqlite": "x", "work/.isthmus-left-by-a-crash": "x"})
    before = local.tree()
    assert (await local.refused("delete_file", path="work", recursive=True))[1] == (
        "work cannot be deleted, since Isthmus keeps files of its own in it."
    )
    assert local.tree() == before
    (local.root / "work/.isthmus/auth.sqlite").unlink()
    (local.root / "work/.isthmus").rmdir()
    await local.ask("delete_file", path="work", recursive=True)
    assert local.tree() == {"a.txt": b"a"}
