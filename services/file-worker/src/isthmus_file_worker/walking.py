"""A folder on a local disk, walked in order."""

import heapq
import os
from collections.abc import Generator, Iterator

from isthmus_file_worker.descriptors import enter, entries, look_at, status_of
from isthmus_file_worker.paths import DEPTH, Names, show
from isthmus_file_worker.store import Selection, Status
from isthmus_file_worker.threads import Stop

BATCH = 10_000
"""Names of one folder that are sorted, and kept, at a time."""


def walk(descriptor: int, names: Names, selection: Selection, stop: Stop) -> Generator[tuple[Names, Status]]:
    """The selected entries below an open folder, holding one batch of names for each folder on the way."""
    for key in _keys(descriptor, names, selection, stop):
        below = (*names, key.rstrip("/"))
        path = show(below)
        is_folder = key.endswith("/")
        is_after = (f"{path}/" if is_folder else path) > selection.after
        if is_after and selection.wanted(below) and (status := _status(descriptor, below, selection)):
            yield below, status
        if is_folder and _enters(below, selection):
            try:
                inner = enter(descriptor, below[-1])
            except OSError:
                continue  # gone meanwhile, or closed to the worker
            try:
                yield from walk(inner, below, selection, stop)
            finally:
                os.close(inner)


def _keys(descriptor: int, names: Names, selection: Selection, stop: Stop) -> Iterator[str]:
    """In order: `name` for a file, `name/` for a folder."""
    last = ""
    while True:
        found = (key for key in _unordered(descriptor, names, selection, stop) if key > last)
        batch = heapq.nsmallest(BATCH, found)
        yield from batch
        if len(batch) < BATCH:
            return
        last = batch[-1]


def _unordered(descriptor: int, names: Names, selection: Selection, stop: Stop) -> Iterator[str]:
    prefix = f"{show(names)}/" if names else ""
    after = selection.after
    for name, is_folder in entries(descriptor, stop):
        path = prefix + name
        if not selection.sees(path, is_folder):
            continue
        key = f"{path}/" if is_folder else path
        deep = is_folder and _enters((*names, name), selection)
        if (key > after or (deep and after.startswith(key))) and (selection.wanted((*names, name)) or deep):
            yield f"{name}/" if is_folder else name


def _enters(folder: Names, selection: Selection) -> bool:
    return len(folder) - len(selection.start) < selection.levels and len(folder) < DEPTH


def _status(parent: int, names: Names, selection: Selection) -> Status | None:
    try:
        status = status_of(look_at(parent, names[-1]))
    except OSError:
        return None  # gone meanwhile, or closed to the worker
    return status if selection.sees(show(names), status.kind == "folder") else None
