"""PDF, page by page."""

import io
from collections.abc import Iterator
from contextlib import closing

from pypdfium2 import PdfDocument, PdfiumError
from pypdfium2 import raw as pdfium

from isthmus_file_worker.readers.messages import Facts, Job, Pages
from isthmus_file_worker.readers.pages import window
from isthmus_file_worker.readers.refusing import broken, nothing_there, protected

SCAN = "[This page has no text; it may be a scan.]"


def read(file: io.BufferedReader, job: Job) -> Pages:
    """The text of the pages, in the order in which it is written there."""
    with closing(_opened(file)) as document:
        total = len(document)
        if job.start > total:
            raise nothing_there(f"{job.path} has {total} page{'' if total == 1 else 's'}.")
        return window(_texts(document, job.start - 1), job, total)


def inspect(file: io.BufferedReader, job: Job) -> Facts:
    """How many pages there are."""
    del job
    with closing(_opened(file)) as document:
        return Facts(pages=len(document))


def _opened(file: io.BufferedReader) -> PdfDocument:
    try:
        return PdfDocument(file)
    except PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise protected() from None
        raise broken(str(error)) from None


def _texts(document: PdfDocument, begin: int) -> Iterator[str]:
    for number in range(begin, len(document)):
        try:
            with closing(document[number]) as page, closing(page.get_textpage()) as text:
                found = text.get_text_bounded()
        except PdfiumError:
            yield "[This page is broken.]"
            continue
        # U+FFFE and U+0002 stand for the hyphen of a word that goes on in the next line.
        lines = found.replace("\r\n", "\n").replace("\ufffe", "-").replace("\x02", "-")
        yield lines.strip("\n") if lines.strip() else SCAN
