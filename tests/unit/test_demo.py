"""The demo business: the same each time, whole, and in agreement with its files."""

import csv
import json
import re
import sqlite3
import struct
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from isthmus.demo import database, files


@pytest.fixture
def connection(tmp_path: Path) -> Generator[sqlite3.Connection]:
    database.create(tmp_path / "demo.sqlite")
    with closing(sqlite3.connect(tmp_path / "demo.sqlite")) as opened:
        yield opened


def number(connection: sqlite3.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone()
    return value


def test_the_database_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        database.create(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_database_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    path.write_bytes(b"mine")
    database.create(path)
    assert path.read_bytes() == b"mine"


def test_every_key_and_constraint_holds(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert number(connection, "SELECT count(*) FROM employees WHERE manager_id IS NULL") == 1
    tables = ["customers", "products", "categories", "orders", "order_items", "invoices", "employees"]
    assert sum(number(connection, f"SELECT count(*) FROM {table}") for table in tables) > 4000  # noqa: S608


def test_an_invoice_is_over_the_total_of_its_order(connection: sqlite3.Connection) -> None:
    query = "SELECT count(*) FROM invoices JOIN order_totals USING (order_id) WHERE abs(amount - total) > 0.001"
    assert number(connection, query) == 0


def test_money_is_kept_as_numbers_with_two_decimals(connection: sqlite3.Connection) -> None:
    query = "SELECT count(*) FROM order_items WHERE typeof(unit_price) = 'text' OR unit_price <> round(unit_price, 2)"
    assert number(connection, query) == 0


def test_the_monthly_sales_are_those_of_the_database(connection: sqlite3.Connection, tmp_path: Path) -> None:
    files.create(tmp_path / "files")
    with (tmp_path / "files/reports/monthly-sales.csv").open(newline="") as file:
        sales = [(row["month"], int(row["orders"]), float(row["revenue"])) for row in csv.DictReader(file)]
    assert len(sales) == 24
    assert sales == connection.execute("SELECT month, orders, revenue FROM revenue_by_month ORDER BY month").fetchall()


def test_files_that_are_there_stay_and_missing_ones_come_back(tmp_path: Path) -> None:
    files.create(tmp_path)
    (tmp_path / "handbook.txt").write_text("mine")
    (tmp_path / "company.json").unlink()
    files.create(tmp_path)
    assert (tmp_path / "handbook.txt").read_text() == "mine"
    assert json.loads((tmp_path / "company.json").read_text())["name"] == "Quillmarsh Trading"


def test_the_chart_is_a_whole_png(tmp_path: Path) -> None:
    files.create(tmp_path)
    data = (tmp_path / "reports/revenue-2026.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, kinds, pixels = 8, list[bytes](), b""
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(kind + body),)
        pixels += body if kind == b"IDAT" else b""
        kinds.append(kind)
        position += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(zlib.decompress(pixels)) == 360 * (1 + 640 * 3)


def test_the_price_list_is_a_pdf_whose_table_of_objects_is_right(tmp_path: Path) -> None:
    files.create(tmp_path)
    data = (tmp_path / "reports/price-list-2026.pdf").read_bytes()
    assert b"Night Ferry Espresso 1 kg" in data
    found = re.search(rb"startxref\n(\d+)\n%%EOF\n$", data)
    assert found is not None
    entries = data[int(found.group(1)) :].splitlines()[3:]
    offsets = [int(entry[:10]) for entry in entries if entry.endswith(b" n ")]
    for index, offset in enumerate(offsets, 1):
        assert data[offset:].startswith(b"%d 0 obj\n" % index)
    for length, body in re.findall(rb"/Length (\d+) >>\nstream\n(.*?)\nendstream", data, re.DOTALL):
        assert int(length) == len(body)
