"""run_sql, and what it shares with saved queries."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from sqlalchemy import Dialect
from sqlalchemy.engine import Connection

from isthmus.errors import InvalidArguments, near
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained
from isthmus_db_worker.json_forms import present
from isthmus_db_worker.paging import Page
from isthmus_db_worker.rows import Rows, unique_names
from isthmus_db_worker.sql_reading import Sql, read_sql, write_sql
from isthmus_db_worker.values import JsonValue
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import Unseen, see_table

FETCHED = 64
"""Rows at a time."""


class RunSql(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which query."""

    sql: str
    """One SELECT in the SQL of the database, with WITH, joins and window functions as you like; `:name` is a
    parameter."""
    parameters: dict[str, JsonValue] = {}
    """The values of parameters: `{"since": "2024-01-31"}`."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    """How many rows at most."""
    database: str | None = None
    """The database."""


async def run_sql(call: Call[Database], arguments: RunSql) -> Rows:
    """Runs one reading SQL query over the tables that you may read. Use it for what query_table and aggregate_table
    cannot say."""
    sql = read_sql(arguments.sql, call.source.handle.url)
    for name, value in arguments.parameters.items():
        if name not in sql.placeholders():
            raise InvalidArguments(f"The query has no parameter :{name[:60]}.{near(name, sql.placeholders())}")
        if isinstance(value, dict | list):
            raise InvalidArguments(f"The parameter :{name[:60]} must be a text, a number, true, false or null.")
    return await run(call, sql, arguments.parameters, arguments.limit, "sql")


async def run(call: Call[Database], sql: Sql, parameters: Mapping[str, object], limit: int, action: str) -> Rows:
    """The rows of a query, over what the grants for the action and for reading leave of its tables."""
    database = call.source.handle
    limit = min(limit, database.limits.rows)
    kind: Any = database.url.get_dialect()
    named: Dialect = kind(paramstyle="named")
    views: dict[str, View] = {}

    def view(name: str) -> View:
        if name not in views:
            raise Unseen(name)
        return views[name]

    with explained(database, call.source.name, own=True):
        while True:
            try:
                statement = write_sql(sql, view, parameters, named, limit)
                break
            except Unseen as unseen:
                views[unseen.key] = await see_table(call, unseen.key, action)
        page = Page(lambda row: [present(value) for value in row], limit, database.limits.bytes)

        def read(connection: Connection) -> list[str]:
            with connection.execute(statement) as result:
                names = unique_names(result.keys())
                while batch := result.fetchmany(FETCHED):
                    if any(page.take(row) for row in batch):
                        break
            return names

        columns = await database.runner.look(read, call.left)
    cut = page.weigh()
    return Rows(
        columns=columns,
        rows=page.rows,
        truncated=page.reason is not None,
        reason=page.reason or msgspec.UNSET,
        shortened={columns[place]: length for place, length in cut.items()} or msgspec.UNSET,
    )
