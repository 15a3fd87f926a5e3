"""Word documents: paragraphs, headings and tables as they follow each other."""

import io
from collections.abc import Iterator

import docx
from docx.table import Table

from isthmus_file_worker.readers import packages
from isthmus_file_worker.readers.messages import Facts, Job, Pages
from isthmus_file_worker.readers.pages import paged, window


def read(file: io.BufferedReader, job: Job) -> Pages:
    """Word decides on pages when it prints; here they are about as long."""
    packages.check(file, job.path)
    return window(paged(_paragraphs(file)), job)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """How many pages `read` makes of it."""
    packages.check(file, job.path)
    return Facts(pages=sum(1 for _ in paged(_paragraphs(file))))


def _paragraphs(file: io.BufferedReader) -> Iterator[str]:
    document = docx.Document(file)
    levels = {style.style_id: _level(style.name or "") for style in document.styles}
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            yield from _lines(item)
        elif text := item.text.strip():
            # `item.style` would look at every style of the document, for every paragraph.
            style: str | None = item._p.style  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            level = 0 if style is None else levels.get(style, 0)
            yield f"{'#' * level} {text}".lstrip()


def _level(style: str) -> int:
    """1 for `Heading 1` and titles, 0 for what is no heading."""
    number = style.removeprefix("Heading ")
    return 1 if style == "Title" else int(number) if number != style and number.isdecimal() else 0


def _lines(table: Table) -> Iterator[str]:
    """A line a row, tabs between the cells; a cell that spans several is there once."""
    for row in table.rows:
        cells: list[str] = []
        before = None
        for cell in row.cells:
            if cell is not before:
                cells.append(" ".join(cell.text.split()))
            before = cell
        yield "\t".join(cells)
