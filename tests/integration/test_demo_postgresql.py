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


def open_shop(host: str, database: str = "shop") -> psycopg.Connection:
    """A connection as the user of the demo."""
    return psycopg.connect(host=host, user="shop", dbname=database, password="secret")


def test_it_is_made_once_with_the_rows_of_the_business_and_a_user_of_its_own(host: str, tmp_path: Path) -> None:
    """One test, because the names of the databases are fixed and all processes of a run share the server."""
    make(host, tmp_path)
    with open_shop(host) as shop:
        for table, rows in database.tables().items():
            order = "1, 2" if table == "order_items" else "1"
            found = shop.execute(f"SELECT * FROM {table} ORDER BY {order}".encode()).fetchall()  # noqa: S608
            assert found == sorted(map(tuple, rows))
        sales = shop.execute("SELECT month, orders, revenue FROM revenue_by_month ORDER BY month").fetchall()
        assert sales == business().monthly_sales()
        new = "INSERT INTO categories (name, description) VALUES ('Kettles', '') RETURNING id"
        assert shop.execute(new).fetchone() == (len(business().categories) + 1,)
        shop.execute("DROP TABLE invoices")
    make(host, tmp_path)
    with open_shop(host) as shop:
        assert shop.execute("SELECT to_regclass('invoices')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        open_shop(host, "auth")
