"""`read_file`: texts of any size and encoding, images and sounds, bytes."""

import asyncio
import base64
import os
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from isthmus.demo import files as demo
from stores import FolderPlace, Place, Store

pytest_plugins = ["store_fixtures"]


@pytest.fixture
def store(place: Place) -> Store:
    place.fill({"a.txt": "one\ntwo\nthree\n", "notes/ü.md": "# Ümläute\n"})
    return Store.at(place)


async def test_a_text_is_read_whole_with_its_facts(store: Store) -> None:
    result = await store.call("read_file", path="a.txt")
    assert result["content"] == [{"type": "text", "text": "one\ntwo\nthree\n"}]
    assert result["structuredContent"] == {
        "path": "a.txt",
        "kind": "text",
        "size": 14,
        "etag": result["structuredContent"]["etag"],
        "modified": result["structuredContent"]["modified"],
        "encoding": "utf-8",
        "content": "one\ntwo\nthree\n",
        "truncated": False,
    }
    modified = datetime.fromisoformat(result["structuredContent"]["modified"])
    assert abs(modified - datetime.now(UTC)) < timedelta(minutes=1)


async def test_a_part_of_a_text_says_how_to_go_on(store: Store) -> None:
    result = await store.call("read_file", path="a.txt", start=2, limit=1)
    assert [part["text"] for part in result["content"]] == [
        "two\n",
        "[Lines 2 to 2; there is more: go on with start=3.]",
    ]
    rest = await store.ask("read_file", path="a.txt", start=3, limit=1)
    assert (rest["content"], rest["truncated"]) == ("three\n", False)


async def test_lines_after_the_end_are_said_not_to_be_there(store: Store) -> None:
    assert await store.refused("read_file", path="a.txt", start=4) == (
        "not_found",
        "a.txt has fewer than 4 lines.",
    )


async def test_a_long_text_comes_in_parts_of_256_kilobytes_that_join_to_the_whole(store: Store) -> None:
    whole = "".join(f"{number}: Überschrift und ein langer Satz dazu\r\n" for number in range(30_000))
    store.fill({"long.txt": whole})
    parts: list[str] = []
    line = 1
    while line:
        part = await store.ask("read_file", path="long.txt", start=line)
        assert len(part["content"].encode()) <= 256 * 1024
        parts.append(part["content"])
        line = part.get("next_start")
    assert len(parts) == 6
    assert "".join(parts) == whole


async def test_a_line_longer_than_an_answer_is_cut_and_said_to_be(store: Store) -> None:
    store.fill({"one-line.json": "x" * 300_000 + "\nnext\n"})
    result = await store.call("read_file", path="one-line.json")
    assert result["structuredContent"]["content"] == "x" * 256 * 1024
    assert result["structuredContent"]["next_start"] == 2
    assert "Line 1 is longer than an answer may be and is cut" in result["content"][1]["text"]
    assert (await store.ask("read_file", path="one-line.json", start=2))["content"] == "next\n"


async def test_another_encoding_is_found_or_told(store: Store) -> None:
    text = "Größere Übersicht über die Geschäfte des Jahres für alle Häuser in Köln und Zürich.\n" * 5
    store.fill({"old.txt": text.encode("cp1252"), "wide.txt": text.encode("utf-16")})
    assert (await store.ask("read_file", path="old.txt"))["content"] == text
    assert (await store.ask("read_file", path="wide.txt"))["content"] == text
    told = await store.ask("read_file", path="old.txt", encoding="windows-1252")
    assert (told["content"], told["encoding"]) == (text, "windows-1252")


async def test_a_wrong_encoding_is_refused(store: Store) -> None:
    store.fill({"old.txt": "Größe".encode("cp1252")})
    assert (await store.refused("read_file", path="old.txt", encoding="utf-8"))[1] == (
        "The file is not valid utf-8; leave out the encoding to have it found."
    )
    for encoding in ("klingon", "hex", "zlib", "idna", "../secret", "undefined"):
        code, _ = await store.refused("read_file", path="old.txt", encoding=encoding)
        assert code == "invalid_arguments"


async def test_bytes_that_do_not_decode_later_on_are_shown_as_such(store: Store) -> None:
    store.fill({"mixed.log": b"fine\n" * 20_000 + b"\xff bad\n"})
    result = await store.call("read_file", path="mixed.log", start=20_001)
    assert result["structuredContent"]["content"] == "\ufffd bad\n"
    assert result["content"][1]["text"] == "[Some bytes are not valid utf-8 and show as \ufffd.]"


async def test_an_empty_file_is_said_to_be_empty(store: Store) -> None:
    store.fill({"empty": ""})
    result = await store.call("read_file", path="empty")
    assert result["content"] == [{"type": "text", "text": "[The file is empty.]"}]
    assert result["structuredContent"]["content"] == ""


def fill_demo(store: Store, folder: Path) -> None:
    demo.create(folder)
    store.fill({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})


async def test_an_image_comes_as_an_image(store: Store, tmp_path: Path) -> None:
    fill_demo(store, tmp_path)
    result = await store.call("read_file", path="reports/revenue-2026.png")
    facts, image = result["content"]
    data = (tmp_path / "reports/revenue-2026.png").read_bytes()
    assert re.fullmatch(rf"reports/revenue-2026.png: \d+ x \d+ pixels, {len(data)} bytes", facts["text"])
    assert image == {"type": "image", "data": base64.b64encode(data).decode(), "mimeType": "image/png"}
    assert result["structuredContent"]["kind"] == "image"
    assert "content" not in result["structuredContent"]


