"""Makes the databases `auth` and `shop` with a user each, and the demo in `shop`. What is there stays as it is."""

import os
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from isthmus.demo import database

HOST = os.environ.get("PGHOST", "postgres")
SECRETS = Path(os.environ.get("SECRETS", "/secrets/operator"))


def secret(name: str) -> str:
    """What `init` wrote for the operator."""
    return (SECRETS / name).read_text().strip()


def connect(user: str, password: str) -> psycopg.Connection:
    """A connection to the database of the same name as the user."""
    return psycopg.connect(host=HOST, dbname=user, user=user, password=password, connect_timeout=10)


def make_database(server: psycopg.Connection, name: str, password: str) -> None:
    """A user, and a database that is theirs alone."""
    user, owner = Identifier(name), Literal(password)
    if server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
        server.execute(SQL("CREATE ROLE {} LOGIN").format(user))
    server.execute(SQL("ALTER ROLE {} PASSWORD {}").format(user, owner))
    if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        server.execute(SQL("CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0").format(user, user))
    server.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(user))


def fill_shop(shop: psycopg.Connection) -> None:
    """The demo business, all at once; ids go on after the last one."""
    shop.execute(SQL(database.POSTGRESQL))
    for table, rows in database.tables().items():
        name = Identifier(table)
        with shop.cursor().copy(SQL("COPY {} FROM STDIN").format(name)) as copy:
            for row in rows:
                copy.write_row(row)
        if table != "order_items":
            shop.execute(
                SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}").format(Literal(table), name)
            )


def main() -> None:
    """Runs at every start, before the services."""
    with connect("postgres", secret("postgres_password")) as server:
        server.autocommit = True
        make_database(server, "auth", secret("auth_database_password"))
        make_database(server, "shop", secret("shop_password"))
    with connect("shop", secret("shop_password")) as shop:
        if shop.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'public' LIMIT 1").fetchone() is None:
            fill_shop(shop)


if __name__ == "__main__":
    main()
