"""Rows as text: short, and never to be misread; and an answer that keeps to its bytes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import TooLarge
from isthmus_db_worker.paging import Page
from isthmus_db_worker.rows import FRAME, Rows, row_text, size
from round_trips import EXAMPLES

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", " ", "null", "NULL", "\\N", "\\t", "a\tb", "a\nb", "\r\n", '"', '"quoted"', "[1]", "{", "a ", "\x00", "\u2028"]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
LISTS = st.lists(DOCUMENTS, max_size=3) | st.dictionaries(TEXTS, DOCUMENTS, max_size=3)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | LISTS


def read(text: str) -> tuple[list[str], list[list[Any]]]:
    """What a reader of the text knows: the header, and rows of values. Numbers and the like stay text."""
    header, *rows = text.split("\n")[:-1]
    return list(map(_name, header.split("\t"))), [list(map(_value, row.split("\t"))) for row in rows]


def _name(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text


def _value(text: str) -> Any:
    return json.loads(text) if text == "null" or text[:1] in ('"', "[", "{") else text


def plain(value: Any) -> Any:
    """A value as far as the text tells: types aside, but for null, texts and lists."""
    scalar = isinstance(value, bool | int | float)
    return msgspec.json.encode(value).decode() if scalar else value


@settings(max_examples=EXAMPLES or 100)
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n), max_size=4)),
    st.lists(TEXTS, min_size=1, max_size=4),
)
def test_rows_can_be_read_back_from_their_text(rows: list[list[Any]], columns: list[str]) -> None:
    header, values = read(Rows(columns=columns, rows=rows).text())
    assert header == columns
    assert values == [[plain(value) for value in row] for row in rows]


def test_most_values_are_as_they_are_and_json_needs_no_more_signs() -> None:
    as_they_are = ["\\N", "C:\\new", 'a "b"', "it's", "5", "x" * 300]
    assert row_text(as_they_are).split("\t") == as_they_are
    quoted = {"": '""', "NULL": '"NULL"', "a\tb\nc": '"a\\tb\\nc"', "ab ": '"ab "', "[1]": '"[1]"'}
    assert row_text(list(quoted)).split("\t") == list(quoted.values())
    assert row_text([None, 5, 1.5, True]) == "null\t5\t1.5\ttrue"
    assert row_text([[["pen", 2], ["in\nk", None]], {"a": "b"}]) == '[["pen",2],["in\\nk",null]]\t{"a":"b"}'


def test_lists_of_related_rows_have_their_names_in_the_header() -> None:
    rows = Rows(
        columns=["id", "lines", "a[b]"],
        rows=[[1, [["pen", [["x"]]]], 2]],
        related={"lines": ["item", "notes"], "lines.notes": ["te,xt"]},
    )
    assert rows.text() == 'id\tlines[item,notes["te,xt"]]\t"a[b]"\n1\t[["pen",[["x"]]]]\t2\n(1 row, all)'


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({}, "(2 rows, all)"),
        ({"count": 2}, "(2 rows of 2, all)"),
        ({"truncated": True, "reason": "limit", "next_cursor": "W10"}, "(2 rows, more follow: cursor W10)"),
        (
            {"truncated": True, "reason": "bytes", "next_cursor": "W10", "count": 9, "estimated": True},
            "(2 rows of about 9, the answer is full, more follow: cursor W10)",
        ),
        (
            {"truncated": True, "reason": "limit"},
            "(2 rows, more follow: narrow the query, or go on with LIMIT and OFFSET)",
        ),
    ],
)
def test_the_last_line_says_whether_that_is_all(options: dict[str, Any], note: str) -> None:
    assert Rows(columns=["n"], rows=[[1], [2]], **options).text().split("\n")[-1] == note


def answered(rows: list[list[Any]], budget: int) -> tuple[Page, dict[int, int]]:
    page = Page(list, 1000, budget + FRAME)
    for row in rows:
        if page.take(row):
            break
    return page, page.weigh()


@settings(max_examples=EXAMPLES or 100)
@given(
    st.lists(st.lists(VALUES | TEXTS.map(lambda text: text * 80), min_size=2, max_size=2), min_size=1, max_size=9),
    st.integers(2500, 9000),
)
def test_an_answer_keeps_to_its_bytes_and_wastes_none(rows: list[list[Any]], budget: int) -> None:
    try:
        page, cut = answered(rows, budget)
    except TooLarge:
        pytest.fail("two values can always be cut")
    shown = page.rows
    assert shown
    assert sum(map(size, shown)) <= budget
    assert shown[1:] == rows[1 : len(shown)]
    assert cut or shown[0] == rows[0]
    assert (page.reason is None) == (len(shown) == len(rows))
    if page.reason is not None and not cut:
        assert sum(map(size, shown)) + size(rows[len(shown)]) > budget


def test_a_value_that_is_too_long_for_an_answer_is_cut_and_that_is_said() -> None:
    page, cut = answered([["short", "é" * 1_000_000, ["x" * 5000]], ["next", "", []]], 20_000)
    (first,) = page.rows
    assert first[0] == "short"
    assert first[1] == "é" * (len(first[1]) - 1) + "…"
    assert 19_000 < size(first) <= 20_000
    assert cut == {1: 1_000_000, 2: 5004}
    assert first[2] == '["' + "x" * (len(first[2]) - 3) + "…"
    assert page.reason == "bytes"
    rows = Rows(columns=["a", "b", "c"], rows=page.rows, shortened={"b": cut[1]})
    note = "(the first row is cut where … ends a value: b has 1,000,000 characters; with fewer columns more fits)"
    assert rows.text().split("\n")[-1] == note


def test_a_row_of_too_many_values_is_refused() -> None:
    with pytest.raises(TooLarge, match="One row alone is larger than an answer may be"):
        answered([[1.5] * 1000], 2000)
