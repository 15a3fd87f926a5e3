"""The form of a tool: whatever can be called can be filled in, and comes back as it was."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_auth.console.schema_fields import Field
from isthmus_auth.console.schema_form import expressible, filled, read, typed

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(["", " ", "\n", "a\nb", "\r", "null", "1"])
NAMES = st.from_regex(r"[a-z_][a-z_0-9]{0,8}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def described(draw: st.DrawFn) -> tuple[dict[str, Any], st.SearchStrategy[Any]]:
    """A schema of a kind that tools have, and what is valid for it."""
    choices = draw(st.lists(TEXTS | st.integers(), min_size=1, max_size=4, unique_by=repr))
    kinds: list[tuple[dict[str, Any], st.SearchStrategy[Any]]] = [
        ({"type": "string"}, TEXTS),
        ({"type": "boolean"}, st.booleans()),
        ({"type": "integer", "minimum": -5}, st.integers()),
        ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)),
        ({"enum": choices}, st.sampled_from(choices)),
        ({"type": "array", "items": {"type": "string"}}, st.lists(TEXTS, max_size=4)),
        ({"type": "array", "items": {"type": "object"}}, st.lists(st.dictionaries(NAMES, JSON), max_size=3)),
        ({"type": "array"}, st.lists(JSON, max_size=3)),
        ({"type": "object"}, st.dictionaries(TEXTS, JSON, max_size=3)),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, TEXTS | st.dictionaries(TEXTS, JSON, max_size=2)),
        ({"$ref": "#/$defs/Thing"}, TEXTS),
        ({}, JSON),
    ]
    schema, values = draw(st.sampled_from(kinds))
    match draw(st.sampled_from(["plain", "nullable", "types"])):
        case "nullable":
            return {"anyOf": [schema, {"type": "null"}], "default": None}, st.none() | values
        case "types" if isinstance(schema.get("type"), str):
            return {**schema, "type": [schema["type"], "null"]}, st.none() | values
        case _:
            return schema, values


@st.composite
def called(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A tool's schema and valid arguments."""
    properties = draw(st.dictionaries(NAMES, described(), max_size=5))
    required = [name for name in properties if draw(st.booleans())]
    given = [name for name in properties if name in required or draw(st.booleans())]
    schema = {
        "type": "object",
        "$defs": {"Thing": {"type": "string"}},
        "properties": {name: one for name, (one, _) in properties.items()},
        "required": required,
    }
    return schema, {name: draw(properties[name][1]) for name in given}


def sent(fields: list[Field]) -> dict[str, str]:
    """What a browser sends: lines end with CRLF in a text area, and there are none in an input."""
    pairs = [(f.key, f.text.replace("\n", "\r\n") if f.long else f.text.replace("\n", "")) for f in fields]
    return dict(parse_qsl(urlencode(pairs), keep_blank_values=True))


@settings(max_examples=60)
@given(called())
def test_a_form_filled_with_valid_arguments_gives_back_just_those(call: tuple[dict[str, Any], dict[str, Any]]) -> None:
    schema, arguments = call
    assert expressible(schema, arguments)
    value, fields = read(typed(schema, sent(filled(schema, arguments))))
    assert value == arguments
    assert [repr(one) for one in value.values()] == [repr(arguments[name]) for name in value]
    assert not [field for field in fields if field.error]


@settings(max_examples=40)
@given(st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(TEXTS, TEXTS, max_size=8))
def test_whatever_a_server_calls_a_schema_makes_a_form(properties: dict[str, Any], form: dict[str, str]) -> None:
    schema: dict[str, Any] = {"properties": properties, "required": properties, "$ref": "#/properties"}
    read(typed(schema, form))
    filled(schema, properties)


def test_what_is_left_out_is_not_sent_and_what_is_missing_is_said() -> None:
    schema: dict[str, Any] = {"properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}, "required": ["a"]}
    value, fields = read(typed(schema, {"t.a": "", "b.b": ""}))
    assert value == {}
    assert [field.error for field in fields] == ["Fill this in.", ""]


@pytest.mark.parametrize(
    ("schema", "key", "text"),
    [
        ({"type": "integer"}, "i.x", "1.5"),
        ({"type": "integer"}, "i.x", "1e3"),
        ({"type": "integer"}, "i.x", "9" * 5000),
        ({"type": "number"}, "n.x", "1,5"),
        ({"type": "number"}, "n.x", "true"),
        ({"type": "boolean"}, "b.x", "perhaps"),
        ({"enum": ["a"]}, "c.x", '"b"'),
        ({"type": "object"}, "j.x", "{"),
        ({"type": "object"}, "j.x", "[" * 9000),
    ],
)
def test_what_cannot_be_meant_is_said_at_its_field(schema: dict[str, Any], key: str, text: str) -> None:
    value, (field,) = read(typed({"properties": {"x": schema}}, {key: text}))
    assert value == {}
    assert field.error
    assert field.text == text


def test_a_reference_that_leads_to_itself_is_written_as_json() -> None:
    schema = {"properties": {"x": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert [field.control for field in filled(schema, {})] == ["json"]
