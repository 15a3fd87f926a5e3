"""One stack for the end-to-end tests that need none of their own."""

import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from isthmus.demo import database as demo
from stack import SECRET, Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """The demo, a database without end, one that is down, and a folder that is hard to read."""
    folder = tmp_path_factory.mktemp("stack")
    with closing(sqlite3.connect(folder / "slow.db")) as database:
        database.execute(
            "create view endless as with recursive n(i) as (select 1 union all select i + 1 from n) "
            "select max(i) as i from n"
        )
        database.commit()
    make_files(folder / "hard")
    config = folder / "isthmus.toml"
    config.write_text(
        f"""
        [databases.slow]
        url = "sqlite:///{folder}/slow.db"

        [databases.down]
        url = "postgresql://reader:{SECRET}@127.0.0.1:1/sales"

        [databases.shop]
        url = "sqlite:///{folder}/data/demo/shop.db"
        access = "read-write"

        [files.hard]
        path = "{folder}/hard"
        access = "read-write"
        """
    )

    (folder / "data" / "demo").mkdir(parents=True)
    demo.create(folder / "data" / "demo" / "shop.db")
    with running_stack(folder / "data", "--config", str(config), ISTHMUS_CALL_TIMEOUT="2") as running:
        yield running


def make_files(folder: Path) -> None:
    """Text, bytes, much of it, and a way out."""
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    (folder / "program.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\n")
    (folder / "long.txt").write_text("".join(f"line {number}\n" for number in range(200_000)))
    (folder / "out").symlink_to("/etc")
