"""Globs over paths: what they match, and that no glob takes long."""

import time

import pytest

from isthmus.errors import InvalidArguments
from isthmus_file_worker.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "deep/er/a.csv", True),
        ("*.csv", "a.csv.bak", False),
        ("a?.txt", "ab.txt", True),
        ("[ab].txt", "b.txt", True),
        ("2026/*.csv", "2026/a.csv", True),
        ("2026/*.csv", "2026/q1/a.csv", False),
        ("2026/**/*.csv", "2026/a.csv", True),
        ("2026/**/*.csv", "2026/q1/q2/a.csv", True),
        ("**/q1/*", "2026/q1/a.csv", True),
        ("**/q1/**/x/*", "q1/a/x/b/x/c", True),
        ("**/a/**/b", "a/c/b/d", False),
        ("**", "a/b/c", True),
        ("a.csv", "aXcsv", False),
    ],
)
def test_stars_stay_in_a_name_and_two_stars_cross_folders(pattern: str, path: str, fits: bool) -> None:
    assert Glob(pattern).matches(path.split("/")) is fits


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("*a" * 120 + "b", ["a" * 255]), ("**/a/" * 60 + "b", ["a"] * 100), ("a*" * 120 + "b", ["a" * 255])],
)
def test_a_glob_made_to_take_for_ever_takes_milliseconds(pattern: str, names: list[str]) -> None:
    began = time.process_time()
    assert Glob(pattern).matches(names) is False
    assert time.process_time() - began < 0.5


def test_a_glob_has_a_bound() -> None:
    with pytest.raises(InvalidArguments, match="at most 1024 characters"):
        Glob("*" * 1025)
