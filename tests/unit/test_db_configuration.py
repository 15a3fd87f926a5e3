"""`isthmus.toml` and the settings of databases."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.configuration import read_section, read_sources
from isthmus.errors import ConfigurationError
from isthmus_db_worker.settings import DatabaseSettings, parse_url, target
from isthmus_db_worker.worker import create_worker


def write(folder: Path, text: str) -> Path:
    path = folder / "isthmus.toml"
    path.write_text(text)
    return path


def test_databases_are_read_with_variables_in_their_place(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [databases.sales]
        url = "postgresql://reader:${PASSWORD}@db.internal/sales"
        description = "Orders"
        access = "read-write"
        limit = 4

        [files.reports]
        path = "${NOT_SET}"
        """,
    )
    sources = read_section(path, "databases", DatabaseSettings, {"PASSWORD": "p${x}"})
    assert sources == {
        "sales": DatabaseSettings(
            url="postgresql://reader:p${x}@db.internal/sales", description="Orders", access="read-write", limit=4
        )
    }


SEMANTICS = """
[databases.a]
url = "sqlite:///a.db"
[databases.a.semantics."crm.orders"]
description = "One row per order"
synonyms = ["purchases"]
[databases.a.semantics."crm.orders".columns.total]
synonyms = ["revenue"]
[databases.a.semantics."crm.orders".metrics.net_revenue]
function = "sum"
column = "total"
filter = "status = 'paid'"
"""


def test_semantics_are_read_with_their_tables_columns_and_metrics(tmp_path: Path) -> None:
    settings = read_section(write(tmp_path, SEMANTICS), "databases", DatabaseSettings, {})["a"]
    orders = settings.semantics["crm.orders"]
    assert (orders.description, orders.synonyms) == ("One row per order", ("purchases",))
    assert orders.columns["total"].synonyms == ("revenue",)
    assert orders.metrics["net_revenue"].formula() == "sum(total) where status = 'paid'"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('synonyms = ["purchases"]', "synonym = 'x'", "has an unknown key `synonym`"),
        ('function = "sum"', "function = 'total'", "Invalid enum value 'total'"),
        ('column = "total"', "", "sum needs a `column`"),
        ("status = 'paid'", "status = ", "The metric net_revenue of crm.orders in the database a has a filter that"),
    ],
)
def test_semantics_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_worker(read_section(write(tmp_path, SEMANTICS.replace(old, new)), "databases", DatabaseSettings, {}))
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[databases.a]\nurl = '${NOPE}'", "[databases.a] needs the environment variable NOPE, which is not set."),
        (
            "[databases.a]\nurl = 'x'\nlimits = 1",
            "[databases.a] has an unknown key `limits`. Did you mean limit, writes?",
        ),
        ("[databases.a]\ntitle = 'x'", "[databases.a]: Object missing required field `url`."),
        ("[databases.a]\nurl = 5", "[databases.a]: `url`: Expected `str`, got `int`."),
        ("[databases.a]\nurl = 'x'\nlimit = 0", "[databases.a]: `limit`: Expected `int` >= 1."),
        ("[databases.a]\nurl = 'x'\naccess = 'all'", "[databases.a]: `access`: Invalid enum value 'all'."),
        ("[database.a]\nurl = 'x'", "unknown section [database]. Did you mean databases"),
        ("databases = 5", "`databases` in"),
        ("[databases]\na = 5", "`a` in [databases] of"),
        ("[databases.a", "is not valid TOML"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_section(write(tmp_path, text), "databases", DatabaseSettings, {})
    assert sentence in caught.value.message


def test_the_environment_adds_databases_but_no_name_twice(tmp_path: Path) -> None:
    path = write(tmp_path, "[databases.a]\nurl = 'sqlite:///a.db'")
    more = json.dumps({"b": {"url": "sqlite:///b.db"}})
    environ = {"ISTHMUS_CONFIG": str(path), "ISTHMUS_DATABASES": more}
    assert sorted(read_sources("databases", DatabaseSettings, environ)) == ["a", "b"]
    assert sorted(read_sources("databases", DatabaseSettings, {"ISTHMUS_DATABASES": more})) == ["b"]
    assert read_sources("databases", DatabaseSettings, {}) == {}
    twice = {**environ, "ISTHMUS_DATABASES": json.dumps({"a": {"url": "sqlite:///b.db"}})}
    for broken, sentence in (
        (twice, "a is both in [databases] of"),
        ({"ISTHMUS_DATABASES": "[]"}, "ISTHMUS_DATABASES is not a JSON object of sources"),
        ({"ISTHMUS_DATABASES": '{"a": {"uri": "x"}}'}, "a in ISTHMUS_DATABASES has an unknown key `uri`."),
        ({"ISTHMUS_CONFIG": str(tmp_path / "no.toml")}, "cannot be read"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_sources("databases", DatabaseSettings, broken)
        assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg"),
        ("sqlite:///a.db", "sqlite"),
        ("mysql://u:p@h/d", "mysql+pymysql"),
        ("mysql+pymysql://u:p@h/d", "mysql+pymysql"),
        ("mariadb://u:p@h/d", "mariadb+pymysql"),
    ],
)
def test_urls_get_their_driver(url: str, driver: str) -> None:
    assert parse_url("a", url).drivername == driver


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "nosql://h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://u:secret@h:x/d",
        "mysql://u:secret@h",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        create_worker({"a": DatabaseSettings(url=url)})
    assert "The database a " in caught.value.message
    assert "secret" not in caught.value.message


def test_a_sqlite_file_has_no_schemas() -> None:
    with pytest.raises(ConfigurationError, match="which has no schemas: leave them out"):
        create_worker({"a": DatabaseSettings(url="sqlite:///a.db", schemas=("main",))})


def test_the_target_has_no_credentials_and_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert target(parse_url("a", "postgres://u:secret@h:5433/d")) == "postgresql+psycopg://h:5433/d"
    assert target(parse_url("a", "postgres:///d?host=/run/pg&password=secret")).endswith(":///d?host=%2Frun%2Fpg")
    monkeypatch.chdir(tmp_path)
    assert target(parse_url("a", "sqlite:///a.db")) == f"sqlite:///{tmp_path.resolve()}/a.db"


def test_a_configuration_that_cannot_be_ends_the_process_with_one_sentence() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "isthmus_db_worker"],
        env={**os.environ, "ISTHMUS_CONFIG": "", "ISTHMUS_DATABASES": '{"a": {"url": "nosql://u:secret@h/d"}}'},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert run.returncode == 2
    assert run.stderr == "isthmus-db-worker: The database a has a URL of an unknown kind, nosql.\n"
