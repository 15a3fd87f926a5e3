"""Fixtures with a shop in a database; a test module takes them with `pytest_plugins = ["database_fixtures"]`."""

import itertools
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from databases import DIALECTS, SHOP, Shop, create_database, url_of
from postgres import postgres_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    """The URL of a PostgreSQL server that has the shop as the template database `shop_<n>`."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_shop(postgres: str) -> str:
    """The name of the template database with the shop."""
    name = f"shop_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    create_database(postgres, name)
    shop = Shop("postgresql", url_of(postgres, name))
    shop.execute(SHOP.format(**DIALECTS["postgresql"]))
    shop.close()
    return name


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> Generator[Shop]:
    """A shop in a SQLite file."""
    path = tmp_path / "shop.db"
    shop = Shop("sqlite", f"sqlite:///{path}")
    shop.execute(SHOP.format(**DIALECTS["sqlite"]))
    yield shop
    shop.close()


@pytest.fixture
def postgresql_shop(postgres: str, postgres_shop: str) -> Generator[Shop]:
    """A shop in a PostgreSQL database of its own."""
    name = f"{postgres_shop}_{next(_numbers)}"
    create_database(postgres, name, postgres_shop)
    shop = Shop("postgresql", url_of(postgres, name))
    yield shop
    shop.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest) -> Shop:
    """A shop in each of the engines."""
    return request.getfixturevalue(f"{request.param}_shop")
