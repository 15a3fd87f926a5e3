"""search_files: names and contents, by scan and by index, and what a caller does not see."""

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import samples
from isthmus_file_worker import scanning, searching
from isthmus_file_worker.indexing import Index
from isthmus_file_worker.paths import Names
from isthmus_file_worker.store import OpenFile
from isthmus_file_worker.worker import file_worker
from stores import FolderPlace, Place, Store

pytest_plugins = ["store_fixtures"]

TREE: dict[str, bytes | str] = {
    "a.txt": "one\nThe needle is here\nthree\n",
    "b/deep/c.md": "needle\nneedle\n",
    "b/needle.txt": "nothing\n",
    "d.csv": "id,name\n1,needle\n",
    "e.bin": b"needle\0\1\2\xff" * 20,
    "f.txt": "größere Nadel, für alle Häuser und Gärten; Übersicht\n".encode("cp1252") * 3 + b"needle \xe4\n",
}


@pytest.fixture
def store(place: Place) -> Store:
    place.fill(dict(TREE))
    return Store.at(place)


def found(answer: dict[str, Any]) -> list[str]:
    return [f"{m['path']}:{m['line']}" if "line" in m else m["path"] for m in answer["matches"]]


async def search(store: Store, query: str, **arguments: Any) -> list[str]:
    return found(await store.ask("search_files", query=query, **arguments))


async def test_text_is_found_in_every_file_that_has_some(store: Store) -> None:
    result = await store.call("search_files", query="NEEDLE")
    assert result["content"][0]["text"].splitlines() == [
        "a.txt:2: The needle is here",
        "b/deep/c.md:1: needle",
        "b/deep/c.md:2: needle",
        "d.csv:2: 1,needle",
        "f.txt:4: needle ä",
        "[5 searched; 1 not searched: no text]",
    ]
    assert await search(store, "NEEDLE", case_sensitive=True) == []
    assert await search(store, "N[ae]+dl?e", regex=True, pattern="*.txt") == [
        "a.txt:2",
        "f.txt:1",
        "f.txt:2",
        "f.txt:3",
        "f.txt:4",
    ]
    assert await search(store, "needle", path="b", pattern="deep/*.md") == ["b/deep/c.md:1", "b/deep/c.md:2"]
    assert await search(store, "HÄUSER") == ["f.txt:1", "f.txt:2", "f.txt:3"]


async def test_names_are_found_with_the_folders(store: Store) -> None:
    assert await search(store, "needle", where="names") == ["b/needle.txt"]
    assert await search(store, "^b/.*[.]md$", where="names", regex=True) == ["b/deep/c.md"]
    assert await search(store, "deep", where="names") == ["b/deep/", "b/deep/c.md"]
    assert await search(store, "DEEP", where="names", case_sensitive=True) == []


async def test_what_is_around_a_line_comes_with_it(store: Store) -> None:
    result = await store.call("search_files", query="here", context=1)
    assert result["content"][0]["text"].splitlines()[:4] == [
        "a.txt:1- one", "a.txt:2: The needle is here", "a.txt:3- three", "--",
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["contents", "names"])
async def test_pages_join(store: Store, where: str) -> None:
    store.fill({f"many/{n:02}-needle.txt": "needle\n\nneedle\n" for n in range(7)})
    whole = await search(store, "needle", where=where)
    joined: list[str] = []
    cursor = None
    while True:
        answer = await store.ask("search_files", query="needle", where=where, limit=3, cursor=cursor)
        assert len(answer["matches"]) <= 3
        joined += found(answer)
        if (cursor := answer["next_cursor"]) is None:
            break
        assert answer["truncated"]
    assert joined == whole


async def test_what_may_not_be_read_is_not_found_and_not_counted(store: Store) -> None:
    caller = store.granted("b/deep/**", "a.txt")
    answer = await caller.ask("search_files", query="needle")
    assert found(answer) == ["a.txt:2", "b/deep/c.md:1", "b/deep/c.md:2"]
    assert (answer["searched"], answer["skipped"]) == (2, {})
    names = await caller.ask("search_files", query="e", where="names")
    assert found(names) == ["b/deep/", "b/deep/c.md"]
    assert names["searched"] == 4
    assert (await caller.refused("search_files", query="x", path="none"))[0] == "not_found"


