"""Rows and pages as the text that a model reads."""

from isthmus_file_worker.readers.messages import Pages, Rows
from isthmus_file_worker.readers.rows import line


def table_text(rows: Rows, start: int) -> str:
    """A line with the names, a line a row, tabs between the values; then how many these are, and how to go on.

    What would not be clear as it is comes as JSON: null, lists, objects, and text that reads like those.
    """
    lines = [line(rows.columns)] if rows.columns else []
    lines += [line(row) for row in rows.rows]
    if rows.sheets is not None and len(rows.sheets) > 1:
        lines.append(f"(sheet {rows.sheet} of {', '.join(rows.sheets)})")
    count = f"{len(rows.rows)} row{'' if len(rows.rows) == 1 else 's'}"
    if rows.rows and (start > 1 or rows.more):
        count = f"rows {start} to {start + len(rows.rows) - 1}"
    if rows.total is not None and rows.total != len(rows.rows):
        count += f" of {rows.total}"
    end = f"; more follow: go on with start={start + len(rows.rows)}" if rows.more else ""
    return "\n".join([*lines, f"({count}{end})", *(f"({note})" for note in rows.notes)])


def document_text(pages: Pages, start: int) -> str:
    """Each page below a line that says which one it is; then how to go on."""
    parts = [f"[Page {number} of {pages.total}]\n{text}" for number, text in enumerate(pages.pages, start)]
    if not parts:
        parts.append("[The document is empty.]")
    if pages.cut:
        parts.append(f"[Page {start} is longer than an answer may be and is cut.]")
    if pages.more:
        parts.append(f"[There are more pages: go on with start={start + len(pages.pages)}.]")
    return "\n\n".join(parts)
