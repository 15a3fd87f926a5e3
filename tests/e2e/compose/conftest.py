"""One stack for all tests here."""

from collections.abc import Generator

import pytest

from composed import Composed, composed


@pytest.fixture(scope="session")
def stack() -> Generator[Composed]:
    """compose.yaml as it is, on ports of its own."""
    with composed() as running:
        yield running