DOCUMENTS: dict[str, bytes | str] = {
    "a.pdf": samples.pdf("the first page", "a needle on the second"),
    "b.docx": samples.word(["# A heading", "a needle in a paragraph"]),
    "c.xlsx": samples.workbook({"one": [["x"]], "two": [["name"], ["needle"]]}),
    "d.html": "<h1>Title</h1><p>a <b>nee</b>dle</p><script>needle()</script>",
    "e.docx": samples.word(["needle"])[:900],
}


async def test_text_in_documents_is_found_by_page(place: Place) -> None:
    place.fill(dict(DOCUMENTS))
    answer = await Store.at(place).ask("search_files", query="needle")
    assert [(m["path"], m.get("page")) for m in answer["matches"]] == [
        ("a.pdf", 2), ("b.docx", 1), ("c.xlsx", 2), ("d.html", 1),
    ]  # fmt: skip
    assert answer["skipped"] == {"could not be read": 1}


async def test_an_index_keeps_the_text_of_documents(
    folder: FolderPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.fill(dict(DOCUMENTS))
    scanned = await search(Store.at(folder), "needle")
    async with indexed(folder, tmp_path / "index") as (store, _):
        with monkeypatch.context() as patch:
            patch.setattr(scanning, "document_text", None)
            assert await search(store, "needle") == scanned
        folder.fill({"a.pdf": samples.pdf("another needle")})
        answer = await store.ask("search_files", query="needle", pattern="*.pdf")
        assert [(m["path"], m["page"]) for m in answer["matches"]] == [("a.pdf", 1)]


async def test_a_search_whose_time_is_over_goes_on_where_it_stopped(
    folder: FolderPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST_SECONDS", 0.0)
    store = Store.at(folder)
    store.fill({f"{n}.txt": f"needle {n}\n" for n in range(3)})
    late = await store.ask("search_files", query="needle")
    assert (late["matches"], late["truncated"]) == ([], True)
    monkeypatch.setattr(searching, "MOST_SECONDS", 5.0)
    assert len((await store.ask("search_files", query="needle", cursor=late["next_cursor"]))["matches"]) == 3


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        ({"query": ""}, "`query` has between 1 and"),
        ({"query": "a\nb"}, "`query` is looked for in each line"),
        ({"query": "(", "regex": True}, "`query` is no regular expression"),
        ({"query": "a*", "regex": True}, "`query` matches nothing at all"),
        ({"query": "x", "path": "a.txt"}, "a.txt is a file"),
        ({"query": "x", "cursor": "nonsense"}, "That cursor"),
        ({"query": "x", "path": "../x"}, "Paths have no .."),
    ],
)
async def test_a_search_that_cannot_be_is_refused_in_a_sentence(
    folder: FolderPlace, arguments: dict[str, Any], begin: str
) -> None:
    folder.fill({"a.txt": "x"})
    code, sentence = await Store.at(folder).refused("search_files", **arguments)
    assert (code, sentence[: len(begin)]) == ("invalid_arguments", begin)


