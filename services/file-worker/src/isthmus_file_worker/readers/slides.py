"""PowerPoint presentations: a page a slide, with its title, texts, tables and notes."""

import io
from collections.abc import Iterable, Iterator

import pptx
from pptx.shapes.base import BaseShape
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape
from pptx.slide import Slide

from isthmus_file_worker.readers import packages
from isthmus_file_worker.readers.messages import Facts, Job, Pages
from isthmus_file_worker.readers.pages import window

EMPTY = "[This slide has no text.]"


def read(file: io.BufferedReader, job: Job) -> Pages:
    """The text of the slides."""
    packages.check(file, job.path)
    return window(("\n".join(_lines(slide)) or EMPTY for slide in pptx.Presentation(file).slides), job)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """How many slides there are."""
    packages.check(file, job.path)
    return Facts(pages=len(pptx.Presentation(file).slides))


def _lines(slide: Slide) -> Iterator[str]:
    title = slide.shapes.title
    if title is not None and (text := title.text_frame.text.strip()):
        yield f"# {text}"
    for shape in _shapes(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield from _texts(shape)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
        yield f"Notes: {notes.text.strip()}"


def _shapes(shapes: Iterable[BaseShape]) -> Iterator[BaseShape]:
    """Those in groups, too."""
    waiting = list(shapes)[::-1]
    while waiting:
        shape = waiting.pop()
        if isinstance(shape, GroupShape):
            waiting += list(shape.shapes)[::-1]
        else:
            yield shape


def _texts(shape: BaseShape) -> Iterator[str]:
    if isinstance(shape, GraphicFrame) and shape.has_table:
        for row in shape.table.rows:
            yield "\t".join(" ".join(cell.text.split()) for cell in row.cells)
    elif shape.has_text_frame and (text := shape.text_frame.text.strip()):  # pyright: ignore
        yield text.replace("\v", "\n")
