"""JSON Lines: an object a line."""

import io
import itertools
import time
from collections.abc import Iterator
from typing import cast

import msgspec

from isthmus_file_worker.readers.messages import Column, Facts, Job, JsonValue, Rows
from isthmus_file_worker.readers.refusing import Refused, broken, too_large
from isthmus_file_worker.readers.rows import FRAME, LONGEST_NAME, WIDEST, Collected, answer, cell
from isthmus_file_worker.readers.selecting import places_of, start_beyond
from isthmus_file_worker.readers.values import json_value

LINE = 16 * 1024 * 1024
"""Characters of a line."""
SAMPLED = 100
"""Rows from which the columns are told."""

Record = dict[str, JsonValue]


def read(file: io.BufferedReader, job: Job) -> Rows:
    """The rows that are wanted; the columns are all names that these rows have, in the order in which they come up."""
    lines = _lines(file, job)
    skipped = sum(1 for _ in itertools.islice(lines, job.start - 1))
    names: dict[str, None] = dict.fromkeys(job.columns)
    records: list[Record] = []
    kept = Collected(job.budget, job.limit)
    room = job.budget - FRAME
    for number, line in lines:
        record = _record(line, number, job)
        new = [] if job.columns else [name for name in record if name not in names]
        # What is not in a row is null in it, in JSON and in text.
        size = sum(len(cell(record[name]).encode()) for name in names if name in record) * 2
        size += 10 * (len(records) * len(new) + len(names) + len(new)) + 4 * sum(len(name) for name in new)
        size += sum(2 * len(cell(record[name]).encode()) for name in new)
        if records and (size > room or len(records) == job.limit):
            kept.more = True
            break
        names |= dict.fromkeys(new)
        records.append(record)
        room -= size
    if not records and job.start > 1:
        raise start_beyond(job, skipped)
    found = list(names)
    places, left_out = places_of(msgspec.structs.replace(job, columns=found if job.columns else []), found)
    chosen = [found[place] for place in places]
    kept.head(chosen)
    for record in records:
        if not kept.add([record.get(name) for name in chosen]):
            break
    if records and job.columns and (missing := [name for name in job.columns if not any(name in r for r in records)]):
        left_out.append(f"None of these rows has {', '.join(name[:100] for name in missing[:10])}.")
    total = None if kept.more else skipped + len(kept.rows)
    notes = left_out if total != 0 else ["The file is empty."]
    return answer(chosen, kept, notes, total=total)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """The columns of the first rows, and how many rows there are if they can be counted in time."""
    end = time.monotonic() + job.seconds
    kinds: dict[str, set[str]] = {}
    count = 0
    for number, line in _lines(file, job):
        if count < SAMPLED:
            for name, value in _record(line, number, job).items():
                kinds.setdefault(name, set()).add(_kind(value))
        count += 1
        if count % 1000 == 0 and time.monotonic() > end:
            return Facts(
                columns=_columns(kinds), notes=[f"Its rows were not counted to the end: there are more than {count}."]
            )
    return Facts(columns=_columns(kinds), rows=count)


def _columns(kinds: dict[str, set[str]]) -> list[Column]:
    named = itertools.islice(kinds.items(), WIDEST)
    return [Column(name[:LONGEST_NAME], " or ".join(sorted(found - {"null"}))) for name, found in named]


def _kind(value: JsonValue) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _lines(file: io.BufferedReader, job: Job) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line that is not empty."""
    text = io.TextIOWrapper(file, job.encoding, "replace", newline="\n")
    for number in itertools.count(1):
        line = text.readline(LINE + 1)
        if not line:
            return
        if len(line) > LINE:
            raise too_large(
                f"{job.path} has more than {LINE} characters in line {number}, too many for a row; `offset` reads the "
                "file by bytes."
            )
        if stripped := line.strip():
            yield number, stripped.encode()


def _record(line: bytes, number: int, job: Job) -> Record:
    try:
        value = json_value(msgspec.json.decode(line))
    except (msgspec.DecodeError, RecursionError):
        raise _no_json(number, job) from None
    return cast("Record", value) if isinstance(value, dict) else {"value": value}


def _no_json(number: int, job: Job) -> Refused:
    refused = broken(f"line {number}")
    message = f'Line {number} of {job.path} is no JSON that can be read; encoding "utf-8" reads the file as text.'
    return Refused(msgspec.structs.replace(refused.refusal, message=message))
