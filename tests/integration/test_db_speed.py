"""What a read costs inside the worker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import worker
from isthmus.demo import database


@pytest.mark.alone
def test_a_read_takes_little_longer_than_sqlalchemy_alone(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    database.create(tmp_path / "demo.db")
    ratio = worker.measure(tmp_path / "demo.db")
    record_property("summary", f"plain SQLAlchemy takes {ratio:.2f} times as long as a whole read in the worker")
    assert ratio >= 0.7
