"""The db worker: its tools, resources and prompts, and its databases."""

from collections.abc import Mapping

from isthmus.errors import ConfigurationError
from isthmus.worker import Source, Worker
from isthmus_db_worker import completing, prompts, resources
from isthmus_db_worker.aggregating import aggregate_table
from isthmus_db_worker.database import Database
from isthmus_db_worker.describing import describe_table, list_tables
from isthmus_db_worker.querying import query_table
from isthmus_db_worker.settings import DatabaseSettings, parse_url, target
from isthmus_db_worker.writing import create_records, delete_records, update_records


def create_worker(databases: Mapping[str, DatabaseSettings] = {}) -> Worker[Database]:
    """A worker for these databases. Raises ConfigurationError for a name or a URL that cannot be."""
    worker = Worker[Database]("db", argument="database", objects=True)
    worker.tool(scope="data:read", action="read", read_only=True)(list_tables)
    worker.tool(scope="data:read", action="read", read_only=True)(describe_table)
    worker.tool(scope="data:read", action="read", read_only=True)(query_table)
    worker.tool(scope="data:read", action="read", read_only=True)(aggregate_table)
    worker.tool(scope="data:write", action="create")(create_records)
    worker.tool(scope="data:write", action="update", destructive=True, idempotent=True)(update_records)
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
    database = Database.at(url, settings.limit, settings.schemas)
    return Source(
        name,
        database,
        engine=url.get_backend_name(),
        target=target(url),
        title=settings.title,
        description=settings.description,
        writable=settings.access == "read-write",
        limit=settings.limit,
        close=database.runner.close,
    )
