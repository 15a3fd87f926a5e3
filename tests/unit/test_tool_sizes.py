"""What a model reads before it does anything: every tool described, in few bytes, the same each time."""

import re

import mcp_types as types
import pytest

from tool_table import PAGE, listed, page, size

KB = 1024


@pytest.fixture(scope="module")
def tools() -> list[types.Tool]:
    return listed(2, "read-write")


@pytest.mark.parametrize("access", ["read-only", "read-write"])
@pytest.mark.parametrize(("databases", "most"), [(2, 21 * KB), (100, 24 * KB)])
def test_the_list_of_tools_is_short(databases: int, most: int, access: str) -> None:
    assert size(listed(databases, access)) < most


def test_a_hundred_databases_are_not_named_in_every_tool() -> None:
    for tool in listed(100, "read-write"):
        if "database" in tool.input_schema["properties"]:
            database = tool.input_schema["properties"]["database"]
            assert "enum" not in database
            assert "list_sources" in database["description"]


def test_the_list_is_the_same_each_time(tools: list[types.Tool]) -> None:
    names = [tool.name for tool in tools]
    assert names == sorted(names)
    assert [tool.model_dump_json() for tool in tools] == [tool.model_dump_json() for tool in listed(2, "read-write")]


def test_every_tool_and_argument_is_described_in_plain_sentences(tools: list[types.Tool]) -> None:
    for tool in tools:
        assert tool.description
        assert re.fullmatch(r"[A-Z].*\.", tool.description), tool.name
        for name, schema in tool.input_schema["properties"].items():
            text = schema.get("description", "")
            assert "enum" in schema or re.fullmatch(r"[A-Z`].*\.", text), (tool.name, name)
            assert text.isascii(), (tool.name, name)


def test_one_word_means_one_thing(tools: list[types.Tool]) -> None:
    """An argument that says the same in two tools says it with the same words."""
    for name in ("cursor", "ids"):
        texts = {tool.input_schema["properties"].get(name, {}).get("description") for tool in tools} - {None}
        assert len(texts) == 1, texts


def test_no_argument_is_offered_as_null_and_no_answer_is_described(tools: list[types.Tool]) -> None:
    for tool in tools:
        assert "'null'" not in str(tool.input_schema)
        assert "'description': '" not in str(tool.output_schema)


def test_the_table_in_the_documentation_is_true() -> None:
    assert PAGE.read_text() == page(), "run `make tools-table`"
