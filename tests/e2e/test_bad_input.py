"""Whatever a model sends, it gets one sentence that it can act on, and nothing of the inside of the house."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client
from mcp_types import TextContent

from stack import SECRET, Person, Stack, Storage

Case = tuple[str, str, dict[str, Any], str]
"""What it is, tool, arguments, and what the sentence must contain."""


def query(what: str, cure: str, table: str = "orders", **arguments: Any) -> Case:
    return what, "query_table", {"database": "shop", "table": table, **arguments}, cure


def read(what: str, path: str, cure: str, **arguments: Any) -> Case:
    return what, "read_file", {"path": path, **arguments}, cure


def create(what: str, cure: str, database: str, table: str, record: dict[str, Any]) -> Case:
    return what, "create_records", {"database": database, "table": table, "records": [record]}, cure


CASES: list[Case] = [
    ("an unknown tool", "query_tabel", {}, "query_table"),
    query("an unknown source", "shop", database="shoop"),
    ("no source where there are several", "query_table", {"table": "orders"}, "`database`"),
    query("a filter that ends too early", "filter", filter="id >"),
    query("a filter with a statement in it", "filter", filter="id = 1; drop table orders"),
    query("a filter with a subquery", "filter", filter="id in (select 1)"),
    query("a filter that is too long", "filter", filter="id = 1 or " * 2000 + "id = 1"),
    query("an unknown column", "country", "customers", columns=["contry"]),
    query("an unknown column in a filter", "country", "customers", filter="contry = 'AT'"),
    query("an unknown table", "customers", "custmers"),
    query("a wrong type", "`limit`", limit="many"),
    query("a limit out of range", "1000", limit=100_000),
    query("a cursor of somebody else", "cursor", cursor="abc"),
    query("a slow query", "narrow", "endless", database="slow"),
    query("a database that is down", "try again", database="down"),
    create("a value of a wrong type", "customer_id", "shop", "orders", {"customer_id": "nobody"}),
    create("a write to a read-only source", "shop", "slow", "endless", {}),
    ("a change of everything", "delete_records", {"database": "shop", "table": "orders"}, "filter"),
    read("a path with ..", "../slow.db", ".."),
    read("an absolute path", "/etc/passwd", "leave out the slash"),
    read("a path through a link", "out/passwd", "out"),
    read("a path with NUL", "hello.txt\0.png", "control characters"),
    read("a path with a backslash", "..\\slow.db", "backslash"),
    read("a binary file as text", "program.bin", "not valid utf-8", encoding="utf-8"),
    read("a broken document", "broken.pdf", "broken.pdf is no PDF document that can be read."),
    read("a file that is not there", "hallo.txt", "hallo.txt"),
    read("an unknown argument", "hello.txt", "`lines`", lines=3),
    ("a path that is too long", "write_file", {"path": "x/" * 3000, "content": ""}, "4096 bytes"),
    ("a file that is there already", "write_file", {"path": "hello.txt", "content": "x"}, "overwrite"),
]

INSIDES = (SECRET, "tmp/", "Traceback", "Error:", "Exception", "sqlalchemy", "psycopg", "sqlite3", "127.0.0.1", "rrno")


@pytest.fixture(scope="module")
def memory() -> dict[str, Storage]:
    """One sign-in for each era."""
    return {"auto": Storage(), "legacy": Storage()}


@pytest.fixture(params=["auto", "legacy"])
async def client(stack: Stack, memory: dict[str, Storage], request: pytest.FixtureRequest) -> AsyncGenerator[Client]:
    async with Person(stack.connection, memory[request.param]).client(request.param) as connected:
        yield connected


@pytest.mark.parametrize(("tool", "arguments", "cure"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_bad_input_gets_a_sentence(client: Client, tool: str, arguments: dict[str, Any], cure: str) -> None:
    result = await client.call_tool(tool, arguments)
    (part,) = result.content
    assert isinstance(part, TextContent)
    text = part.text
    assert result.is_error, text
    assert cure in text
    assert "\n" not in text.strip()
    assert len(text) < 400
    for inside in INSIDES:
        assert inside not in text


async def test_a_result_that_is_too_large_is_cut_and_says_how_to_go_on(client: Client) -> None:
    first = await client.call_tool("read_file", {"path": "long.txt"})
    assert first.structured_content is not None
    assert first.structured_content["truncated"] is True
    rows = await client.call_tool("query_table", {"database": "shop", "table": "order_items", "limit": 1000})
    assert rows.structured_content is not None
    assert rows.structured_content["truncated"] is True
    more = await client.call_tool(
        "query_table",
        {"database": "shop", "table": "order_items", "cursor": rows.structured_content["next_cursor"], "limit": 5},
    )
    assert more.structured_content is not None
    assert len(more.structured_content["rows"]) == 5


async def test_after_all_that_everything_still_works(client: Client) -> None:
    assert not (await client.call_tool("query_table", {"database": "shop", "table": "orders", "limit": 1})).is_error
    assert not (await client.call_tool("read_file", {"path": "hello.txt"})).is_error
