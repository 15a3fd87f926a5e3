"""What calls cost inside the worker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import worker, writing
from isthmus.demo import database


@pytest.mark.alone
def test_a_read_takes_little_longer_than_sqlalchemy_alone(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    database.create(tmp_path / "demo.db")
    ratio = worker.measure(tmp_path / "demo.db")
    record_property("summary", f"plain SQLAlchemy takes {ratio:.2f} times as long as a whole read in the worker")
    assert ratio >= 0.7


@pytest.mark.alone
def test_a_thousand_new_records_take_little_longer_than_sqlalchemy_alone(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    (tmp_path / "shop.db").touch()
    ratios = writing.measure("sqlite", f"sqlite:///{tmp_path}/shop.db")
    said = ", ".join(f"{name} takes {ratio:.2f} times as long" for name, ratio in ratios.items())
    record_property("summary", f"as 1,000 new records in the worker, {said}")
    assert ratios["insert().values([…])"] >= 0.6
