"""The demo database: SQLite, with keys, constraints, indexes and two views."""

import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

from isthmus.demo.business import business

SCHEMA = """
CREATE TABLE categories (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL
);
CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    sku TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    category_id INTEGER NOT NULL REFERENCES categories (id),
    unit_price NUMERIC(10, 2) NOT NULL CHECK (unit_price > 0),
    unit_cost NUMERIC(10, 2) NOT NULL CHECK (unit_cost > 0),
    stock INTEGER NOT NULL DEFAULT 0 CHECK (stock >= 0),
    reorder_level INTEGER NOT NULL DEFAULT 0 CHECK (reorder_level >= 0),
    discontinued BOOLEAN NOT NULL DEFAULT 0 CHECK (discontinued IN (0, 1))
);
CREATE TABLE employees (
    id INTEGER PRIMARY KEY,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    job_title TEXT NOT NULL,
    manager_id INTEGER REFERENCES employees (id),
    hired_on DATE NOT NULL,
    salary NUMERIC(10, 2) NOT NULL CHECK (salary > 0)
);
CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    contact_name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    city TEXT NOT NULL,
    country TEXT NOT NULL CHECK (length(country) = 2),
    segment TEXT NOT NULL CHECK (segment IN ('cafe', 'restaurant', 'retail', 'office')),
    account_manager_id INTEGER NOT NULL REFERENCES employees (id),
    created_on DATE NOT NULL
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    employee_id INTEGER NOT NULL REFERENCES employees (id),
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'shipped', 'delivered', 'cancelled')),
    ordered_at TIMESTAMP NOT NULL,
    shipped_at TIMESTAMP CHECK (shipped_at >= ordered_at),
    shipping_cost NUMERIC(10, 2) NOT NULL DEFAULT 0 CHECK (shipping_cost >= 0),
    note TEXT
);
CREATE TABLE order_items (
    order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    product_id INTEGER NOT NULL REFERENCES products (id),
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    unit_price NUMERIC(10, 2) NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, product_id)
);
CREATE TABLE invoices (
    id INTEGER PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    order_id INTEGER NOT NULL UNIQUE REFERENCES orders (id),
    issued_on DATE NOT NULL,
    due_on DATE NOT NULL,
    amount NUMERIC(10, 2) NOT NULL CHECK (amount >= 0),
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid', 'overdue')),
    paid_on DATE,
    CHECK ((status = 'paid') = (paid_on IS NOT NULL))
);
CREATE INDEX products_by_category ON products (category_id);
CREATE INDEX employees_by_manager ON employees (manager_id);
CREATE INDEX customers_by_country ON customers (country, city);
CREATE INDEX customers_by_account_manager ON customers (account_manager_id);
CREATE INDEX orders_by_customer ON orders (customer_id, ordered_at);
CREATE INDEX orders_by_employee ON orders (employee_id);
CREATE INDEX orders_by_day ON orders (ordered_at);
CREATE INDEX order_items_by_product ON order_items (product_id);
CREATE INDEX invoices_by_status ON invoices (status, due_on);
CREATE VIEW order_totals AS
    SELECT orders.id AS order_id, orders.number, orders.customer_id, orders.status, orders.ordered_at,
        count(*) AS items, round(sum(order_items.quantity * order_items.unit_price), 2) AS goods,
        round(sum(order_items.quantity * order_items.unit_price) + orders.shipping_cost, 2) AS total
    FROM orders JOIN order_items ON order_items.order_id = orders.id
    GROUP BY orders.id;
CREATE VIEW revenue_by_month AS
    SELECT strftime('%Y-%m', ordered_at) AS month, count(*) AS orders, round(sum(goods), 2) AS revenue
    FROM order_totals WHERE status <> 'cancelled'
    GROUP BY month;
"""


def create(path: Path) -> None:
    """Makes the database at `path`, all at once; one that is already there stays as it is."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as aside:
        made = Path(aside) / path.name
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            _fill(connection)
        made.replace(path)


def _fill(connection: sqlite3.Connection) -> None:
    rows = business()
    connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; {SCHEMA}")
    tables: dict[str, Iterable[tuple[object, ...]]] = {
        "categories": rows.categories,
        "products": rows.products,
        "employees": rows.employees,
        "customers": rows.customers,
        "orders": rows.orders,
        "order_items": rows.order_items,
        "invoices": rows.invoices,
    }
    for table, table_rows in tables.items():
        values = [tuple(map(_plain, row)) for row in table_rows]
        marks = ", ".join("?" * len(values[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608  (our own table names)
    connection.execute("COMMIT")


def _plain(value: object) -> object:
    """As SQLite keeps it: dates as ISO 8601 text, money as text that the column turns into a number."""
    return str(value) if isinstance(value, Decimal | date) else value
