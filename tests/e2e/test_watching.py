"""`isthmus status` and `isthmus doctor` beside a running stack."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from isthmus.launcher.state import DataFolder
from servers import free_port
from stack import ISTHMUS, SECRET, Stack, running_stack


@contextmanager
def another_db_worker(stack: Stack, databases: dict[str, dict[str, str]]) -> Generator[None]:
    """One more worker on the stack's bus."""
    secrets = DataFolder(stack.folder.path).secrets()
    environment = {
        "ISTHMUS_NATS_URL": stack.connection.nats_url,
        "ISTHMUS_NATS_USER": "db_worker",
        "ISTHMUS_NATS_PASSWORD": secrets.nats_passwords["db_worker"],
        "ISTHMUS_FINGERPRINT_KEY": secrets.fingerprint_key,
        "ISTHMUS_DATABASES": json.dumps(databases),
    }
    log = stack.folder.path / "another.log"
    with log.open("wb") as output:
        arguments = [sys.executable, "-m", "isthmus_db_worker"]
        worker = subprocess.Popen(arguments, env={**os.environ, **environment}, stderr=output)
        try:
            wait_until(lambda: "serving" in log.read_text(), 20)
            yield
        finally:
            worker.terminate()
            worker.wait(10)


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def test_status_shows_every_worker_and_what_it_did_and_the_doctor_finds_a_healthy_stack(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data") as stack:
        shop = {"url": f"sqlite:///{tmp_path}/data/demo/shop.db", "access": "read-write"}
        with another_db_worker(stack, {"shop": shop}):
            for _ in range(3):
                assert stack.command("call", "query_table", '{"table": "customers", "limit": 1}').returncode == 0
            answer = stack.command("status", "--json")
            assert answer.returncode == 0, answer.stderr
            status = json.loads(answer.stdout)
            (source,) = [source for source in status["sources"] if source["id"] == "db.shop"]
            assert source["total"]["calls"] == 3
            assert len(source["instances"]) == 2
            assert {worker["worker"] for worker in status["workers"]} == {"db-worker", "file-worker"}
            shown = stack.command("status").stdout
            assert "db.shop" in shown
            assert "file.documents" in shown
        elsewhere = remote_status(stack, stack.connection.nats_url)
        assert "db.shop" in elsewhere.stdout
        assert "in flight" in watched(stack)
        healthy = stack.command("doctor")
        assert healthy.returncode == 0, healthy.stdout + healthy.stderr
        assert "No problems." in healthy.stdout
        assert healthy.stdout.count("OK") >= 8
    stopped = stack.command("status")
    assert stopped.returncode == 1
    assert "isthmus up" in stopped.stderr
    assert "Nothing answers" in remote_status(stack, f"nats://127.0.0.1:{free_port()}").stderr


def watched(stack: Stack) -> str:
    """What `--watch` draws on a terminal until Ctrl-C, which ends it well."""
    mine, its = pty.openpty()
    process = subprocess.Popen(
        [ISTHMUS, "status", "--watch", "--data-dir", str(stack.folder.path)], stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    drawn = b""
    while b"Ctrl-C" not in drawn:
        drawn += os.read(mine, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    os.close(mine)
    return drawn.decode(errors="replace")


def remote_status(stack: Stack, nats_url: str) -> subprocess.CompletedProcess[str]:
    """As from another machine: nothing but an address, a user and a password."""
    password = DataFolder(stack.folder.path).secrets().nats_passwords["ops"]
    return subprocess.run(
        [ISTHMUS, "status", "--nats-url", nats_url, "--data-dir", "nowhere"],
        env={**os.environ, "ISTHMUS_NATS_USER": "ops", "ISTHMUS_NATS_PASSWORD": password},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_the_doctor_finds_sources_that_do_not_answer_and_a_public_address_that_leads_elsewhere(tmp_path: Path) -> None:
    public = f"http://127.0.0.1:{free_port()}"
    sources = ["--db", f"down=postgresql://reader:{SECRET}@127.0.0.1:1/sales", "--files", f"gone={tmp_path}/gone"]
    sources += ["--files", f"here={tmp_path}", "--db", f"shop=sqlite:///{tmp_path}/shop.db"]
    with (
        running_stack(tmp_path / "data", "--public-url", public, *sources) as stack,
        another_db_worker(stack, {"shop": {"url": f"sqlite:///{tmp_path}/another.db"}}),
    ):
        wait_until(lambda: "different targets" in stack.command("call", "list_sources").stdout, 10)
        answer = stack.command("doctor")
    lines = {words[1]: words[0] for line in answer.stdout.splitlines() if len(words := line.split()) > 1}
    assert answer.returncode == 1
    assert lines["db.down"] == "PROBLEM"
    assert lines["file.gone"] == "PROBLEM"
    assert lines["db.shop"] == "PROBLEM"
    assert lines["file.here"] == "OK"
    assert f"Nothing answers at {public}" in " ".join(answer.stdout.split())
    assert SECRET not in answer.stdout
