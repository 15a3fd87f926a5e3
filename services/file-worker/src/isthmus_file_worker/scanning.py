"""The text that is in files, as a search sees it: of texts in pieces, of documents page by page."""

import codecs
import time
from collections.abc import Iterator
from types import TracebackType

from isthmus.errors import DeadlineExceeded, TooLarge, ToolError
from isthmus_file_worker import media
from isthmus_file_worker.extracting import Reader, document_text
from isthmus_file_worker.indexing import Index
from isthmus_file_worker.store import OpenFile
from isthmus_file_worker.threads import Stop

PIECE = 1024 * 1024
SEARCHED = 64 * 1024 * 1024
"""Bytes of a text that are searched."""
EXTRACTED = 16 * 1024 * 1024
"""Bytes of text that are taken out of a document."""
RENEWED = 8.0
"""Seconds of work after which a reading process is ended: it has a bound on them, and one file may take 20."""

_AS_THEY_ARE = ("utf-8", "ascii")

Part = tuple[int, Iterator[bytes]]
"""The number of a page, 0 for what has none, and its text in UTF-8, in pieces."""


class Skipped(Exception):
    """A file, or the rest of one, is not searched."""

    def __init__(self, reason: str, *, partly: bool = False) -> None:
        self.reason = reason
        self.partly = partly


class Scanner:
    """Takes the text out of files, with one reading process for all documents of a call."""

    def __init__(self, stop: Stop, index: Index | None = None) -> None:
        """`index` may have the text of documents."""
        self._stop = stop
        self._index = index
        self._reader = Reader(stop)
        self._spent = 0.0
        """Seconds that the reading process has worked."""

    def __enter__(self) -> "Scanner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, traceback)

    def parts(self, file: OpenFile, path: str) -> Iterator[Part]:
        """Raises Skipped for what has no text, and after the part of it that is searched."""
        sample = file.read(0, media.SAMPLE)
        kind = media.recognize(sample, path, whole=len(sample) == file.status.size)
        if media.has_text_inside(kind):
            yield from self._document(file, path, kind)
            return
        encoding = media.encoding_of(kind)
        if not encoding:
            raise Skipped("no text")
        yield 0, pieces(file, encoding, self._stop)
        if file.status.size > SEARCHED:
            raise Skipped(f"all but the first {SEARCHED // 1024**2} MB", partly=True)

    def _document(self, file: OpenFile, path: str, kind: media.Document | media.Table) -> Iterator[Part]:
        pages = self._index.pages(path, file.status.etag) if self._index else None
        cut = False
        if pages is None:
            if self._spent > RENEWED:
                self._reader.__exit__(None, None, None)
                self._reader, self._spent = Reader(self._stop), 0.0
            began = time.monotonic()
            try:
                text = document_text(self._reader, file, path, kind, EXTRACTED)
            except (DeadlineExceeded, TooLarge):
                raise Skipped("documents that take too much to read") from None
            except ToolError:
                raise Skipped("could not be read") from None
            finally:
                self._spent += time.monotonic() - began
            pages, cut = text.pages, text.more or text.cut
        for number, page in enumerate(pages, 1):
            yield number, iter((page.encode(),))
        if cut:
            raise Skipped(f"all but the first {EXTRACTED // 1024**2} MB", partly=True)


def pieces(file: OpenFile, encoding: str, stop: Stop) -> Iterator[bytes]:
    """A text in UTF-8, as far as it is searched; what does not decode becomes U+FFFD, or stays as it is."""
    decoder = None if encoding in _AS_THEY_ARE else codecs.getincrementaldecoder(encoding)("replace")
    offset = 0
    while offset < SEARCHED:
        stop.check()
        data = file.read(offset, min(PIECE, SEARCHED - offset))
        if not data:
            return
        offset += len(data)
        yield data if decoder is None else decoder.decode(data).encode(errors="replace")
