"""The same service on PostgreSQL, as larger installations run it."""

import secrets
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.orm import Session

from auth_server import Auth, claims
from isthmus_auth.database import migrate, open_engine
from isthmus_auth.seed import seed
from isthmus_auth.settings import AuthSettings
from postgres import postgres_server


@pytest.fixture
def database_url() -> Generator[str]:
    """An empty database of this test's own."""
    with postgres_server() as server:
        url = make_url(server).set(drivername="postgresql+psycopg")
        name = f"auth_{secrets.token_hex(4)}"
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        yield url.set(database=name).render_as_string(hide_password=False)
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def test_codes_and_refresh_tokens_work_once_there_too(tmp_path: Path, database_url: str) -> None:
    auth = Auth(tmp_path / "auth", changes={"database_url": database_url})
    with auth.running():
        code = auth.code()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(auth.exchange, [code] * 4))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
        token = auth.exchange(auth.code()).json()
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(auth.refresh, [token["refresh_token"]] * 4))
        assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
        assert claims(token["access_token"])["iss"] == auth.url


def test_two_instances_that_start_at_once_make_one_schema(tmp_path: Path, database_url: str) -> None:
    settings = AuthSettings(data_dir=str(tmp_path), database_url=database_url)
    ready = threading.Barrier(2)

    def start(_number: int) -> str:
        engine = open_engine(settings)
        ready.wait()
        with engine.begin() as connection, Session(connection) as session:
            migrate(connection)
            seed(session, settings)
            session.flush()
        engine.dispose()
        return "done"

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(start, range(2))) == ["done", "done"]
