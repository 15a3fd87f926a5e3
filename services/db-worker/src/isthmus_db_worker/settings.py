"""The databases that a worker serves, from `[databases.<name>]` of `isthmus.toml` and `ISTHMUS_DATABASES`."""

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from isthmus.errors import ConfigurationError
from isthmus.plans import Writes
from isthmus_db_worker.semantics import TableSemantics
from isthmus_db_worker.values import JsonValue

DRIVERS = {
    "mariadb": "mariadb+pymysql",
    "mysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
"""What a URL without a driver means, where SQLAlchemy's own choice is another one."""

CREDENTIALS = {
    "user", "password", "passwd", "passfile", "sslcert", "sslkey", "sslpassword", "ssl_cert", "ssl_key",
    "ssl_key_password",
}  # fmt: skip
"""What drivers take in a URL's query that says who asks, not what for."""

SECRETS = ("password", "passwd", "sslpassword", "ssl_key_password")
"""Those of them that must never show."""


Kind = Literal["text", "integer", "number", "boolean", "date", "timestamp"]
"""What a parameter of a saved query holds."""


class QueryParameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `:name` of a saved query."""

    type: Kind = "text"
    description: str = ""
    default: JsonValue | msgspec.UnsetType = msgspec.UNSET
    """What it is when nothing is given; without it something must be."""
    enum: tuple[JsonValue, ...] = ()
    """The values that it may have; none named: any."""


class SavedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query."""

    sql: str
    """One SELECT in the database's SQL; `:name` is a parameter."""
    description: str
    """What it answers; models choose a tool by this."""
    title: str = ""
    parameters: dict[str, QueryParameter] = {}


class DatabaseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One database."""

    url: str
    """A SQLAlchemy URL, such as `postgresql://reader:${PASSWORD}@db.internal/sales` or `sqlite:///sales.db`."""
    description: str = ""
    """What is in it; models choose a source by this."""
    title: str = ""
    access: Literal["read-only", "read-write"] = "read-only"
    writes: Writes = "direct"
    """How records are changed: at once; only with the plan of a preview; or after the user agreed."""
    schemas: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    """The schemas whose tables are served; none named: the connection's default schema."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    """Calls at a time."""
    max_rows: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    """Rows in one answer."""
    max_bytes: Annotated[int, msgspec.Meta(ge=16_384, le=4_194_304)] = 262_144
    """Bytes of one answer."""
    max_seconds: Annotated[float, msgspec.Meta(gt=0)] = math.inf
    """Seconds that a call may take, where its caller would wait longer."""
    sql: bool = False
    """Whether `run_sql` is offered."""
    saved_queries: dict[str, SavedQuery] = {}
    """Queries that are tools, by the tool's name."""
    semantics: dict[str, TableSemantics] = {}
    """What its tables mean, by the name that the tools call them."""


def parse_url(name: str, text: str) -> URL:
    """The URL of the database `name`, with its driver. Raises ConfigurationError without repeating the URL."""
    scheme, separator, rest = text.partition("://")
    try:
        url = make_url(DRIVERS.get(scheme, scheme) + separator + rest)
        url.get_dialect()
    except NoSuchModuleError:
        raise ConfigurationError(f"The database {name} has a URL of an unknown kind, {scheme}.") from None
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            f"The database {name} has no valid URL; one looks like postgresql://user:password@host/database."
        ) from None
    except ImportError:
        raise ConfigurationError(f"The database {name} needs a driver for {scheme} that is not installed.") from None
    if url.get_backend_name() in ("mariadb", "mysql") and not url.database:
        raise ConfigurationError(f"The database {name} must name one of its server's, as in mysql://host/sales.")
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:") or url.query:
            raise ConfigurationError(
                f"The database {name} must name a file, as in sqlite:///sales.db, with nothing after it."
            )
        url = url.set(database=str(Path(str(url.database)).resolve()))
    return url


def target(url: URL) -> str:
    """What the URL points at, without user and password: equal for all who serve the same database."""
    query = {name: value for name, value in url.query.items() if name not in CREDENTIALS}
    return URL.create(url.drivername, None, None, url.host, url.port, url.database, query).render_as_string()


def secrets(url: URL) -> list[str]:
    """What must never show in a log."""
    named = [url.query[name] for name in SECRETS if name in url.query]
    return [secret for secret in (url.password, *named) if isinstance(secret, str) and secret]
