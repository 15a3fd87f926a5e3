"""Lists of very many files, in constant memory."""

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from buckets import rclone_server
from stores import Store

PER_FOLDER = 1000


def make(root: Path, files: int) -> None:
    """So many empty files, a thousand in a folder."""
    for folder in range(files // PER_FOLDER):
        path = root / f"{folder:04}"
        path.mkdir()
        descriptor = os.open(path, os.O_RDONLY)
        for name in range(PER_FOLDER):
            os.close(os.open(f"{name:04}.txt", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def list_all(store: Store, files: int, most_growth: int) -> None:
    """Every page; prints what it took. Memory may grow by so many bytes, the process's own housekeeping."""
    await store.ask("list_files", recursive=True, limit=1000)
    before = most = resident()
    began, count, latest, cursor = time.monotonic(), 0, "", None
    while True:
        page = await store.ask("list_files", recursive=True, limit=1000, cursor=cursor)
        for entry in page["entries"]:
            path = entry["path"] + ("/" if entry["kind"] == "folder" else "")
            assert path > latest
            latest = path
        count += len(page["entries"])
        most = max(most, resident())
        if (cursor := page["next_cursor"]) is None:
            break
    print(
        f"{count:,} entries in {time.monotonic() - began:.1f} s; "
        f"{before / 1e6:.1f} MB at first, {most / 1e6:.1f} MB at most"
    )
    assert count == files + files // PER_FOLDER
    assert most - before < most_growth


@pytest.mark.timeout(90)
async def test_two_hundred_thousand_files_are_listed_in_constant_memory(tmp_path: Path) -> None:
    await asyncio.to_thread(make, tmp_path, 200_000)
    store = Store.over(tmp_path)
    await list_all(store, 200_000, 8_000_000)
    await asyncio.to_thread(shutil.rmtree, tmp_path)


@pytest.mark.timeout(90)
async def test_twenty_thousand_objects_are_listed_in_constant_memory(tmp_path: Path) -> None:
    with rclone_server(tmp_path) as endpoint:
        place = endpoint.bucket()
        await asyncio.to_thread(make, tmp_path / place.bucket, 20_000)
        await list_all(Store.at(place), 20_000, 8_000_000)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_million_files_are_listed_in_constant_memory(tmp_path: Path) -> None:
    await asyncio.to_thread(make, tmp_path, 1_000_000)
    await list_all(Store.over(tmp_path), 1_000_000, 8_000_000)
    await asyncio.to_thread(shutil.rmtree, tmp_path)
