"""The db worker: its tools, resources and prompts, and its databases."""

import logging
from collections.abc import Mapping

from sqlalchemy.engine import URL

from isthmus.errors import ConfigurationError
from isthmus.tools import Tool
from isthmus.worker import Source, Worker, define_tool
from isthmus_db_worker import completing, prompts, resources
from isthmus_db_worker.aggregating import aggregate_table
from isthmus_db_worker.calling import call_routine, list_routines
from isthmus_db_worker.data_model import get_data_model
from isthmus_db_worker.database import Database, Limits
from isthmus_db_worker.describing import describe_table, list_tables
from isthmus_db_worker.meanings import Meanings
from isthmus_db_worker.querying import query_table
from isthmus_db_worker.running_sql import run_sql
from isthmus_db_worker.saved_queries import query_tool
from isthmus_db_worker.settings import DatabaseSettings, parse_url, target
from isthmus_db_worker.writing import create_records, delete_records, update_records, upsert_records


def create_worker(databases: Mapping[str, DatabaseSettings] = {}) -> Worker[Database]:
    """A worker for these databases. Raises ConfigurationError for a name or a URL that cannot be."""
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it repeats what callers wrote
    worker = Worker[Database]("db", argument="database", objects=True)
    worker.tool(scope="data:read", action="read", read_only=True)(get_data_model)
    worker.tool(scope="data:read", action="read", read_only=True)(list_tables)
    worker.tool(scope="data:read", action="read", read_only=True)(describe_table)
    worker.tool(scope="data:read", action="read", read_only=True)(query_table)
    worker.tool(scope="data:read", action="read", read_only=True)(aggregate_table)
    worker.tool(scope="data:write", action="create")(create_records)
    worker.tool(scope="data:write", action="update", destructive=True, idempotent=True)(update_records)
    worker.tool(scope="data:write", action=("create", "update"), destructive=True)(upsert_records)
    worker.tool(scope="data:write", action="delete", destructive=True, idempotent=True)(delete_records)
    _offer_resources(worker)
    _offer_prompts(worker)
    for name, settings in databases.items():
        worker.add(source_of(name, settings))
    return worker


def _offer_resources(worker: Worker[Database]) -> None:
    plain = resources.TEXT
    worker.resource("database://{database}", scope="data:read", action="read", mime_type=plain)(resources.tables)
    worker.resource("database://{database}/{table}", scope="data:read", action="read", mime_type=plain, object="table")(
        resources.table
    )
    worker.completion(action="read")(completing.table)


def _offer_prompts(worker: Worker[Database]) -> None:
    worker.prompt(scope="data:read", action="read", title="Explore a database")(prompts.explore_database)
    worker.prompt(scope="data:read", action="read", title="Explain a table")(prompts.explain_table)
    worker.prompt(scope="data:read", action="read", title="Find where a value lives")(prompts.find_value)
    worker.prompt(scope="data:read", action="read", title="Draft a report")(prompts.draft_report)


def source_of(name: str, settings: DatabaseSettings) -> Source[Database]:
    """The database as a source. Raises ConfigurationError for a name or a URL that cannot be."""
    url = parse_url(name, settings.url)
    if settings.schemas and url.get_backend_name() == "sqlite":
        raise ConfigurationError(f"The database {name} is a SQLite file, which has no schemas: leave them out.")
    limits = Limits(settings.max_rows, settings.max_bytes, settings.max_seconds)
    database = Database.at(
        url, settings.limit, settings.schemas, Meanings(name, settings.semantics), limits, settings.writes
    )
    return Source(
        name,
        database,
        engine=url.get_backend_name(),
        target=target(url),
        title=settings.title,
        description=settings.description,
        writable=settings.access == "read-write",
        limit=settings.limit,
        tools=_tools_of(name, url, settings, routines=database.dialect.routines is not None),
        close=database.runner.close,
    )


def _tools_of(name: str, url: URL, settings: DatabaseSettings, *, routines: bool) -> dict[str, Tool[Database]]:
    """What this database alone offers."""
    tools = [query_tool(name, url, each, query) for each, query in settings.saved_queries.items()]
    if settings.sql:
        tools.append(
            define_tool("db", "database", run_sql, scope="sql:run", action="sql", title="Run SQL", read_only=True)
        )
    if routines:
        scope, action, reads = "routines:call", "call", settings.access == "read-only"
        tools += [
            define_tool("db", "database", list_routines, scope=scope, action=action, read_only=True),
            define_tool("db", "database", call_routine, scope=scope, action=action, read_only=reads, destructive=True),
        ]
    found = {tool.definition.name: tool for tool in tools}
    if len(found) < len(tools):
        taken = next(
            each for each in settings.saved_queries if found[each].run in (run_sql, list_routines, call_routine)
        )
        raise ConfigurationError(f"The saved query {taken} of the database {name} has another tool's name; rename it.")
    return found
