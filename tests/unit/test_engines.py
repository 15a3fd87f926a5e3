"""What the console gives to paste is what the workers read."""

import re
import tomllib

import msgspec
import pytest

from isthmus_auth.console.engines import ENGINES, Engine
from isthmus_db_worker.settings import DatabaseSettings, parse_url
from isthmus_file_worker.settings import StoreSettings


@pytest.mark.parametrize("engine", [one for one in ENGINES.values() if one.kind == "db"], ids=lambda one: one.id)
def test_a_worker_takes_the_configuration_of_each_database(engine: Engine) -> None:
    (settings,) = tomllib.loads(engine.configuration)["databases"].values()
    url = parse_url("sales", msgspec.convert(settings, DatabaseSettings).url)
    assert url.get_backend_name() == engine.id
    assert url.password in ("${SALES_PASSWORD}", None)


@pytest.mark.parametrize("engine", [one for one in ENGINES.values() if one.kind == "file"], ids=lambda one: one.id)
def test_a_worker_takes_the_configuration_of_each_store(engine: Engine) -> None:
    (settings,) = tomllib.loads(engine.configuration)["files"].values()
    assert msgspec.convert(settings, StoreSettings).location


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_every_secret_is_a_variable_that_is_named(engine: Engine) -> None:
    named = [line.removesuffix("=…") for line in engine.variables.splitlines()]
    assert re.findall(r"\$\{(\w+)\}", engine.configuration) == named
