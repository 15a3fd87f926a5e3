"""What tools answer, made ready for a page: anything at all, bounded, as it is."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_auth.console.tool_results import LONGEST, MOST_ROWS, about_tokens, shown
from isthmus_auth.gateway_client import GatewayError

TEXTS = st.text(st.characters(codec="utf-8"), max_size=10)
NAMES = st.sampled_from(["type", "text", "data", "mimeType", "uri", "resource", "columns", "rows", "name"]) | TEXTS
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["text", "image", "audio", "resource", "resource_link", "image/png", "AA=="]) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
FIELDS = ["content", "structuredContent", "isError", "inputRequests", "requestState", "resultType", "_meta"]


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON)
def test_whatever_a_worker_answers_is_shown_or_refused(result: Any) -> None:
    body = msgspec.json.encode(result)
    try:
        answer = shown(body, 0.1)
    except GatewayError:
        return
    assert answer.size == len(body)


@pytest.mark.parametrize(
    ("structured", "tables"),
    [
        ({"columns": ["a", "a"], "rows": [[1, "x"], [None, [2]]]}, [(["a", "a"], [["1", "x"], ["null", "[2]"]])]),
        ({"things": [{"a": 1}, {"b": "y"}], "more": True}, [(["a", "b"], [["1", ""], ["", "y"]])]),
        ({"columns": ["a"], "rows": "none"}, []),
        ({"things": []}, []),
    ],
)
def test_rows_and_lists_of_objects_are_tables(structured: Any, tables: Any) -> None:
    answer = shown(msgspec.json.encode({"content": [], "structuredContent": structured}), 0.1)
    assert [(table.columns, table.rows) for table in answer.tables] == tables


def test_what_is_not_shown_is_counted() -> None:
    content = [{"type": "text", "text": "x" * (LONGEST + 7)}]
    body = {"content": content, "structuredContent": {"columns": ["a"], "rows": [[n] for n in range(MOST_ROWS + 3)]}}
    answer = shown(msgspec.json.encode(body), 0.1)
    assert answer.parts[0].cut == 7
    assert answer.tables[0].more == 3


@pytest.mark.parametrize("source", ["javascript:alert(1)", 'AAAA" onerror="x', "data:,x"])
def test_only_base64_of_known_media_becomes_an_address(source: str) -> None:
    for kind, media_type in (("image", "image/png"), ("image", "text/html"), ("audio", "audio/wav;x")):
        block = {"type": kind, "mimeType": media_type, "data": source}
        (part,) = shown(msgspec.json.encode({"content": [block]}), 0.1).parts
        assert part.kind == "other"
        assert not part.source


def test_tokens_are_about_as_many_as_a_tokenizer_makes() -> None:
    counted = {  # by o200k_base
        "id\tname\tcity\n1\tAda Lovelace\tLondon\n2\tGrace Hopper\tNew York\n": 21,
        json.dumps({"orders": [{"id": 1017, "total": "129.50", "status": "paid"}] * 3}): 67,
        "An invoice is issued on the day of shipping and is due after 30 days.": 17,
    }
    for text, tokens in counted.items():
        assert about_tokens(text) == pytest.approx(tokens, rel=0.1), text
    assert about_tokens("word " * 10**6) == pytest.approx(10**6, rel=0.1)
