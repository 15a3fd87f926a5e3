"""`isthmus up`: it starts fast, keeps its state, stops at once, and leaves nothing behind."""

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from isthmus.launcher.ports import is_free
from stack import ISTHMUS, Stack, running_stack


def wait_until(holds: Callable[[], bool], seconds: float) -> float:
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_starts_shows_the_panel_stops_and_starts_again_with_the_same_state(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data") as stack:
        first, children = stack.connection, stack.children()
        wait_until(lambda: "Ctrl-C stops everything" in stack.output.read_text(), 2)
        panel = stack.output.read_text()
        for shown in (first.mcp_endpoint, first.client_id, first.client_secret, first.admin_url, first.admin_password):
            assert shown in panel
        assert stat.S_IMODE(stack.folder.connection_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(stack.folder.secrets_file.stat().st_mode) == 0o600
        assert stack.started_in < 15, stack.started_in  # 5 s on a quiet machine; tests share theirs
        assert stack.stop() < 5
    assert not [pid for pid in children if runs(pid)]
    assert not stack.folder.connection_file.exists()
    assert not stack.folder.run_file.exists()
    assert stack.process.returncode == 0
    with running_stack(tmp_path / "data") as stack:
        assert (stack.connection.client_id, stack.connection.client_secret) == (first.client_id, first.client_secret)
        token = stack.command("token")
        assert token.returncode == 0, token.stderr


def test_a_second_launcher_on_the_same_folder_is_refused(stack: Stack) -> None:
    second = stack.command("up")
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert stack.command("sources").returncode == 0


def test_taken_ports_are_replaced_and_said(tmp_path: Path) -> None:
    taken = [socket.create_server(("127.0.0.1", port)) for port in (7410, 7411, 4222, 8222) if is_free(port)]
    try:
        with running_stack(tmp_path / "data") as stack:
            assert ":7410" not in stack.connection.mcp_endpoint
            assert "Port 7410 is taken" in stack.output.read_text()
            assert stack.command("sources").returncode == 0
    finally:
        for server in taken:
            server.close()


def test_a_wrong_configuration_is_one_sentence(tmp_path: Path) -> None:
    config = tmp_path / "isthmus.toml"
    config.write_text('[databases.sales]\nurl = "sqlite:///x.db"\nacces = "read-write"\n')
    answer = subprocess.run(
        [ISTHMUS, "up", "--data-dir", str(tmp_path / "data"), "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 1
    assert "acces" in answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    for arguments in (["--db", "sales"], ["--db", "Sales=sqlite://"], ["--public-url", "example.com"]):
        answer = subprocess.run(
            [ISTHMUS, "up", "--data-dir", str(tmp_path / "data"), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert answer.returncode == 1
        assert "Traceback" not in answer.stderr


def test_commands_print_a_token_call_a_tool_and_show_the_sources(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.txt").write_text("first line\n")
    with running_stack(tmp_path / "data", "--files", f"papers={tmp_path}/papers") as stack:
        token = stack.command("token").stdout.strip()
        assert token.count(".") == 2
        assert "papers" in stack.command("sources").stdout
        read_file = stack.command("call", "read_file", '{"path": "a.txt"}')
        assert "first line" in read_file.stdout
        wrong = stack.command("call", "read_file", '{"path": "b.txt"}')
        assert wrong.returncode == 1
        assert stack.command("call", "read_file", "{").returncode == 1
        made = stack.command("admin", "POST", "/people", '{"email": "ann@example.com", "roles": ["everything"]}')
        assert '"email": "ann@example.com"' in made.stdout, made.stderr
        assert "ann@example.com" in stack.command("admin", "GET", "/people?search=ann").stdout
        taken = stack.command("admin", "POST", "/people", '{"email": "ann@example.com"}')
        assert (taken.returncode, "Somebody has that e-mail address already." in taken.stderr) == (1, True)
        assert "must be JSON" in stack.command("admin", "POST", "/people", "{").stderr
    stopped = stack.command("sources")
    assert stopped.returncode == 1
    assert "isthmus up" in stopped.stderr


def test_behind_a_public_name_everything_carries_that_name_and_one_service_that_dies_stops_all(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", "--public-url", "https://mcp.example.com") as stack:
        assert stack.connection.mcp_endpoint == "https://mcp.example.com/mcp"
        assert stack.connection.issuer == "https://mcp.example.com"
        assert "documents" in stack.command("sources").stdout
        children = stack.children()
        worker = next(pid for pid in children if b"isthmus_db_worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(worker, signal.SIGKILL)
        assert stack.process.wait(10) == 1
        assert "db-worker ended by itself" in stack.output.read_text()
    assert not [pid for pid in children if runs(pid)]
