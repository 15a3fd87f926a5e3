"""What all tests share."""

from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

import node
from servers import NatsServer, nats_server

# A machine that is busy with other tests is no finding.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def javascript() -> node.Javascript:
    """Node, and the packages of `tests/javascript`. The first test to use it needs a longer timeout."""
    return node.installed()


@pytest.fixture
def nats(tmp_path: Path) -> Generator[NatsServer]:
    """A nats-server of this test's own, with the product's configuration and users."""
    folder = tmp_path / "nats"
    folder.mkdir()
    with nats_server(folder) as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what tests recorded as their `summary`, whether they passed or not."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "summary":
                    terminalreporter.write_line(str(value))
