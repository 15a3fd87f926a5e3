"""What a search looks for, and the lines in which it is: in time that grows with the text and no faster (RE2)."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import re2

from isthmus.errors import InvalidArguments

LONGEST_QUERY = 1000
"""Characters."""
LONGEST_LINE = 1024 * 1024
"""Bytes of a line that are looked at together; of longer ones this much at a time."""
OVERLAP = 4096
"""Bytes of a long line that are looked at twice, so that nothing at a seam is missed."""
SHOWN = 300
"""Characters of a line in an answer, around what was found."""
INDEXED = 3
"""Characters that a literal must have to be looked up in an index."""

_QUANTIFIERS = "?*{"
_BREAKS = ".^$+)"


@dataclass
class Line:
    """A line in which something was found."""

    number: int
    """1 is the first."""
    text: str
    before: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])


class Pattern:
    """A literal or a regular expression, compiled."""

    def __init__(self, query: str, *, regex: bool, case_sensitive: bool) -> None:
        """Raises InvalidArguments."""
        if not query or len(query) > LONGEST_QUERY:
            raise InvalidArguments(f"`query` has between 1 and {LONGEST_QUERY} characters.")
        if not regex and ("\n" in query or "\r" in query):
            raise InvalidArguments("`query` is looked for in each line by itself, so it has no line break.")
        options = re2.Options()
        options.log_errors = False
        options.case_sensitive = case_sensitive
        try:
            self._pattern = re2.compile(("(?m)" + query if regex else re2.escape(query)).encode(), options)
        except (re2.error, UnicodeEncodeError) as error:
            reason = error.args[0].decode(errors="replace") if isinstance(error, re2.error) else "no valid text"
            raise InvalidArguments(
                f"`query` is no regular expression that can be searched for (RE2 syntax): {reason}."
            ) from None
        if self._pattern.search(b""):
            raise InvalidArguments("`query` matches nothing at all, and so every line; look for something.")
        self._by_line = regex and ("\\A" in query or "\\z" in query or "\\Z" in query)
        self.literals = literals(query) if regex else [query] * (len(query) >= INDEXED)
        """Texts that are in every match, but for their case."""

    def matches(self, text: str) -> bool:
        """Whether it is in a name."""
        return self._pattern.search(text.encode()) is not None

    def lines(self, chunks: Iterable[bytes], context: int) -> Iterator[Line]:
        """The lines in which it is, of a text in UTF-8, with so many lines around each."""
        return _with_context(self._blocks(chunks), self, context) if context else self._found(self._blocks(chunks))

    def place(self, line: bytes) -> int | None:
        """Where in the line it begins."""
        found = self._pattern.search(line)
        return None if found is None else found.start()

    def may_be_in(self, block: bytes) -> bool:
        """False: it is in no line of this."""
        return self._by_line or self._pattern.search(block) is not None

    def _found(self, blocks: Iterable[tuple[int, bytes]]) -> Iterator[Line]:
        said = 0
        for number, block in blocks:
            if not self.may_be_in(block):
                continue
            for offset, line in enumerate(block.split(b"\n")):
                place = self.place(line)
                if place is not None and number + offset > said:
                    said = number + offset
                    yield Line(said, shown(line, place))

    def _blocks(self, chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Whole lines, without the end of the last, and the number of the first; pieces of a line that is too long."""
        number, rest = 1, b""
        for chunk in chunks:
            data = rest + chunk
            end = data.rfind(b"\n")
            if end >= 0:
                block = data[:end].replace(b"\r\n", b"\n").removesuffix(b"\r")
                yield number, block
                number += block.count(b"\n") + 1
                rest = data[end + 1 :]
            elif len(data) > LONGEST_LINE:
                yield number, data
                rest = data[-OVERLAP:]
            else:
                rest = data
        if rest:
            yield number, rest.removesuffix(b"\r")


def _with_context(blocks: Iterable[tuple[int, bytes]], pattern: Pattern, context: int) -> Iterator[Line]:
    before: deque[str] = deque(maxlen=context)
    waiting: deque[Line] = deque()
    """Lines that were found, and still lack what comes after them."""
    said = 0
    for number, block in blocks:
        lines = block.split(b"\n")
        if not waiting and not pattern.may_be_in(block):
            before.extend(shown(line, 0) for line in lines[-context:])
            continue
        for offset, line in enumerate(lines):
            if number + offset == said:
                continue  # a further piece of a long line that was found already
            place = pattern.place(line)
            text = shown(line, place or 0)
            for found in waiting:
                found.after.append(text)
            while waiting and len(waiting[0].after) == context:
                yield waiting.popleft()
            if place is not None:
                said = number + offset
                waiting.append(Line(said, text, list(before)))
            before.append(text)
    yield from waiting


def shown(line: bytes, place: int) -> str:
    """A line as answers have it: whole, or what is around a place in it."""
    if len(line) <= SHOWN:
        return line.decode(errors="replace")
    text = line[max(place - 4 * SHOWN, 0) : place].decode(errors="replace").lstrip("\ufffd")[-SHOWN // 3 :]
    begin = "…" if place > len(text.encode()) else ""
    rest = line[place : place + 4 * SHOWN].decode(errors="replace")
    text += rest[: SHOWN - len(text)]
    return begin + text + ("…" if len(text.encode()) + place < len(line) else "")


def literals(query: str) -> list[str]:
    """Texts that every match of a regular expression has, but for their case; none where that is hard to say."""
    if "|" in query or "\\Q" in query or "(?" in query.removeprefix("(?i)"):
        return []
    runs, run, depth, place = list[str](), "", 0, 0

    def end() -> None:
        nonlocal run
        if len(run) >= INDEXED:
            runs.append(run)
        run = ""

    query = query.removeprefix("(?i)")
    while place < len(query):
        character = query[place]
        place += 1
        if character == "\\":
            character = query[place : place + 1]
            place += 1
            if character.isalnum() or not character.isascii():
                end()
                if character in "xpP":  # what follows belongs to it
                    return runs
                continue
        elif character == "[":
            end()
            close = query.find("]", place + (2 if query[place : place + 1] == "^" else 1))
            if close < 0 or "[:" in query[place:close] or "\\" in query[place:close]:
                return runs
            place = close + 1
            continue
        elif character == "(":
            end()
            depth += 1
            continue
        elif character in _QUANTIFIERS:
            run = run[:-1]
            end()
            if character == "{":
                place = max(query.find("}", place) + 1, place)
            continue
        elif character in _BREAKS:
            end()
            depth -= character == ")"
            continue
        if depth == 0:
            run += character
    end()
    return runs
