"""What `isthmus doctor` finds: each problem is made for real, and found with its cure."""

import os
import shutil
import socket
import subprocess
import sysconfig
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from isthmus.launcher import checks
from isthmus.launcher.checks import Finding
from isthmus.launcher.doctor import examine
from isthmus.launcher.ports import Ports
from isthmus.launcher.state import DataFolder
from servers import free_port, wait_for_port


@contextmanager
def web_server(pages: Mapping[str, str], status: int = 200, ahead: float = 0) -> Generator[str]:
    """Something else than Isthmus that speaks HTTP, with these pages and a clock that may be wrong."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            self.send_response(status if page is not None else 404)
            self.end_headers()
            self.wfile.write((page or "").encode())

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def plain_nats(folder: Path, *options: str) -> Generator[str]:
    """A nats-server that was not configured for Isthmus; yields the address of its monitoring."""
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    port, monitor = free_port(), free_port()
    places = ["-a", "127.0.0.1", "-p", str(port), "-m", str(monitor), "-l", str(folder / "nats.log")]
    process = subprocess.Popen([program, *places, *options])
    try:
        wait_for_port(monitor)
        yield f"http://127.0.0.1:{monitor}"
    finally:
        process.terminate()
        process.wait(10)


def is_problem(finding: Finding, text: str, cure: str) -> bool:
    assert finding.state == "problem", finding
    assert text in finding.text, finding
    assert cure in finding.cure, finding
    return True


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder as `isthmus up` leaves it."""
    folder = DataFolder(tmp_path / "data")
    folder.make()
    folder.secrets()
    return folder


def test_a_good_data_folder_and_one_that_is_not_made_yet_are_fine(folder: DataFolder, tmp_path: Path) -> None:
    assert checks.check_folder(folder).state == "ok"
    assert checks.check_folder(DataFolder(tmp_path / "none")).state == "ok"
    assert not (tmp_path / "none").exists()


def test_a_data_folder_that_others_can_look_into_is_found(folder: DataFolder) -> None:
    folder.path.chmod(0o755)
    assert is_problem(checks.check_folder(folder), "Other users", "chmod 700")
    folder.path.chmod(0o700)
    folder.secrets_file.chmod(0o644)
    assert is_problem(checks.check_folder(folder), "secrets.json", "chmod 600")


