"""A window of lines from a text file of any size, in constant memory."""

import io
import itertools
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases

from isthmus.errors import InvalidArguments
from isthmus_file_worker.threads import Stop

BUDGET = 256 * 1024
"""Bytes of text, counted in UTF-8, in one answer."""

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
