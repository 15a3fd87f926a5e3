"""What a search finds in a text: lines, their numbers, what is around them, and what an index may leave out."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InvalidArguments
from isthmus_file_worker import matching
from isthmus_file_worker.matching import Pattern, literals, shown

LINES = st.lists(st.text("abAB \t.é\u2028", max_size=6), max_size=12)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


@given(LINES, st.sampled_from(["a", "ab", "B", "é", "a."]), st.booleans(), st.booleans(), st.lists(st.integers(0, 99)))
def test_the_lines_are_those_that_python_finds(
    lines: list[str], query: str, regex: bool, case_sensitive: bool, cuts: list[int]
) -> None:
    pattern = Pattern(query, regex=regex, case_sensitive=case_sensitive)
    expected = re.compile(query if regex else re.escape(query), 0 if case_sensitive else re.IGNORECASE)
    for end in ("\n", "\r\n"):
        data = end.join(lines).encode()
        found = list(pattern.lines(in_pieces(data, cuts), 0))
        assert [(line.number, line.text) for line in found] == [
            (number, line) for number, line in enumerate(lines, 1) if expected.search(line)
        ]


@given(LINES, st.integers(1, 4), st.lists(st.integers(0, 99)))
def test_what_is_around_a_line_is_shown_with_it(lines: list[str], context: int, cuts: list[int]) -> None:
    found = list(
        Pattern("ab", regex=False, case_sensitive=True).lines(in_pieces("\n".join(lines).encode(), cuts), context)
    )
    assert [line.number for line in found] == [number for number, line in enumerate(lines, 1) if "ab" in line]
    whole = lines[:-1] if lines and not lines[-1] else lines  # nothing after the last line end is no line
    for line in found:
        place = line.number - 1
        assert line.before == whole[max(place - context, 0) : place]
        assert line.after == whole[place + 1 : place + 1 + context]


@pytest.mark.parametrize(
    ("query", "text", "numbers"),
    [
        ("^b", "a\nb\nab\n", [2]),
        ("a$", "a\nb\nba\r\n", [1, 3]),
        (r"\Aab", "x\nab\n", [2]),
        (r"b\z", "ab\nba\n", [1]),
        ("[^x]y", "a\ny\nay\n", [3]),
        ("a(?i)B", "ab\naB\nAB\n", [1, 2]),
        ("(?s)a.b", "a\nb\na b", [3]),
        ("", "", None),
        ("a*", "", None),
        ("(a", "", None),
        ("(?<=a)b", "", None),
        (r"(a)\1", "", None),
        ("a{1001}", "", None),
    ],
)
def test_expressions_are_matched_line_by_line(query: str, text: str, numbers: list[int] | None) -> None:
    if numbers is None:
        with pytest.raises(InvalidArguments):
            Pattern(query, regex=True, case_sensitive=True)
        return
    pattern = Pattern(query, regex=True, case_sensitive=True)
    assert [line.number for line in pattern.lines([text.encode()], 0)] == numbers


@pytest.mark.parametrize("context", [0, 2])
def test_a_line_longer_than_memory_is_searched_in_pieces(context: int) -> None:
    size = matching.LONGEST_LINE

    def chunks() -> "list[bytes]":
        seam = b"x" * (size - 3) + b"nee"
        return [b"first\n", seam, b"dle" + b"y" * size, b"z" * size, b"needle\nneedle last\n"]

    found = list(Pattern("needle", regex=False, case_sensitive=True).lines(chunks(), context))
    assert [line.number for line in found] == [2, 3]
    assert "needle" in found[0].text
    assert len(found[0].text) <= matching.SHOWN + 2
    assert found[1].text == "needle last"


@given(st.text("aé漢", min_size=1, max_size=2000), st.integers(0, 3000))
def test_a_long_line_is_cut_around_what_was_found(text: str, place: int) -> None:
    line = text.encode()
    text = shown(line, min(place, len(line) - 1))
    assert len(text) <= matching.SHOWN + 2
    if len(line) <= matching.SHOWN:
        assert text.encode() == line


PARTS = st.sampled_from(
    ["abc", "abcd", "a", "é", "x?", "b*", "c+", "d{2}", "e{0,1}", ".", r"\.", r"\d", r"\w+", "[abc]", "[^abc]+", "^",
     "$",
    "(abc)", "(abc)?", "(ab|cd)", r"\b", "abc?", "abc{0}", r"\\", "[]a]", r"[\]a]", r"\x41", "-", "{", "}", "]"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(PARTS, min_size=1, max_size=5), st.data())
def test_every_match_has_all_the_texts_that_an_index_looks_up(parts: list[str], data: st.DataObject) -> None:
    query = "".join(parts)
    try:
        expression = re.compile(query)
        Pattern(query, regex=True, case_sensitive=True)
    except (re.error, InvalidArguments):
        return
    try:
        text = data.draw(st.from_regex(expression, alphabet=st.characters(codec="ascii")))
    except Exception:  # not every expression can be turned round
        return
    if Pattern(query, regex=True, case_sensitive=True).matches(text):
        for literal in literals(query):
            assert literal in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("needle", ["needle"]),
        ("(?i)needle", ["needle"]),
        (r"error: \d+ of file\.txt", ["error: ", " of file.txt"]),
        ("colou?r", ["colo"]),
        ("abc|def", []),
        ("(abc)+def", ["def"]),
        ("ab+cde", ["cde"]),
        ("[abc]def", ["def"]),
        ("ab", []),
    ],
)
def test_the_texts_that_an_index_looks_up(query: str, found: list[str]) -> None:
    assert literals(query) == found
