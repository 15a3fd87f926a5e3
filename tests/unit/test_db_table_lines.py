"""A table in a line: types in few words, names that can be copied into a call."""

import pytest

from isthmus_db_worker.semantics import Metric
from isthmus_db_worker.table_lines import column_name, meaning, metric_line, name_line, short_type, table_name
from isthmus_db_worker.tables import TableName


@pytest.mark.parametrize(
    ("type_", "short"),
    [
        ("INTEGER", "int"),
        ("NUMERIC(10, 2)", "decimal(10,2)"),
        ("VARCHAR(200)", "varchar"),
        ("TIMESTAMP WITHOUT TIME ZONE", "timestamp"),
        ("TIMESTAMP(3) WITH TIME ZONE", "timestamp(3) with time zone"),
        ("DOUBLE PRECISION", "double"),
        ("TINYINT(1)", "boolean"),
        ("INTEGER UNSIGNED", "int unsigned"),
        ('VARCHAR(20) COLLATE "de-x-icu"', "varchar"),
        ("ENUM('Good','so, so') COLLATE utf8mb4_bin", "enum('Good','so, so')"),
        ("TEXT[]", "text[]"),
    ],
)
def test_a_type_is_told_in_few_words(type_: str, short: str) -> None:
    assert short_type(type_, full=False) == short


def test_in_full_a_text_has_its_length() -> None:
    assert short_type("VARCHAR(200)", full=True) == "varchar(200)"


def test_an_enumeration_of_many_words_is_cut() -> None:
    assert len(short_type(f"ENUM({','.join(['word'] * 99)!r})", full=True)) == 201


@pytest.mark.parametrize(
    ("rows", "told"),
    [(0, "~0"), (999, "~1k"), (1234, "~1.2k"), (99_499, "~99k"), (999_999, "~1M"), (7_654_321_000, "~7.7G")],
)
def test_rows_are_told_in_two_digits(rows: int, told: str) -> None:
    name = TableName("t", "main.t", None, "t", "table", "")
    assert name_line(name, rows) == f"t {told} rows"


def test_names_are_written_as_calls_take_them() -> None:
    assert [table_name(key) for key in ("crm.orders", 'odd "one"')] == ["crm.orders", r'"odd \"one\""']
    assert [column_name(name) for name in ("total", "full name", 'a"b')] == ["total", '"full name"', '"a""b"']


def test_a_meaning_is_cut_and_keeps_its_synonyms() -> None:
    assert meaning("One row per order", ["sales"], 7) == "One row…; also called sales"
    assert meaning("", ["a", "b"]) == "also called a, b"
    metric = Metric(function="count", description="All of them")
    assert metric_line("orders", metric) == "orders = count(*): All of them"
