"""Local folders are watched: whoever follows a resource hears of changes, whoever makes them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from nats.aio.msg import Msg

from isthmus import bus, subjects
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.worker import file_worker
from servers import NatsServer
from shelf import served
from stores import fill


@asynccontextmanager
async def heard(nats: NatsServer, root: Path) -> AsyncGenerator[set[str]]:
    """The URIs of which a gateway hears, once it hears at all."""
    client = await bus.connect(nats.settings("gateway"), "gateway")
    uris: set[str] = set()

    async def note(message: Msg) -> None:
        uris.add(message.data.decode())

    await client.subscribe(subjects.updated("file", "reports"), cb=note)
    await client.flush()
    worker = file_worker({"reports": StoreSettings(path=str(root))})
    async with served(worker, nats, user="file_worker"):
        number = 0
        while "store://reports" not in uris:
            number += 1
            (root / f"first{number}").touch()
            await asyncio.sleep(0.1)
        yield uris
    await client.close()


async def until(uris: set[str], *wanted: str) -> None:
    async with asyncio.timeout(10):
        while not {f"store://reports{uri}" for uri in wanted} <= uris:
            await asyncio.sleep(0.02)


async def test_what_others_do_to_a_folder_is_told(nats: NatsServer, tmp_path: Path) -> None:
    root = tmp_path / "store"
    fill(root, {"a/b.txt": "b"})
    fill(tmp_path / "outside", {"secret.txt": "x"})
    (root / "link").symlink_to(tmp_path / "outside")
    async with heard(nats, root) as uris:
        fill(root, {"a/b.txt": "changed", "new/deep/c d.txt": "c"})
        fill(tmp_path / "outside", {"secret.txt": "changed"})
        fill(root, {".isthmus-1": "ours"})
        await until(uris, "/a/b.txt", "/a/", "/new/", "")
        (root / "a/b.txt").rename(root / "a/renamed.txt")
        (root / "first1").unlink()
        await until(uris, "/a/renamed.txt", "/first1")
    assert not [uri for uri in uris if "link" in uri or "secret" in uri or "isthmus" in uri]


async def test_a_folder_that_is_made_anew_is_watched_again(nats: NatsServer, tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    async with heard(nats, root) as uris:
        root.rename(tmp_path / "old")
        root.mkdir()
        uris.clear()
        async with asyncio.timeout(15):
            number = 0
            while not [uri for uri in uris if "second" in uri]:
                number += 1
                (root / f"second{number}").touch()
                await asyncio.sleep(0.1)
