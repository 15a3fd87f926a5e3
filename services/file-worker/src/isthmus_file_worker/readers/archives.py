"""What is in an archive; nothing of it is unpacked."""

import io
import itertools
import tarfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath

from isthmus_file_worker.readers.messages import Facts, Job, JsonValue, Rows
from isthmus_file_worker.readers.rows import answer, collect
from isthmus_file_worker.readers.selecting import start_beyond

COLUMNS = ["path", "size", "modified"]
LATEST = 253402300799
"""The last second that ISO 8601 can write with four digits for the year."""

_PACKED = (".gz", ".bz2", ".xz", ".tgz")


def read(file: io.BufferedReader, job: Job) -> Rows:
    """The entries that are wanted, with their sizes in bytes; folders end with a slash and have none."""
    entries, notes = _entries(file, job)
    skipped = sum(1 for _ in itertools.islice(entries, job.start - 1))
    kept = collect(entries, COLUMNS, job.budget, job.limit)
    if not kept.rows and job.start > 1:
        raise start_beyond(job, skipped)
    if not kept.rows:
        notes.append("The archive is empty.")
    return answer(COLUMNS, kept, notes, total=None if kept.more else skipped + len(kept.rows))


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """How many entries there are, if they can be counted in time."""
    entries, notes = _entries(file, job)
    end = time.monotonic() + job.seconds
    count = 0
    for _ in entries:
        count += 1
        if time.monotonic() > end:
            return Facts(notes=[*notes, f"Its entries were not counted to the end: there are more than {count}."])
    return Facts(entries=count, notes=notes)


def _entries(file: io.BufferedReader, job: Job) -> tuple[Iterator[list[JsonValue]], list[str]]:
    if job.format == "zip":
        found = zipfile.ZipFile(file).infolist()
        locked = any(entry.flag_bits & 1 for entry in found)
        return map(_zipped, found), ["Its files are protected by a password."] if locked else []
    try:
        archive = tarfile.open(fileobj=file, mode="r:*")  # noqa: SIM115  (it only reads from `file`)
    except tarfile.ReadError:
        if job.format == "tar":
            raise
        name = PurePosixPath(job.path)
        inner = name.stem if name.suffix.lower() in _PACKED else name.name
        return iter([[inner, None, None]]), ["This is one file, compressed, and no archive of several."]
    return _tarred(archive), []


def _zipped(entry: zipfile.ZipInfo) -> list[JsonValue]:
    year, month, day, hour, minute, second = entry.date_time
    modified = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    return [_clean(entry.filename), None if entry.is_dir() else entry.file_size, modified]


def _tarred(archive: tarfile.TarFile) -> Iterator[list[JsonValue]]:
    while (entry := archive.next()) is not None:
        archive.members = []  # it would remember all  # pyright: ignore[reportAttributeAccessIssue]
        moment = datetime.fromtimestamp(min(max(int(entry.mtime), 0), LATEST), UTC)
        name = _clean(entry.name)
        folder = entry.isdir()
        yield [f"{name}/" if folder else name, entry.size if entry.isreg() else None, f"{moment:%Y-%m-%dT%H:%M:%SZ}"]


def _clean(name: str) -> str:
    return name.encode(errors="replace").decode()
