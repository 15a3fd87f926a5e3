"""Starting auth: as a process, for the first time, again, twice at once."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session

from auth_server import CLI_SECRET, CLIENT_ID, CLIENT_SECRET, PASSWORD, Auth
from isthmus.errors import ConfigurationError
from isthmus_auth import database
from isthmus_auth.database import migrate, open_engine
from isthmus_auth.models import Base
from isthmus_auth.seed import seed
from isthmus_auth.settings import AuthSettings
from isthmus_auth.signing import SigningKeys
from servers import TLS, free_port


def test_the_process_serves_from_an_empty_folder_and_stops_in_order(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "isthmus_auth"],
        env={
            **os.environ,
            "ISTHMUS_PORT": str(port),
            "ISTHMUS_DATA_DIR": str(tmp_path / "auth"),
            "ISTHMUS_NATS_URL": f"nats://127.0.0.1:{free_port()}",
            "ISTHMUS_CLIENT_ID": CLIENT_ID,
            "ISTHMUS_CLIENT_SECRET": CLIENT_SECRET,
        },
        stderr=subprocess.PIPE,
    )
    try:
        wait_until_alive(port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    said = log.decode()
    assert "first administrator: admin@localhost, password " in said
    assert CLIENT_SECRET not in said
    assert "Traceback" not in said
    assert stat.S_IMODE((tmp_path / "auth").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "auth" / "signing-keys.json").stat().st_mode) == 0o600


def wait_until_alive(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, "auth ended"
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/healthz", verify=TLS).status_code == 200:
                return
        except httpx2.ConnectError:
            time.sleep(0.02)
    raise TimeoutError("auth did not serve in time")


def test_a_second_start_keeps_key_clients_and_sessions(tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth")
    with auth.running():
        keys = auth.get("/jwks").json()
        token = auth.exchange(auth.code()).json()
    auth.changes = {"client_secret": "another", "admin_password": "another"}
    with auth.running():
        assert auth.get("/jwks").json() == keys
        assert auth.refresh(token["refresh_token"]).status_code == 200


def test_roles_and_the_command_lines_secret_follow_the_settings_at_every_start(tmp_path: Path) -> None:
    auth = Auth(tmp_path / "auth")
    with auth.running():
        assert roles(auth) == {(CLIENT_ID, "everything"), ("isthmus-cli", "everything")}
        assert cli(auth, CLI_SECRET) == 200
    auth.changes = {"client_roles": "", "cli_secret": "new"}
    with auth.running():
        assert roles(auth) == {("isthmus-cli", "everything")}
        assert cli(auth, CLI_SECRET) == 401
        assert cli(auth, "new") == 200
    auth.changes = {"cli_secret": ""}
    with auth.running():
        assert cli(auth, "new") == 401


def cli(auth: Auth, secret: str) -> int:
    body = {"grant_type": "client_credentials", "client_id": "isthmus-cli", "client_secret": secret}
    return auth.token(body).status_code


def roles(auth: Auth) -> set[tuple[str, str]]:
    """Which client has which role."""
    connection = sqlite3.connect(auth.database)
    try:
        return set(connection.execute("SELECT account_id, role_id FROM account_roles WHERE account_id NOT LIKE 'u_%'"))
    finally:
        connection.close()


def test_an_unknown_role_stops_the_start(tmp_path: Path) -> None:
    settings = AuthSettings(data_dir=str(tmp_path), client_roles="nonsense")
    engine = open_engine(settings)
    with engine.begin() as connection, Session(connection) as session:
        migrate(connection)
        with pytest.raises(ConfigurationError, match="ISTHMUS_CLIENT_ROLES: there is no role nonsense"):
            seed(session, settings)
    engine.dispose()


def test_two_instances_that_start_at_once_make_one_database_and_one_key(tmp_path: Path) -> None:
    settings = AuthSettings(data_dir=str(tmp_path), admin_password=PASSWORD)
    kids: list[str] = []
    ready = threading.Barrier(2)

    def start() -> None:
        engine = open_engine(settings)
        ready.wait()
        with engine.begin() as connection, Session(connection) as session:
            migrate(connection)
            seed(session, settings)
            session.flush()
        kids.append(SigningKeys(tmp_path).signing.kid)
        engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(kids) == 2
    assert len(set(kids)) == 1


def test_the_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    engine = open_engine(AuthSettings(data_dir=str(tmp_path)))
    with engine.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    scripts = ScriptDirectory(Path(database.__file__).parent / "migrations")
    assert scripts.get_current_head() == database.HEAD
