"""The demo on PostgreSQL, as compose makes it: the same rows as in SQLite, and room for more."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from isthmus.demo import database
from isthmus.demo.business import business
from postgres import postgres_server

pytestmark = pytest.mark.xdist_group("demo-postgresql")  # one server, and the names of its databases are fixed

SCRIPT = Path(__file__).parents[2] / "compose" / "database_server.py"


@pytest.fixture
def host(tmp_path: Path) -> Generator[str]:
    """Where the server with the two databases listens; they go with the test."""
    for name in ("postgres_password", "auth_database_password", "shop_password"):
        (tmp_path / name).write_text("secret\n")
    with postgres_server() as server:
        host = str(make_url(server).query["host"])
        yield host
        with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as connection:
            for name in ("auth", "shop"):
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
                connection.execute(f"DROP ROLE {name}".encode())


def make(host: str, folder: Path) -> None:
    environ = {**os.environ, "PGHOST": host, "SECRETS": str(folder)}
    subprocess.run([sys.executable, SCRIPT], env=environ, check=True, timeout=20)


def test_the_rows_and_views_are_those_of_the_business(host: str, tmp_path: Path) -> None:
    make(host, tmp_path)
    with psycopg.connect(host=host, user="shop", dbname="shop", password="secret") as shop:
        for table, rows in database.tables().items():
            order = "1, 2" if table == "order_items" else "1"
            found = shop.execute(f"SELECT * FROM {table} ORDER BY {order}".encode()).fetchall()  # noqa: S608
            assert found == sorted(map(tuple, rows))
        sales = shop.execute("SELECT month, orders, revenue FROM revenue_by_month ORDER BY month").fetchall()
        assert sales == business().monthly_sales()
        new = "INSERT INTO categories (name, description) VALUES ('Kettles', '') RETURNING id"
        assert shop.execute(new).fetchone() == (len(business().categories) + 1,)


def test_a_second_start_leaves_it_as_it_is(host: str, tmp_path: Path) -> None:
    make(host, tmp_path)
    with psycopg.connect(host=host, user="shop", dbname="shop", password="secret") as shop:
        shop.execute("DROP TABLE invoices")
    make(host, tmp_path)
    with psycopg.connect(host=host, user="shop", dbname="shop", password="secret") as shop:
        assert shop.execute("SELECT to_regclass('invoices')").fetchone() == (None,)


def test_each_user_reaches_one_database_alone(host: str, tmp_path: Path) -> None:
    make(host, tmp_path)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(host=host, user="shop", dbname="auth", password="secret")