@pytest.mark.parametrize(
    "path", ["../outside/secret.txt", "b/../../outside/secret.txt", "/etc/passwd", "hidden.txt", "a.txt"]
)
async def test_a_forged_cursor_leads_nowhere(tmp_path: Path, path: str) -> None:
    place = FolderPlace(tmp_path / "store")
    place.fill({"hidden.txt": "root: secret", "a.txt": "root: secret", "b/c.txt": "root: nothing"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("root: secret")
    caller = Store.at(place).granted("b/**")
    cursor = base64.urlsafe_b64encode(json.dumps([path, 0, 0]).encode()).decode()
    result = await caller.call("search_files", query="root", path="b", cursor=cursor)
    assert "secret" not in result["content"][0]["text"].replace("secret.txt", "")


@pytest.mark.alone
async def test_expressions_that_take_others_for_ever_take_no_time(folder: FolderPlace) -> None:
    folder.fill({"a.txt": "a" * 1_000_000})
    began = time.monotonic()
    assert await search(Store.at(folder), "(a*)*b", regex=True) == []
    assert time.monotonic() - began < 1


async def test_a_line_of_a_gigabyte_is_searched_as_far_as_is_said(folder: FolderPlace) -> None:
    with (folder.root / "huge.txt").open("wb") as file:
        file.write(b"needle " + b"x" * 2_000_000)
        file.seek(70 * 1024 * 1024)
        file.write(b"needle")
    (folder.root / "huge.txt").write_bytes((folder.root / "huge.txt").read_bytes().replace(b"\0", b"y"))
    answer = await Store.at(folder).ask("search_files", query="needle")
    assert found(answer) == ["huge.txt:1"]
    assert answer["skipped"] == {"all but the first 64 MB": 1}
    assert len(answer["matches"][0]["text"]) < 400


@asynccontextmanager
async def indexed(place: Place, folder: Path) -> AsyncGenerator[tuple[Store, Index]]:
    """A store with an index that is complete; it is kept up to date when asked to."""
    setting = msgspec.structs.replace(place.settings, index=True)
    store = Store(place, file_worker({"reports": setting}, str(folder)))
    handle = store.worker._toolbox.sources["reports"].handle  # pyright: ignore[reportPrivateUsage]
    assert handle.index is not None
    await handle.work(lambda stop: handle.index and handle.index.update(handle, None, stop), 60)
    yield store, handle.index


async def refresh(store: Store, touched: set[Names] | None = None) -> None:
    handle = store.worker._toolbox.sources["reports"].handle  # pyright: ignore[reportPrivateUsage]
    await handle.work(lambda stop: handle.index and handle.index.update(handle, touched, stop), 60)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that a search looks into."""
    from isthmus_file_worker.scanning import Scanner

    paths: list[str] = []
    parts = Scanner.parts

    def noted(self: Scanner, file: OpenFile, path: str) -> Any:
        paths.append(path)
        return parts(self, file, path)

    monkeypatch.setattr(Scanner, "parts", noted)
    return paths


async def test_an_index_says_which_files_to_look_into(place: Place, tmp_path: Path, opened: list[str]) -> None:
    place.fill(dict(TREE))
    place.fill({f"many/{n:03}.txt": f"line {n}\nsomething else\n" for n in range(30)})
    async with indexed(place, tmp_path / "index") as (store, _):
        opened.clear()
        answer = await store.ask("search_files", query="needle")
        assert found(answer) == ["a.txt:2", "b/deep/c.md:1", "b/deep/c.md:2", "d.csv:2", "f.txt:4"]
        assert answer["index"] is not None
        assert len(opened) == 4
        opened.clear()
        assert await search(store, r"line 1\d$", regex=True) == [f"many/{n:03}.txt:1" for n in range(10, 20)]
        assert len(opened) == 11
        assert await search(store, "needle", path="many") == []
        caller = store.granted("a.txt", "many/**")
        assert await search(caller, "needle") == ["a.txt:2"]
    assert (tmp_path / "index/index/reports.sqlite").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "index/index").stat().st_mode & 0o777 == 0o700


async def test_an_index_follows_what_comes_changes_and_goes(place: Place, tmp_path: Path) -> None:
    place.fill(dict(TREE))
    async with indexed(place, tmp_path / "index") as (store, index):
        place.fill({"a.txt": "thread\n", "new/g.txt": "thread\n"})
        place.delete("b/deep/c.md")
        assert await search(store, "needle") == ["d.csv:2", "f.txt:4"]
        assert await search(store, "thread") == []
        await refresh(store, {("a.txt",), ("new",), ("b", "deep")})
        assert await search(store, "thread") == ["a.txt:1", "new/g.txt:1"]
        place.fill({"new/h.txt": "thread\n"})
        place.delete("d.csv")
        await refresh(store)
        assert await search(store, "thread") == ["a.txt:1", "new/g.txt:1", "new/h.txt:1"]
        assert await search(store, "needle") == ["f.txt:4"]
        index.path.write_bytes(b"this is no database" * 1000)
        for suffix in ("-wal", "-shm"):
            Path(f"{index.path}{suffix}").unlink(missing_ok=True)
        assert await search(store, "needle") == ["f.txt:4"]
        await refresh(store)
        assert await search(store, "needle") == ["f.txt:4"]


async def test_what_the_store_writes_is_in_the_index_soon(place: Place, tmp_path: Path) -> None:
    async with indexed(place, tmp_path / "index") as (store, index):
        handle = store.worker._toolbox.sources["reports"].handle  # pyright: ignore[reportPrivateUsage]
        following = asyncio.create_task(index.follow(handle))
        await store.ask("write_file", path="new/a.txt", content="needle\n")
        async with asyncio.timeout(10):
            while await search(store, "needle") != ["new/a.txt:1"]:
                await asyncio.sleep(0.02)
        await store.ask("move_file", path="new", to_path="other", recursive=True)
        async with asyncio.timeout(10):
            while await search(store, "needle") != ["other/a.txt:1"]:
                await asyncio.sleep(0.02)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_one_of_two_workers_keeps_an_index(folder: FolderPlace, tmp_path: Path) -> None:
    folder.fill(dict(TREE))
    async with indexed(folder, tmp_path / "index") as (one, _), indexed(folder, tmp_path / "index") as (two, _):
        folder.fill({"x.txt": "thread\n"})
        await asyncio.gather(*(refresh(store) for store in (one, two, one, two)))
        assert await search(one, "thread") == await search(two, "thread") == ["x.txt:1"]


NAMES = st.sampled_from(["a.txt", "b/a.txt", "b/c/d.md", "b-c.txt", "e.csv", "b/z"])
TEXTS = st.text("abAB\n é\"'K\u212a\u017fsS", max_size=40)
QUERIES = st.one_of(
    st.text("abABéK\u212a\u017fs\"' ", min_size=1, max_size=6), st.sampled_from(["a.b", "a+b", "^ab", "abé?"])
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, TEXTS, max_size=6), query=QUERIES, case_sensitive=st.booleans())
async def test_an_index_finds_what_a_scan_and_python_find(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, str], query: str, case_sensitive: bool
) -> None:
    place = FolderPlace(tmp_path_factory.mktemp("store"))
    place.fill({**files})
    regex = any(character in query for character in ".+^?")
    arguments: dict[str, Any] = {"query": query, "regex": regex, "case_sensitive": case_sensitive}
    scanned = await search(Store.at(place), **arguments)
    async with indexed(place, tmp_path_factory.mktemp("index")) as (store, _):
        assert await search(store, **arguments) == scanned
    expected = re.compile(query if regex else re.escape(query), 0 if case_sensitive else re.IGNORECASE)
    assert scanned == [
        f"{path}:{number}"
        for path, text in sorted(files.items())
        for number, line in enumerate(text.split("\n"), 1)
        if expected.search(line)
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_files_are_searched_in_less_than_a_second(tmp_path: Path) -> None:
    import random

    words = [f"{a}{b}{c}" for a in ("ba", "ke", "lo", "mi", "tu") for b in "nrst" for c in ("ane", "ido", "ulo", "ery")]
    chosen = random.Random(7)  # noqa: S311
    root = tmp_path / "store"
    for folder in range(100):
        (root / f"{folder:03}").mkdir(parents=True)
        for number in range(1000):
            text = "\n".join(" ".join(chosen.choices(words, k=10)) for _ in range(30))
            if (folder, number) == (77, 77):
                text += "\nthe rarest needle\n"
            (root / f"{folder:03}/{number:03}.txt").write_text(text)
    scan = Store.over(root)
    began = time.monotonic()
    async with indexed(FolderPlace(root), tmp_path / "index") as (store, index):
        size = index.path.stat().st_size
        print(f"index of 100,000 files made in {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB")
        for arguments in (
            {"query": "rarest"},
            {"query": "banane"},
            {"query": r"rarest\s+needle", "regex": True},
            {"query": "nowhere to be found"},
        ):
            times: list[float] = []
            for one in (store, scan):
                began = time.monotonic()
                answer = await one.ask("search_files", seconds=60, **arguments)
                times.append(time.monotonic() - began)
            more = ", not all" if answer["truncated"] else ""
            print(f"{arguments['query']}: {times[0]:.2f} s by index, {times[1]:.2f} s by scan{more}")
            assert times[0] < 1