def test_a_data_folder_that_is_a_file_or_damaged_is_found(folder: DataFolder, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert is_problem(checks.check_folder(DataFolder(file)), "not a folder", "--data-dir")
    folder.secrets_file.write_text("{")
    assert is_problem(checks.check_folder(folder), "damaged", "Stop Isthmus")


def test_a_data_folder_that_cannot_be_written_is_found(folder: DataFolder) -> None:
    if os.geteuid() == 0:  # who may write everywhere but here
        folder = DataFolder(Path("/proc/self"))
        if not folder.path.is_dir():
            pytest.skip("this system has no /proc, and root can write everywhere else")
    else:
        folder.path.chmod(0o500)
    assert is_problem(checks.check_folder(folder), "cannot be written", "--data-dir")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[databases.sales]\nurl = "sqlite:///x.db"\nacces = "read-write"\n', "`acces`"),
        ('[databases.sales]\nurl = "nosuch://x"\n', "nosuch"),
        ('[files.papers]\npath = "${ISTHMUS_TEST_NOT_SET}"\n', "ISTHMUS_TEST_NOT_SET"),
        ('[folders.papers]\npath = "."\n', "[folders]"),
        ("[databases\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_found_once(tmp_path: Path, text: str, sentence: str) -> None:
    config = tmp_path / "isthmus.toml"
    config.write_text(text)
    (finding,) = checks.check_configuration(config)
    assert is_problem(finding, sentence, "isthmus.toml")
    assert "Traceback" not in finding.text


def test_a_good_configuration_and_none_at_all_are_fine(tmp_path: Path) -> None:
    config = tmp_path / "isthmus.toml"
    config.write_text('[databases.sales]\nurl = "sqlite:///x.db"\n[files.papers]\npath = "."\n')
    for path in (config, None):
        (finding,) = checks.check_configuration(path)
        assert finding.state == "ok"


def test_a_port_that_is_taken_is_found() -> None:
    ports = Ports(gateway=free_port(), auth=free_port(), nats=free_port(), nats_monitor=free_port())
    (finding,) = checks.check_free_ports(ports)
    assert finding.state == "ok"
    with socket.create_server(("127.0.0.1", ports.auth)):
        (finding,) = checks.check_free_ports(ports)
    assert is_problem(finding, f"Port {ports.auth} of auth", f"lsof -i :{ports.auth}")


def test_when_nothing_runs_the_doctor_says_so(tmp_path: Path) -> None:
    findings = {finding.about: finding for finding in examine(DataFolder(tmp_path / "data"), None, "")}
    assert findings["sources"].state == "unknown"
    assert "does not run here" in findings["sources"].text


def test_a_bus_that_is_down_or_has_no_jetstream_is_found(tmp_path: Path) -> None:
    with plain_nats(tmp_path) as monitor:
        assert is_problem(checks.check_bus(monitor), "without JetStream", "-js")
    assert is_problem(checks.check_bus(monitor), "does not answer", "start Isthmus again")
    store = tmp_path / "store"
    with plain_nats(tmp_path, "-js", "-sd", str(store)) as monitor:
        assert checks.check_bus(monitor).state == "ok"
    shutil.rmtree(store)


def test_a_bus_that_is_too_old_is_found() -> None:
    with web_server({"/varz": '{"version": "2.10.29", "jetstream": {"config": {"max_storage": 1}}}'}) as monitor:
        assert is_problem(checks.check_bus(monitor), "2.10.29 is too old", "2.11")


def test_a_service_that_is_down_or_not_ready_is_found() -> None:
    with web_server({"/readyz": "starting"}, status=503) as url:
        assert is_problem(checks.check_service("auth", url, "auth.log"), "not ready", "auth.log")
    assert is_problem(checks.check_service("auth", url, "auth.log"), "Nothing answers", "auth.log")


@pytest.mark.parametrize(("ahead", "words"), [(40, "ahead of"), (-40, "behind")])
def test_a_clock_that_is_off_is_found(ahead: float, words: str) -> None:
    with web_server({"/healthz": "ok"}, ahead=ahead) as url:
        assert is_problem(checks.check_clock("auth", f"{url}/healthz"), words, "NTP")
    with web_server({"/healthz": "ok"}, ahead=ahead / 2) as url:
        assert checks.check_clock("auth", f"{url}/healthz").state == "ok"
    assert checks.check_clock("auth", f"{url}/healthz").state == "unknown"


def test_a_wrong_public_address_is_found() -> None:
    server, resource = "/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp"
    with web_server({server: '{"issuer": "http://127.0.0.1:7411"}'}) as url:
        assert is_problem(checks.check_public(url, f"{url}/mcp"), "is http://127.0.0.1:7411", "--public-url")
    assert is_problem(checks.check_public(url, f"{url}/mcp"), "Nothing answers", "proxy")
    with web_server({server: "<html>Welcome to nginx</html>"}) as url:
        assert is_problem(checks.check_public(url, f"{url}/mcp"), "not as Isthmus does", "proxy")
    pages: dict[str, str] = {}
    with web_server(pages) as url:
        pages[server] = f'{{"issuer": "{url}"}}'
        assert is_problem(checks.check_public(url, f"{url}/mcp"), "404", "oauth-protected-resource")
        pages[resource] = '{"resource": "http://127.0.0.1:7410/mcp"}'
        assert is_problem(checks.check_public(url, f"{url}/mcp"), "is http://127.0.0.1:7410/mcp", "--public-url")
        pages[resource] = f'{{"resource": "{url}/mcp"}}'
        assert checks.check_public(url, f"{url}/mcp").state == "ok"
