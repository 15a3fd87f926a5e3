"""Files and folders as resources, paths as they are typed, the prompt, and who is told of changes."""

import base64
import json
import time
from pathlib import Path

import pytest

from isthmus.errors import InvalidArguments, NotFound, TooLarge, ToolError
from isthmus_file_worker.contents import BYTES_BUDGET
from isthmus_file_worker.resources import LISTED, text_type
from isthmus_file_worker.text import BUDGET
from stores import Place, Store

pytest_plugins = ["store_fixtures"]

GERMAN = "Größere Übersicht; Geschäfte des Jahres; für alle Häuser: Köln, Düsseldorf, Zürich\n" * 4
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


async def test_a_file_is_text_with_its_type_or_bytes_with_theirs(place: Place) -> None:
    store = Store.at(place)
    store.fill(
        {
            "notes/a.md": "# Grüße",
            "b.csv": GERMAN.encode("cp1252"),
            "c.json": "{}",
            "plain": "x",
            "d.png": PNG,
            "e.pdf": b"%PDF-1.4",
            "f.bin": b"\x8f\x13\0\xff",
        }
    )
    uri = "store://reports/"
    assert await store.read("notes/a.md") == {
        "uri": f"{uri}notes/a.md", "mimeType": "text/markdown", "text": "# Grüße",
    }  # fmt: skip
    assert await store.read("b.csv") == {"uri": f"{uri}b.csv", "mimeType": "text/csv", "text": GERMAN}
    assert (await store.read("c.json"))["mimeType"] == "application/json"
    assert (await store.read("plain"))["mimeType"] == "text/plain"
    for name, media_type in (
        ("d.png", "image/png"),
        ("e.pdf", "application/pdf"),
        ("f.bin", "application/octet-stream"),
    ):
        contents = await store.read(name)
        assert (contents["uri"], contents["mimeType"]) == (uri + name, media_type)
        assert base64.b64decode(contents["blob"]) == place.tree()[name]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.html", "text/html"),
        ("a.yaml", "application/yaml"),
        ("a.ts", "text/plain"),
        ("a.mp4", "text/plain"),
        ("a.csv.gz", "text/plain"),
        ("README", "text/plain"),
        ("a.svg", "image/svg+xml"),
    ],
)
def test_a_text_has_a_type_of_texts_whatever_it_is_called(name: str, media_type: str) -> None:
    assert text_type(name) == media_type


