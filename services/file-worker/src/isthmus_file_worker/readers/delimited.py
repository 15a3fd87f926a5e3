"""CSV and its kin: values between commas, semicolons, tabs or bars (RFC 4180, and what programs make of it)."""

import csv
import io
import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator

from isthmus_file_worker.readers.messages import Column, Facts, Job, JsonValue, Rows
from isthmus_file_worker.readers.refusing import broken, too_large
from isthmus_file_worker.readers.rows import LONGEST_NAME, WIDEST, answer, collect, unique_names
from isthmus_file_worker.readers.selecting import places_of, start_beyond

LINE = 16 * 1024 * 1024
"""Characters of a line."""
VALUE = 1024 * 1024
"""Characters of a value."""
LOOKED_AT = 20
"""Rows from which it is found out what stands between values."""
BEGINNING = 16 * 1024
"""Characters of each of those."""
BETWEEN = ",;\t|"

_DIGITS = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{1,15}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)([eE][+-]?\d+)?%?")

csv.field_size_limit(VALUE)


def read(file: io.BufferedReader, job: Job) -> Rows:
    """The rows that are wanted. Numbers are numbers where all of a column are and none would be written otherwise."""
    names, rows, notes = _opened(file, job)
    if not names:
        return Rows(columns=[], rows=[], more=False, total=0, notes=["The file is empty."])
    places, left_out = places_of(job, names)
    chosen = [names[place] for place in places]
    skipped = sum(1 for _ in itertools.islice(rows, job.start - 1))
    ragged = widest = 0

    def picked() -> Iterator[list[JsonValue]]:
        nonlocal ragged, widest
        for row in rows:
            if len(row) != len(names):
                ragged += 1
                widest = max(widest, len(row))
            values: list[JsonValue] = [row[place] if place < len(row) else None for place in places]
            if not job.columns and not left_out:
                values += row[len(names) : WIDEST]
            yield values

    kept = collect(picked(), chosen, job.budget, job.limit)
    if not kept.rows and job.start > 1:
        raise start_beyond(job, skipped)
    if ragged:
        notes.append(f"{ragged} rows have more or fewer values than the {len(names)} of the first row.")
        width = max((len(row) for row in kept.rows), default=len(chosen))
        chosen += [f"column{place + 1}" for place in range(len(chosen), width)]
        for row in kept.rows:
            row += [None] * (len(chosen) - len(row))
    if any("\ufffd" in text for row in kept.rows for text in row if text):
        notes.append(f"Some bytes are not valid {job.encoding} and show as \ufffd.")
    _type(kept.rows)
    return answer(chosen, kept, notes + left_out, total=None if kept.more else skipped + len(kept.rows))


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """Its columns, and its rows if they can be counted in time."""
    names, rows, notes = _opened(file, job)
    columns = [Column(name) for name in names[:WIDEST]]
    if len(names) > WIDEST:
        notes.append(f"It has {len(names)} columns; the first {WIDEST} are here.")
    end = time.monotonic() + job.seconds
    count = 0
    for _ in rows:
        count += 1
        if count % 1000 == 0 and time.monotonic() > end:
            notes.append(f"Its rows were not counted to the end: there are more than {count}.")
            return Facts(columns=columns, notes=notes)
    return Facts(columns=columns, rows=count, notes=notes)


def _opened(file: io.BufferedReader, job: Job) -> tuple[list[str], Iterator[list[str]], list[str]]:
    """The names of the columns, the rows below them, and what is to be said."""
    lines = _lines(io.TextIOWrapper(file, job.encoding, "replace", newline=""), job)
    first = list(itertools.islice(lines, LOOKED_AT))
    between = "\t" if job.format == "tsv" else None
    if first and first[0].lower().startswith("sep=") and len(first[0].strip()) == 5:  # as Excel says it
        between = first.pop(0)[4]
    rows = _rows(itertools.chain(first, lines), between or _between(first))
    head = next(rows, list[str]())
    notes: list[str] = []
    if head and all(_is_value(text) for text in head):
        rows = itertools.chain([head], rows)
        notes.append("The first row has values, so the columns have no names.")
        return [f"column{place}" for place in range(1, len(head) + 1)], rows, notes
    names, changed = unique_names(head)
    if changed:
        notes.append(f"Names of columns that are missing, twice or longer than {LONGEST_NAME} characters were changed.")
    return names, rows, notes


def _lines(text: io.TextIOWrapper, job: Job) -> Iterator[str]:
    number = 0
    while line := text.readline(LINE + 1):
        number += 1
        if len(line) > LINE:
            raise too_large(
                f"{job.path} has more than {LINE} characters in line {number}, too many for a row; `offset` reads the "
                "file by bytes."
            )
        yield line


def _rows(lines: Iterator[str], between: str) -> Iterator[list[str]]:
    try:
        for row in csv.reader(lines, delimiter=between):
            if row:
                yield row
    except csv.Error as error:
        raise broken(str(error)) from None


def _between(lines: list[str]) -> str:
    """The sign that cuts the most lines into the same number of values, more than one."""

    beginnings = [line[:BEGINNING] for line in lines]

    def score(sign: str) -> tuple[int, int]:
        try:
            widths = Counter(len(row) for row in csv.reader(beginnings, delimiter=sign) if row)
        except csv.Error:
            return (0, 0)
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1], item[0]), default=(0, 0))
        return (count, width) if width > 1 else (0, 0)

    return max(BETWEEN, key=score)


def _is_value(text: str) -> bool:
    """Whether it can hardly be a name."""
    return bool(_NUMBER.fullmatch(text.strip()) or _MOMENT.fullmatch(text.strip()))


def _type(rows: list[list[JsonValue]]) -> None:
    """Makes numbers of the columns that have nothing else, and nulls of what is empty, in place."""
    for place in range(len(rows[0]) if rows else 0):
        values = {row[place] for row in rows} - {"", None}
        whole = all(_DIGITS.fullmatch(text) for text in values)
        decimal = whole or all(_DIGITS.fullmatch(text) or _same(text) for text in values)
        for row in rows:
            text = row[place]
            if not text:
                row[place] = None
            elif whole or (decimal and _DIGITS.fullmatch(text)):
                row[place] = int(text)
            elif decimal:
                row[place] = float(text)


def _same(text: str) -> bool:
    """Whether it is written as the number would be: 1.50 is not, and could be a price or a version."""
    return _DECIMAL.fullmatch(text) is not None and repr(float(text)) == text
