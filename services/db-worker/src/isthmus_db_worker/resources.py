"""Databases and their tables as MCP resources: texts for models, where the tools give JSON."""

import asyncio
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from isthmus.results import TextResourceContents
from isthmus.tools import Call
from isthmus_db_worker.data_model import GetDataModel, get_data_model
from isthmus_db_worker.database import Database
from isthmus_db_worker.describing import DescribeTable, describe_table
from isthmus_db_worker.failures import explained
from isthmus_db_worker.rows import BUDGET, FRAME
from isthmus_db_worker.statements import Row, Statement
from isthmus_db_worker.visibility import plan

MODEL_BYTES = 48 * 1024
"""Of a data model that somebody attaches to a conversation."""
COUNTED = 10_000
"""Rows that are counted; a table with more has more than that."""
COUNTING = 1.0
"""Seconds for it, after which the count is left out."""

TEXT = "text/plain"


def database_uri(database: str) -> str:
    """The resource of a database."""
    return f"database://{database}"


def table_uri(database: str, table: str) -> str:
    """The resource of a table: its name as other tools call it, percent-encoded."""
    return f"database://{database}/{quote(table, safe='')}"


class DatabaseResource(msgspec.Struct, kw_only=True):
    """The variables of a database's URI."""

    database: str


class TableResource(DatabaseResource, kw_only=True):
    """The variables of a table's URI."""

    table: str


async def tables(call: Call[Database], arguments: DatabaseResource) -> TextResourceContents:
    """All tables of a database with their columns."""
    del arguments
    return await data_model(call)


async def data_model(call: Call[Database]) -> TextResourceContents:
    """The database as get_data_model shows it."""
    text = await get_data_model(call, GetDataModel(max_bytes=MODEL_BYTES))
    return TextResourceContents(text, TEXT, database_uri(call.source.name))


async def table(call: Call[Database], arguments: TableResource) -> TextResourceContents:
    """A table: columns, types, keys, relations, number of rows."""
    _, contents = await describe(call, arguments.table)
    return contents


async def describe(call: Call[Database], table: str) -> tuple[str, TextResourceContents]:
    """What the other tools call the table, and its resource. Raises NotFound."""
    described = await describe_table(call, DescribeTable(table=table))
    text = "\n".join(part for part in (_cut(described.text()), await _count(call, described.name)) if part)
    return described.name, TextResourceContents(text, TEXT, table_uri(call.source.name, described.name))


def _cut(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= BUDGET - FRAME:
        return text
    kept = encoded[: BUDGET - FRAME].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n(cut here: the description is longer than an answer may be; describe_table has the rest)"


async def _count(call: Call[Database], table: str) -> str:
    """How many rows there are that the caller may read; nothing where that takes long."""
    database, counts = call.source.handle, list[Row]()

    def take(row: Row) -> bool:
        counts.append(row)
        return True

    with explained(database, call.source.name):
        seen = await plan(call, table, "read", lambda seen: seen)
        rows = sa.select(sa.literal(1).label("one")).select_from(seen.table.sql).limit(COUNTED + 1)
        if seen.reach is not None:
            rows = rows.where(seen.reach)
        try:
            async with asyncio.timeout(COUNTING):
                counting = Statement(sa.select(sa.func.count()).select_from(rows.subquery()))
                await database.runner.read(counting, take, call.left)
        except (TimeoutError, SQLAlchemyError):  # it takes long, or this view cannot be counted
            return ""
    number = counts[0][0]
    return f"rows: more than {COUNTED}" if isinstance(number, int) and number > COUNTED else f"rows: {number}"