async def test_of_a_long_text_there_is_the_beginning_and_how_to_go_on(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    lines = [f"line {number}\n" for number in range(1, 60_001)]
    store.fill({"long.txt": "".join(lines), "wide.txt": "x" * (BUDGET + 1), "fits.txt": "y" * BUDGET})
    text, _, note = (await store.read("long.txt"))["text"].rpartition("[")
    count = text.count("\n")
    assert text == "".join(lines[:count])
    assert len(text.encode()) <= BUDGET
    assert note.endswith(f"read_file goes on with start={count + 1}.]")
    assert (await store.ask("read_file", path="long.txt", start=count + 1))["content"].startswith(lines[count])
    wide = (await store.read("wide.txt"))["text"]
    assert wide.endswith("\n[The first line is cut here; read_file with `offset` goes on in it.]")
    assert (await store.read("fits.txt"))["text"] == "y" * BUDGET


async def test_bytes_that_are_too_many_for_a_resource_are_left_to_read_file(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    store.fill({"big.bin": b"\x8f\x13\0\xff" * BYTES_BUDGET, "fits.bin": b"\x8f\0" * (BYTES_BUDGET // 2)})
    with pytest.raises(TooLarge, match=r"big\.bin is .* read_file with encoding \"base64\" reads it in parts\.$"):
        await store.read("big.bin")
    assert len(base64.b64decode((await store.read("fits.bin"))["blob"])) == BYTES_BUDGET


async def test_a_folder_is_its_list_with_or_without_a_slash(place: Place) -> None:
    store = Store.at(place)
    store.fill({"a/b.txt": "12", "a/c/d.txt": "x", "top.txt": "y"})
    for path in ("a", "a/"):
        contents = await store.read(path)
        assert (contents["uri"], contents["mimeType"]) == ("store://reports/a/", "text/plain")
        first, *rest = contents["text"].splitlines()
        assert first.startswith("a/b.txt\t2\t20")
        assert rest == ["a/c/"]
    (top,) = (await store.request("resources/read", "files", store="reports"))["contents"]
    assert top["uri"] == "store://reports"
    assert top["text"].splitlines()[0] == "a/"
    assert (await store.read(""))["uri"] == "store://reports"


async def test_a_long_list_says_how_to_go_on(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    store.fill({f"many/{number:04}": "" for number in range(LISTED + 1)})
    *_, note = (await store.read("many"))["text"].splitlines()
    arguments = json.loads(note.removeprefix("There is more: list_files goes on with ").removesuffix("."))
    assert await store.listed(**arguments) == [f"many/{LISTED:04}"]


async def test_what_may_not_be_read_is_in_no_resource_and_no_completion(place: Place) -> None:
    everything = Store.at(place)
    everything.fill({"public/a.txt": "a", "public/deep/b.txt": "b", "secret/c.txt": "c", "top.txt": "t"})
    store = everything.granted("public/**")
    assert (await store.read(""))["text"] == "public/"
    assert (await store.read("public/a.txt"))["text"] == "a"
    for path in ("secret/c.txt", "secret", "secret/", "top.txt", "nothing.txt"):
        with pytest.raises(NotFound) as caught:
            await store.read(path)
        assert caught.value.message == f"There is no {path.removesuffix('/')}." + (
            "" if path.startswith("secret/c") else " There is only public."
        )
    assert await store.completed("") == ["public/"]
    assert await store.completed("s") == await store.completed("secret/") == await store.completed("top.txt") == []
    assert await store.completed("public/") == ["public/a.txt", "public/deep/"]
    with pytest.raises(NotFound):
        await store.request("prompts/get", "summarize_folder", path="secret")


@pytest.mark.parametrize(
    "path", ["../out.txt", "a/../../out.txt", "/etc/passwd", "a//b", "link", "link/x", ".isthmus/x"]
)
async def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    (tmp_path / "out.txt").write_text("out")
    store = Store.over(tmp_path / "store")
    store.fill({"a/b.txt": "b"})
    (store.root / "link").symlink_to(tmp_path)
    with pytest.raises(ToolError) as caught:
        await store.read(path)
    assert isinstance(caught.value, NotFound | InvalidArguments)
    assert str(tmp_path) not in caught.value.message
    assert await store.completed(path) == []


async def test_paths_are_completed_folder_by_folder(place: Place) -> None:
    store = Store.at(place)
    store.fill({"a.txt": "", "ab/c.txt": "", "ab/d/e.txt": "", "ab c/f": "", "b": "", "ab.txt": ""})
    assert await store.completed("") == ["a.txt", "ab c/", "ab.txt", "ab/", "b"]
    assert await store.completed("a") == ["a.txt", "ab c/", "ab.txt", "ab/"]
    assert await store.completed("ab") == ["ab c/", "ab.txt", "ab/"]
    assert await store.completed("ab/") == ["ab/c.txt", "ab/d/"]
    assert await store.completed("ab/d") == ["ab/d/"]
    assert await store.completed("ab/c.txt") == ["ab/c.txt"]
    assert await store.completed("A") == await store.completed("ab/x") == await store.completed("a.txt/") == []


@pytest.mark.alone
async def test_of_a_folder_with_very_many_files_a_hundred_are_proposed_at_once(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    (tmp_path / "many").mkdir()
    for number in range(20_000):
        (tmp_path / "many" / f"{number:05}").touch()
    began = time.monotonic()
    result = (await store.request("completion/complete", "path", value="many/1"))["completion"]
    assert time.monotonic() - began < 2
    assert (result["values"][0], len(result["values"]), result["hasMore"]) == ("many/10000", 100, True)


async def test_the_prompt_has_the_list_and_names_tools_that_there_are(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    store.fill({'odd "name"\u2009/a.txt': "x"})
    plan, attached = (await store.request("prompts/get", "summarize_folder", path='odd "name"\u2009'))["messages"]
    assert '{"store":"reports","path":"odd \\"name\\"\u2009"}' in plan["content"]["text"]
    assert attached["content"]["resource"]["text"].startswith('odd "name"\u2009/a.txt\t1\t')
    for tool in ("list_files", "read_file"):
        assert tool in plan["content"]["text"]
        assert tool in store.worker._toolbox.tools  # pyright: ignore[reportPrivateUsage]


async def test_followers_are_told_what_came_what_changed_and_what_went(place: Place) -> None:
    store = Store.at(place)
    top = "store://reports"

    async def told(tool: str, **arguments: object) -> set[str]:
        return set(await store.told(tool, **arguments))

    path = "a (1)/b #2?.txt"
    uri = f"{top}/a%20(1)/b%20%232%3F.txt"
    assert await told("write_file", path=path, content="1") == {uri, f"{top}/a%20(1)/", top}
    assert await told("write_file", path=path, content="2", mode="overwrite") == {uri, f"{top}/a%20(1)/"}
    assert (await store.read(path))["uri"] == uri
    assert await told("delete_file", path=path) >= {uri, f"{top}/a%20(1)/", top}
    store.fill({"c/d/e.txt": ""})
    assert await told("delete_file", path="c", recursive=True) >= {
        f"{top}/c/d/e.txt", f"{top}/c/d/", f"{top}/c/", top,
    }  # fmt: skip


async def test_a_folder_that_was_there_and_a_write_that_fails_are_no_news(tmp_path: Path) -> None:
    store = Store.over(tmp_path)
    assert set(await store.told("create_folder", path="a/b")) == {
        "store://reports/a/b/", "store://reports/a/", "store://reports",
    }  # fmt: skip
    assert await store.told("create_folder", path="a/b") == []
