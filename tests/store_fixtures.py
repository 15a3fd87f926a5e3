"""Places for file stores; a test module takes them with `pytest_plugins = ["store_fixtures"]`."""

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from buckets import Endpoint, moto_server, rclone_server
from stores import FolderPlace, Place


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Generator[Endpoint]:
    with rclone_server(tmp_path_factory.mktemp("rclone")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def moto() -> Generator[Endpoint]:
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "rclone", "moto"])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Place]:
    """Makes an empty place of each kind: a folder, a bucket, a part of a bucket."""
    if request.param == "folder":
        return lambda: FolderPlace(tmp_path_factory.mktemp("store"))
    endpoint: Endpoint = request.getfixturevalue(request.param)
    return lambda: endpoint.bucket("some/where/" if request.param == "moto" else "")


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    """An empty place, of each kind."""
    return new_place()


@pytest.fixture
def folder(tmp_path: Path) -> FolderPlace:
    """An empty folder."""
    root = tmp_path / "store"
    root.mkdir()
    return FolderPlace(root)
