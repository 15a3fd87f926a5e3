"""Folders on a local disk whose changes are noticed, whoever makes them, and told to those who follow the resources."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path

from isthmus.errors import ToolError
from isthmus.tools import Updated
from isthmus_file_worker.folder import Folder
from isthmus_file_worker.following import TOLD, file_uri, folder_uri, uris_above
from isthmus_file_worker.paths import DEPTH, Names, can_be_named

TOGETHER = 400
"""Milliseconds within which changes are told together."""
AGAIN = 30.0
"""Seconds until a folder is tried again that was not there."""

logger = logging.getLogger("isthmus.files")
logging.getLogger("watchfiles").setLevel(logging.WARNING)


async def watch(folder: Folder, updated: Updated) -> None:
    """Tells of changes until it is cancelled. A disk that cannot be watched is said so in the log, once."""
    said = False
    while True:
        try:
            async with aclosing(_changes(folder.root)) as batches:
                async for paths in batches:
                    said = False
                    changed = await asyncio.to_thread(_changed, folder, paths)
                    if folder.index is not None:
                        folder.index.touch(changed)
                    for uri in _uris(folder.name, changed):
                        await updated(uri)
        except OSError as error:
            if not said:
                logger.warning("%s: changes of its files cannot be noticed: %s", folder.name, error)
            said = True
            await asyncio.sleep(AGAIN)


async def _changes(root: Path) -> AsyncGenerator[Collection[str]]:
    """Paths that came, went or changed, in batches, for as long as the folder is the same one."""
    import watchfiles  # a worker of buckets does without

    stop = threading.Event()
    found = watchfiles.watch(
        root,
        watch_filter=None,
        debounce=TOGETHER,
        stop_event=stop,
        yield_on_timeout=True,
        raise_interrupt=False,
        ignore_permission_denied=True,
    )
    pool = ThreadPoolExecutor(1, thread_name_prefix="watch")  # setting up watches on a large tree takes long
    try:
        loop = asyncio.get_running_loop()
        watched = await loop.run_in_executor(pool, root.stat)
        while (batch := await loop.run_in_executor(pool, next, found, None)) is not None:
            yield {path for _, path in batch}
            if (await loop.run_in_executor(pool, root.stat)).st_ino != watched.st_ino:
                return
    finally:
        stop.set()
        pool.shutdown(wait=False)


def _changed(folder: Folder, paths: Iterable[str]) -> list[Names]:
    """What of it is in the store."""
    found = (_names(folder.root, path) for path in paths)
    return [names for names in found if names is not None and _is_inside(folder, names)]


def _uris(store: str, changed: Iterable[Names]) -> Iterator[str]:
    """The resources that changed: each file or folder, the list that it is in, and those above."""
    uris: dict[str, None] = {}
    for names in changed:
        uris |= dict.fromkeys([file_uri(store, names), folder_uri(store, names), *uris_above(store, names)])
        if len(uris) >= TOLD:
            break
    return iter(uris)


def _names(root: Path, path: str) -> Names | None:
    """None for what no path can name."""
    try:
        names = Path(path).relative_to(root).parts
    except ValueError:
        return None
    return names if len(names) <= DEPTH and all(map(can_be_named, names)) else None


def _is_inside(folder: Folder, names: Names) -> bool:
    """Whether it is, or was, a file or folder of the store, and not behind a link."""
    with suppress(ToolError):
        return not names or folder.status(names[:-1]).kind == "folder"
    return False
