"""JSON Schemas from Structs, as models read them."""

from typing import Annotated, Literal

import msgspec

from isthmus.definitions import digest
from isthmus.schemas import answer_schema, arguments_schema, object_schema


class Column(msgspec.Struct):
    """One column."""

    name: str
    """What it is called."""


class Table(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One table."""

    title: str
    """A field that is itself
    called title."""
    all_columns: list[Column] = []
    """Its columns."""
    at_most: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5


class Wider(Table):
    """A table with more."""

    parent: Column | None = None
    """Where it came from."""


def test_the_root_is_an_object_with_documented_fields() -> None:
    schema = object_schema(Table)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["title"]
    assert schema["properties"]["title"] == {"type": "string", "description": "A field that is itself called title."}
    assert schema["properties"]["allColumns"]["description"] == "Its columns."
    assert schema["properties"]["atMost"] == {"type": "integer", "minimum": 1, "maximum": 10, "default": 5}


def test_structs_within_are_documented_too_and_have_no_titles() -> None:
    schema = object_schema(Table)
    assert schema["$defs"]["Column"]["properties"]["name"] == {"type": "string", "description": "What it is called."}
    assert "title" not in schema
    assert "title" not in schema["$defs"]["Column"]


def test_inherited_fields_keep_their_documentation() -> None:
    properties = object_schema(Wider)["properties"]
    assert properties["allColumns"]["description"] == "Its columns."
    assert properties["parent"]["description"] == "Where it came from."


def test_arguments_may_be_left_out_but_are_not_offered_as_null_or_empty() -> None:
    schema = arguments_schema(Wider)
    column = {
        "type": "object",
        "properties": {"name": {"type": "string", "description": "What it is called."}},
        "required": ["name"],
    }
    assert "additionalProperties" not in schema
    assert schema["properties"]["parent"] == {**column, "description": "Where it came from."}
    assert schema["properties"]["allColumns"] == {"type": "array", "items": column, "description": "Its columns."}
    assert schema["properties"]["atMost"]["default"] == 5
    assert schema["properties"]["atMost"]["maximum"] == 10
    assert "minimum" not in schema["properties"]["atMost"]
    assert "$defs" not in schema


def test_what_has_no_words_of_its_own_within_arguments_is_left_to_the_example() -> None:
    class Point(msgspec.Struct):
        x: int
        y: int = 0

    class Arguments(msgspec.Struct):
        points: list[str | Point]
        """Such as `[{"x": 1}]`."""

    (points,) = arguments_schema(Arguments)["properties"].values()
    assert points["items"] == {"anyOf": [{"type": "string"}, {"type": "object"}]}


def test_an_answer_is_described_to_programs_alone() -> None:
    class Answer(msgspec.Struct):
        description: str
        """A field that is itself called description."""
        column: Column
        size: int | None = None
        """In bytes."""
        kind: Literal["a", "b"] = "a"
        columns: list[Column] = []
        count: int | msgspec.UnsetType = msgspec.UNSET
        """Where it is asked for."""

    assert answer_schema(Answer) == {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "column": {"type": "object"},
            "kind": {"type": "string"},
            "columns": {"type": "array"},
        },
    }


def test_a_digest_names_bytes() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
    assert len(digest(b"a")) == 32
