"""The database: one engine, one schema, brought up to date at start."""

import sqlite3
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text

from isthmus_auth.models import Base
from isthmus_auth.settings import AuthSettings

HEAD = "0014"
"""The newest revision in `migrations/versions`; a test holds it to that."""

START_LOCK = 7411
"""Any number: PostgreSQL's name for the lock that keeps two instances from migrating at once."""


def open_engine(settings: AuthSettings) -> Engine:
    """The engine; nothing is connected yet."""
    url = make_url(settings.database_url or f"sqlite:///{Path(settings.data_dir).absolute() / 'auth.db'}")
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    # SQLite has one writer, so one connection serves best: requests wait their turn in the pool, in order.
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=10)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def migrate(connection: Connection) -> None:
    """Brings the schema up to date, inside the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": START_LOCK})
    known = inspect(connection).has_table("alembic_version")
    if known and connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD:
        return
    # Imported here, because most starts have nothing to migrate and Alembic is a fifth of the start-up time.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "target_metadata": Base.metadata})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    command.upgrade(config, "head")


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy begins them, below
    for pragma in ("busy_timeout = 5000", "journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Takes the write lock at once: what a request reads is then still true when it writes."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