async def test_a_sound_comes_as_a_sound(store: Store) -> None:
    store.fill({"a.mp3": b"ID3\3\0\0\0\0\0\x0f" + b"\0" * 99})
    _, sound = (await store.call("read_file", path="a.mp3"))["content"]
    assert (sound["type"], sound["mimeType"]) == ("audio", "audio/mpeg")


async def test_a_sound_too_large_to_play_is_refused(store: Store) -> None:
    store.fill({"big.mp3": b"ID3\3\0\0\0\0\0\x0f" + bytes(4 * 1024 * 1024)})
    code, sentence = await store.refused("read_file", path="big.mp3")
    assert code == "too_large"
    assert sentence == (
        'big.mp3 is audio/mpeg of 4194314 bytes, and 4194304 can be shown; encoding "base64" gives its bytes in parts.'
    )


async def test_of_an_unknown_binary_there_are_type_size_and_first_bytes(store: Store) -> None:
    data = b"\x8f\x13\0\xff" * 100
    store.fill({"a.bin": data})
    result = await store.call("read_file", path="a.bin")
    assert result["content"][0]["text"] == (
        f"a.bin is no text but a binary file of 400 bytes; it begins with {data[:64].hex(' ')}. "
        'encoding "base64" gives its bytes.'
    )
    assert result["structuredContent"] | {"modified": "", "etag": ""} == {
        "path": "a.bin",
        "kind": "binary",
        "size": 400,
        "modified": "",
        "etag": "",
        "media_type": "application/octet-stream",
        "content": data[:64].hex(" "),
        "truncated": True,
    }


async def test_a_line_of_any_length_is_gone_through_by_bytes(folder: FolderPlace) -> None:
    store = Store.at(folder)
    text = "äöü€𝄞x" * 60_000
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        store.fill({"line.txt": text.encode(encoding)})
        parts = [(await store.ask("read_file", path="line.txt"))]
        assert len(parts[0]["content"].encode()) <= 256 * 1024
        while "next_offset" in parts[-1]:
            parts.append(await store.ask("read_file", path="line.txt", offset=parts[-1]["next_offset"]))
            assert 0 < len(parts[-1]["content"].encode()) <= 256 * 1024
        assert "".join(part["content"] for part in parts) == text
    amid = await store.call("read_file", path="line.txt", encoding="base64", offset=1, limit=2)
    assert amid["content"][1]["text"] == f"[Bytes 1 to 3 of {len(text) * 4 + 4}; go on with offset=3.]"


async def test_a_gigabyte_in_one_line_is_read_by_bytes_at_once(folder: FolderPlace) -> None:
    store = Store.at(folder)
    with (folder.root / "line.txt").open("wb") as file:
        file.write(b"x" * 100_000)
        file.truncate(2**30)
        file.seek(2**30)
        file.write("ü!".encode())
    end = await store.call("read_file", path="line.txt", encoding="utf-8", offset=2**30 + 1)
    assert end["structuredContent"]["content"] == "!"
    result = await store.call("read_file", path="line.txt", encoding="utf-8")
    assert result["structuredContent"]["next_offset"] == 256 * 1024
    assert "Line 1 is longer than an answer may be and is cut; offset=262144 goes on in it" in str(result["content"])


async def test_lines_and_bytes_are_not_counted_together(store: Store) -> None:
    code, sentence = await store.refused("read_file", path="a.txt", start=2, offset=3)
    assert (code, sentence) == (
        "invalid_arguments",
        "`offset` counts bytes and `start` lines, rows or pages; use one of them.",
    )


async def test_the_bytes_of_any_file_come_as_base64_in_parts(store: Store) -> None:
    data = os.urandom(500_000)
    store.fill({"a.bin": data})
    parts: list[bytes] = []
    offset: int | None = 0
    while offset is not None:
        part = await store.ask("read_file", path="a.bin", encoding="base64", offset=offset)
        assert len(part["content"]) <= 256 * 1024
        parts.append(base64.b64decode(part["content"]))
        offset = part.get("next_offset")
    assert b"".join(parts) == data
    assert (await store.ask("read_file", path="a.bin", encoding="base64", offset=10**9))["content"] == ""


async def test_a_folder_is_no_file(store: Store) -> None:
    assert (await store.refused("read_file", path="notes"))[1] == "notes is a folder; use list_files."
    assert (await store.refused("read_file", path=""))[1] == "The root is a folder; use list_files."


async def test_a_misspelled_path_gets_the_near_ones(store: Store) -> None:
    assert await store.refused("read_file", path="notes/u.md") == (
        "not_found",
        "There is no notes/u.md. Did you mean notes/ü.md?",
    )


async def test_a_deadline_stops_the_reading_of_a_long_file(folder: FolderPlace) -> None:
    store = Store.at(folder)
    with (folder.root / "huge.log").open("wb") as file:
        file.truncate(2_000_000_000)
    began = time.monotonic()
    result = await store.call("read_file", seconds=0.1, path="huge.log", encoding="utf-8", start=2)
    assert result["_meta"] == {"isthmus/error": "deadline_exceeded"}
    assert time.monotonic() - began < 2


async def test_many_files_are_read_at_a_time(store: Store) -> None:
    answers = await asyncio.gather(*(store.ask("read_file", path="a.txt") for _ in range(100)))
    assert all(answer["content"] == "one\ntwo\nthree\n" for answer in answers)
