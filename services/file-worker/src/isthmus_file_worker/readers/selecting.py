"""Which columns of a table, and from which row on."""

from collections.abc import Sequence

from isthmus_file_worker.readers.messages import Job
from isthmus_file_worker.readers.refusing import Refused, nothing_there, too_large, unknown
from isthmus_file_worker.readers.rows import WIDEST

NAMES_BUDGET = 64 * 1024
"""Bytes of the names of columns in an answer."""


def places_of(job: Job, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Where the wanted columns are, and what is to be said of those that are left out."""
    if len(job.columns) > WIDEST:
        raise too_large(f"More than {WIDEST} columns are too many for one answer.")
    if job.columns:
        known = {name: place for place, name in enumerate(names)}
        for name in job.columns:
            if name not in known:
                raise unknown(f"{job.path} has no column {name[:100]}.", name, names)
        return [known[name] for name in job.columns], []
    count = room = 0
    for name in names[:WIDEST]:
        room += len(name.encode()) * 2 + 8
        if room > NAMES_BUDGET:
            break
        count += 1
    if count == len(names):
        return list(range(count)), []
    return list(range(count)), [f"It has {len(names)} columns; the first {count} are here, `columns` chooses others."]


def start_beyond(job: Job, rows: int) -> Refused:
    """The table ends before the first row that is wanted."""
    return nothing_there(f"{job.path} has {rows} row{'' if rows == 1 else 's'}.")
