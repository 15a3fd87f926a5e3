"""Pages of text: cut from paragraphs where a format has none, and those that fit an answer."""

from collections.abc import Iterable, Iterator

from isthmus_file_worker.readers.messages import Job, Pages
from isthmus_file_worker.readers.refusing import nothing_there

PAGE = 3000
"""Characters of a page, about, where the format has none."""
MARKED = 40
"""Bytes that the line before a page takes."""


def paged(paragraphs: Iterable[str]) -> Iterator[str]:
    """Pages that end where a paragraph does; a paragraph much longer than a page is cut."""
    page: list[str] = []
    length = 0
    for paragraph in paragraphs:
        for begin in range(0, max(len(paragraph), 1), 2 * PAGE):
            piece = paragraph[begin : begin + 2 * PAGE]
            if page and length + len(piece) > PAGE:
                yield "\n".join(page)
                page, length = [], 0
            page.append(piece)
            length += len(piece) + 1
    if page:
        yield "\n".join(page)


def window(pages: Iterable[str], job: Job, total: int | None = None) -> Pages:
    """The pages that are wanted, as far as they fit. Without `total`, all pages are gone through to count them.

    With it, `pages` are those from `job.start` on, and are not asked for more than one beyond the answer.
    """
    kept: list[str] = []
    room = job.budget
    count = 0 if total is None else job.start - 1
    more = cut = False
    for page in pages:
        count += 1
        if count < job.start or more:
            continue
        clean = page.encode(errors="replace")
        if len(kept) == job.limit or (kept and len(clean) + MARKED > room):
            more = True
        else:
            cut = len(clean) + MARKED > room
            kept.append(clean[: max(room - MARKED, 0)].decode(errors="ignore") if cut else clean.decode())
            room -= len(clean) + MARKED
        if more and total is not None:
            break
    total = count if total is None else total
    if job.start > 1 and job.start > total:
        raise nothing_there(f"{job.path} has {total} page{'' if total == 1 else 's'}.")
    return Pages(pages=kept, total=total, more=more, cut=cut)
