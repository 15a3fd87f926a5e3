"""Fixtures with a shop in a database; a test module takes them with `pytest_plugins = ["database_fixtures"]`."""

import os
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

from databases import DIALECTS, SHOP, Shop, url_of
from mariadb import MariadbServer, mariadb_server
from postgres import postgres_server


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    """The URL of a PostgreSQL server."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_database(postgres: str) -> str:
    """The URL of a database that only this test process uses."""
    name = f"shop_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    return url_of(postgres, name)


@pytest.fixture(scope="session")
def mariadb() -> Generator[MariadbServer]:
    """A MariaDB server."""
    with mariadb_server() as server:
        yield server


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Generator[Shop]:
    """A shop in a SQLite file."""
    path = tmp_path / "shop.db"
    shop = Shop("sqlite", f"sqlite:///{path}")
    shop.execute(SHOP.format(**DIALECTS["sqlite"]))
    yield shop
    shop.close()


@pytest.fixture
def postgresql_shop(postgres_database: str) -> Generator[Shop]:
    """A shop in PostgreSQL, where nothing is left of the test before."""
    with psycopg.connect(postgres_database) as connection:
        connection.execute(
            b"drop schema if exists crm cascade; drop schema public cascade; "
            b"create schema public; grant usage on schema public to public"
        )
        connection.execute(SHOP.format(**DIALECTS["postgresql"]).encode())
    shop = Shop("postgresql", postgres_database)
    yield shop
    shop.close()


@pytest.fixture
def mariadb_shop(mariadb: MariadbServer) -> Generator[Shop]:
    """A shop in MariaDB, where nothing is left of the test before."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with mariadb.connect() as connection, connection.cursor() as cursor:
        for name in (f"crm_{worker}", f"shop_{worker}"):
            cursor.execute(f"drop database if exists {name}")
        cursor.execute(f"create database shop_{worker}")
    shop = Shop("mariadb", url_of(mariadb.url, f"shop_{worker}"))
    shop.execute(SHOP.format(**DIALECTS["mariadb"]))
    yield shop
    shop.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def server_shop(request: pytest.FixtureRequest) -> Shop:
    """A shop in each of the engines that are servers."""
    return request.getfixturevalue(f"{request.param}_shop")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """A shop in each of the engines."""
    return request.getfixturevalue(f"{request.param}_shop")
