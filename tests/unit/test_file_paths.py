"""Paths of file stores: one spelling, and no way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import InvalidArguments
from isthmus_file_worker import paths

SEGMENTS = st.sampled_from(["..", ".", "", "a", "b.txt", "ü", "C:", "\\", "\0", "\n", ".isthmus", "x" * 300, "…", " "])


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", ()),
        (".", ()),
        ("a", ("a",)),
        ("a/", ("a",)),
        ("a/b.txt", ("a", "b.txt")),
        ("Übersicht für März/ä ö.csv", ("Übersicht für März", "ä ö.csv")),
        ("...", ("...",)),
        ("a/12:30 notes.txt", ("a", "12:30 notes.txt")),
        (".hidden", (".hidden",)),
    ],
)
def test_a_path_is_the_names_on_the_way(path: str, names: tuple[str, ...]) -> None:
    assert paths.parse(path) == names


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/", "leave out the slash at the beginning"),
        ("/etc/passwd", "leave out the slash at the beginning"),
        ("//host/share", "leave out the slash at the beginning"),
        ("C:", "drive letter"),
        ("c:/windows", "drive letter"),
        ("C:notes", "drive letter"),
        ("a\\b", "backslash"),
        ("..\\a", "backslash"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\x7f", "control characters"),
        ("a\x85b", "control characters"),
        ("..", "no .. in them"),
        ("../a", "no .. in them"),
        ("a/../b", "no .. in them"),
        ("a/..", "no .. in them"),
        ("a//b", "one name between two slashes"),
        ("a//", "one name between two slashes"),
        ("./a", "one name between two slashes"),
        ("a/./b", "one name between two slashes"),
        ("x" * 256, "at most 255 bytes"),
        ("ü" * 128, "at most 255 bytes"),
        ("/".join(["x" * 200] * 21), "at most 4096 bytes"),
        ("/".join(["x"] * 101), "100 names"),
        (".isthmus/connection.json", "kept for Isthmus itself"),
        ("a/.ISTHMUS-1", "kept for Isthmus itself"),
    ],
)
def test_a_path_that_could_mean_another_place_is_refused_in_one_sentence(path: str, sentence: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        paths.parse(path)
    assert sentence in caught.value.message
    assert caught.value.message.endswith(".")


@given(st.lists(SEGMENTS, max_size=6).map("/".join) | st.text(max_size=50))
def test_what_is_accepted_consists_of_plain_names_only(path: str) -> None:
    try:
        names = paths.parse(path)
    except InvalidArguments:
        return
    assert paths.show(names) == ("" if path == "." else path.removesuffix("/"))
    for name in names:
        assert name not in ("", ".", "..")
        assert not set("/\\\0\n") & set(name)
        assert len(name.encode()) <= 255
        assert paths.can_be_named(name)


@given(st.text(min_size=1, max_size=30).filter(lambda name: "/" not in name))
def test_a_name_that_is_listed_can_be_asked_for(name: str) -> None:
    if paths.can_be_named(name) and name not in (".", "..") and len(name.encode()) < 256:
        assert paths.parse(f"folder/{name}") == ("folder", name)
