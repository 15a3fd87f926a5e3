"""Workbooks of Excel (xlsx, xlsm, xlsb, xls) and LibreOffice (ods), sheet by sheet."""

import io
import itertools
from collections.abc import Iterator

from python_calamine import CalamineSheet, CalamineWorkbook, PasswordError

from isthmus_file_worker.readers import packages
from isthmus_file_worker.readers.messages import Column, Facts, Job, JsonValue, Pages, Rows
from isthmus_file_worker.readers.pages import window
from isthmus_file_worker.readers.refusing import broken, protected, unknown
from isthmus_file_worker.readers.rows import LONGEST_NAME, WIDEST, answer, collect, line, unique_names
from isthmus_file_worker.readers.selecting import places_of, start_beyond
from isthmus_file_worker.readers.values import json_value

SHEETS = 500
"""Sheets that are named."""


def read(file: io.BufferedReader, job: Job) -> Rows | Pages:
    """The rows of a sheet that are wanted; the first row has the names. As text, all sheets, a page each."""
    book = _opened(file, job)
    if job.task == "text":
        return window(("\n".join(_text(book.get_sheet_by_name(name))) for name in book.sheet_names), job)
    if job.sheet and job.sheet not in book.sheet_names:
        raise unknown(f"{job.path} has no sheet {job.sheet[:100]}.", job.sheet, book.sheet_names)
    if not book.sheet_names:
        raise broken("no sheets")
    name = job.sheet or book.sheet_names[0]
    sheet = book.get_sheet_by_name(name)
    names, rows, notes = _named(sheet)
    places, left_out = places_of(job, names)
    chosen = [names[place] for place in places]
    total = max(sheet.height - 1, 0)
    if job.start > max(total, 1):
        raise start_beyond(job, total)
    if not names:
        notes.append("The sheet is empty.")
    picked = ([row[place] for place in places] for row in itertools.islice(rows, job.start - 1, None))
    kept = collect(picked, chosen, job.budget, job.limit)
    return answer(chosen, kept, notes + left_out, total=total, sheet=name[:LONGEST_NAME], sheets=_shown(book))


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """The sheets; columns and rows of the first one."""
    book = _opened(file, job)
    if not book.sheet_names:
        raise broken("no sheets")
    sheet = book.get_sheet_by_index(0)
    names, _, _ = _named(sheet)
    notes = (
        [f"Columns and rows are those of the sheet {book.sheet_names[0][:LONGEST_NAME]}."]
        if len(book.sheet_names) > 1
        else []
    )
    columns = [Column(name) for name in names[:WIDEST]]
    return Facts(columns=columns, rows=max(sheet.height - 1, 0), sheets=_shown(book), notes=notes)


def _shown(book: CalamineWorkbook) -> list[str]:
    return [name[:LONGEST_NAME] for name in book.sheet_names[:SHEETS]]


def _opened(file: io.BufferedReader, job: Job) -> CalamineWorkbook:
    if not job.path.lower().endswith(".xls"):
        packages.check(file, job.path)
    try:
        return CalamineWorkbook.from_filelike(file)
    except PasswordError:
        raise protected() from None


def _named(sheet: CalamineSheet) -> tuple[list[str], Iterator[list[JsonValue]], list[str]]:
    """The names in the first row, the rows below it, and what is to be said."""
    rows = _rows(sheet)
    names, changed = unique_names(next(rows, list[JsonValue]()))
    if not changed:
        return names, rows, []
    return (
        names,
        rows,
        [f"Names of columns that are missing, twice or longer than {LONGEST_NAME} characters were changed."],
    )


def _rows(sheet: CalamineSheet) -> Iterator[list[JsonValue]]:
    if sheet.height == 0:
        return
    for row in itertools.islice(sheet.iter_rows(), (sheet.start or (0, 0))[0], None):
        yield [_value(value) for value in row]


def _value(value: object) -> JsonValue:
    """Every number of a workbook is a double; most are meant as integers."""
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        return json_value(int(value))
    return json_value(value)


def _text(sheet: CalamineSheet) -> Iterator[str]:
    return (line(["" if value is None else value for value in row]) for row in _rows(sheet))
