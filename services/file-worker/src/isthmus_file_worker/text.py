"""Lines or bytes of a text file of any size, in constant memory."""

import codecs
import io
import itertools
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases

from isthmus.errors import InvalidArguments
from isthmus_file_worker.store import OpenFile
from isthmus_file_worker.threads import Stop

BUDGET = 256 * 1024
"""Bytes of text, counted in UTF-8, in one answer."""
WIDEST = 8
"""Bytes of a character at most."""

_ENCODINGS = {*aliases, *aliases.values()}


@dataclass(frozen=True)
class Window:
    """Some lines of a text."""

    content: str
    lines: int
    more: bool
    """Whether anything follows."""
    cut: bool
    """Whether the last line is longer than an answer may be, so that its end is missing."""


def check_encoding(name: str) -> None:
    """Raises InvalidArguments for what is not the name of a text encoding."""
    if normalize_encoding(name).lower() not in _ENCODINGS:
        raise InvalidArguments(
            f"There is no encoding {name[:40]!r}; leave it out to have it found, or use base64 to get the bytes."
        )


def read_window(
    raw: io.RawIOBase, encoding: str, start: int, limit: int | None, stop: Stop, *, strict: bool = False
) -> Window:
    """Up to `limit` lines from line `start` (1 is the first) that fit the budget.

    What does not decode becomes U+FFFD; with `strict` it raises InvalidArguments.
    """
    try:
        with io.TextIOWrapper(
            io.BufferedReader(raw), encoding, "strict" if strict else "replace", newline="\n"
        ) as text:
            if not _skip(text, start - 1, stop):
                return Window("", 0, more=False, cut=False)
            return _collect(text, limit, stop)
    except LookupError:
        raise InvalidArguments(f"{encoding!r} is no encoding of texts.") from None
    except UnicodeError:
        raise InvalidArguments(f"The file is not valid {encoding}; leave out the encoding to have it found.") from None


@dataclass(frozen=True)
class Range:
    """Some bytes of a text."""

    content: str
    size: int
    """How many bytes of the file these are."""


def read_range(file: OpenFile, encoding: str, offset: int, limit: int | None, *, strict: bool = False) -> Range:
    """The characters that are whole within `limit` bytes from `offset`, as far as they fit the budget.

    What does not decode becomes U+FFFD; with `strict` it raises InvalidArguments.
    """
    if offset:
        encoding = _without_mark(file, encoding)
    size = min(BUDGET if limit is None else max(limit, WIDEST), BUDGET)
    while True:
        data = file.read(offset, size)
        text, used = _decoded(data, encoding, strict=strict, whole=offset + len(data) >= file.status.size)
        content = text.encode(errors="replace")
        if len(content) <= BUDGET:
            return Range(content.decode(), used)
        size = size * BUDGET // len(content)  # in UTF-8 it is longer


def _decoded(data: bytes, encoding: str, *, strict: bool, whole: bool) -> tuple[str, int]:
    """What is between the first and the last whole character, and up to where it goes."""
    begin = 0
    if encoding == "utf-8":
        while begin < min(len(data), 3) and data[begin] & 0xC0 == 0x80:
            begin += 1
    try:
        decoder = codecs.getincrementaldecoder(encoding)("strict" if strict else "replace")
        text = decoder.decode(data[begin:], final=whole)
        rest = decoder.getstate()[0]
    except LookupError:
        raise InvalidArguments(f"{encoding!r} is no encoding of texts.") from None
    except UnicodeError:
        raise InvalidArguments(f"The file is not valid {encoding}; leave out the encoding to have it found.") from None
    return text, len(data) - len(rest) if text else len(data)


def _without_mark(file: OpenFile, encoding: str) -> str:
    """The encoding of what is not at the beginning, where the byte order mark is."""
    name = codecs.lookup(encoding).name
    if name == "utf-8-sig":
        return "utf-8"
    if name in ("utf-16", "utf-32"):
        return f"{name}-{'be' if file.read(0, 4).startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else 'le'}"
    return name


def _skip(text: io.TextIOWrapper, lines: int, stop: Stop) -> bool:
    """Whether there was as much; a line may be longer than memory, so it is read in pieces."""
    while lines > 0:
        stop.check()
        piece = text.readline(BUDGET)
        if not piece:
            return False
        if piece.endswith("\n"):
            lines -= 1
    return True


def _collect(text: io.TextIOWrapper, limit: int | None, stop: Stop) -> Window:
    kept: list[str] = []
    room = BUDGET
    for _ in itertools.repeat(None) if limit is None else range(limit):
        stop.check()
        line = text.readline(room + 1)
        # Some encodings can write halves of surrogate pairs, which UTF-8 and JSON cannot.
        encoded = line.encode(errors="replace")
        if len(encoded) > room:
            if kept:
                return Window("".join(kept), len(kept), more=True, cut=False)
            return Window(encoded[:room].decode(errors="ignore"), 1, more=True, cut=True)
        if not line:
            return Window("".join(kept), len(kept), more=False, cut=False)
        kept.append(encoded.decode())
        room -= len(encoded)
    return Window("".join(kept), len(kept), more=text.read(1) != "", cut=False)
