"""`search_files`: in the names or the contents of files, honest about what it did not look into."""

import base64
import binascii
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from isthmus.errors import InvalidArguments, NotFound, ToolError
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.globs import Glob
from isthmus_file_worker.listing import shown
from isthmus_file_worker.matching import Line, Pattern
from isthmus_file_worker.paths import DEPTH, Names, show
from isthmus_file_worker.scanning import Scanner, Skipped
from isthmus_file_worker.store import Selection, Store
from isthmus_file_worker.text import BUDGET
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look, sees

SHARE = 0.7
"""Of the time of a call that is spent on searching."""
MOST_SECONDS = 20.0
BYTES = BUDGET // 2
"""Of the lines in one answer, which has them twice."""


class SearchFiles(StoreArguments, kw_only=True):
    """What to look for, and where."""

    query: str
    """Text in a line of a file, or in a name."""
    where: Literal["contents", "names"] = "contents"
    """`names`: in paths of files and folders."""
    regex: bool = False
    """`query` is a regular expression (RE2)."""
    case_sensitive: bool = False
    """Letter case counts."""
    path: str = ""
    """The folder; left out: the root."""
    pattern: str = ""
    """Only files that match, as in list_files."""
    context: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    """Lines to show around each."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    """Matches at most."""
    cursor: str | None = None
    """`next_cursor` of the page before; all else but limit as before."""


class Match(msgspec.Struct, kw_only=True):
    """A file, or a line of one."""

    path: str
    page: int | msgspec.UnsetType = msgspec.UNSET
    """Of a document."""
    line: int | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    """Of the line; a long one is cut."""
    before: list[str] | msgspec.UnsetType = msgspec.UNSET
    after: list[str] | msgspec.UnsetType = msgspec.UNSET

    def lines(self) -> list[str]:
        """As grep shows them."""
        if self.line is msgspec.UNSET:
            return [self.path]
        where = f"{self.path}:" if self.page is msgspec.UNSET else f"{self.path}:page {self.page}:"
        found = f"{where}{self.line}: {self.text}"
        if self.before is msgspec.UNSET or self.after is msgspec.UNSET:
            return [found]
        before = [f"{where}{n}- {text}" for n, text in enumerate(self.before, self.line - len(self.before))]
        return [*before, found, *(f"{where}{n}- {text}" for n, text in enumerate(self.after, self.line + 1)), "--"]


class Matches(msgspec.Struct, kw_only=True):
    """What was found, in order of paths."""

    matches: list[Match]
    searched: int
    """Files that were looked into, or names."""
    skipped: dict[str, int]
    """Files that were not, by reason."""
    truncated: bool
    """Whether there may be more: the answer is full, or the time was over."""
    next_cursor: str | None = None
    index: datetime | None = None
    """Files that were changed after this time were found as they were then; none: every file was looked into."""

    def text(self) -> str:
        """A line a match, as grep shows them, and what was not searched."""
        lines = [line for match in self.matches for line in match.lines()]
        if not self.matches:
            lines.append("Nothing was found." if not self.truncated else "Nothing was found so far.")
        lines.append(f"[{self.searched:,} searched{self._rest()}]")
        if self.next_cursor:
            lines.append(f'[There may be more: call again with cursor "{self.next_cursor}".]')
        return "\n".join(lines)

    def _rest(self) -> str:
        skipped = "".join(f"; {count:,} not searched: {reason}" for reason, count in sorted(self.skipped.items()))
        return skipped + (f"; by an index of {shown(self.index)}" if self.index is not None else "")


class Place(msgspec.Struct, array_like=True):
    """Where a search goes on: after this match."""

    path: str
    page: int = 0
    line: int = 0


END = 2**31
"""The page after the last one of a file."""


@dataclass
class Searching:
    """A search on its way."""

    store: Store
    granted: Granted
    pattern: Pattern
    start: Names
    glob: Glob | None
    context: int
    limit: int
    after: Place
    until: float
    stop: Stop
    matches: list[Match] = field(default_factory=list[Match])
    searched: int = 0
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    room: int = BYTES
    latest: Place = field(default_factory=lambda: Place(""))
    """What was looked at last, to the end."""

    def is_wanted(self, names: Names) -> bool:
        """Whether the caller asked for entries like this."""
        return self.glob is None or self.glob.matches(names[len(self.start) :])

    def sees(self, path: str, is_folder: bool) -> bool:
        return sees(self.granted, path, is_folder=is_folder)

    def walk(self, after: str) -> Iterator[tuple[Names, bool]]:
        """What the caller sees in the folder, after a key, and whether each is a folder."""
        # What is not wanted is found, too, so that a search whose time is over knows where to go on.
        selection = Selection(start=self.start, after=after, levels=DEPTH, sees=self.sees, wanted=lambda _: True)
        with closing(self.store.walk(selection, self.stop)) as found:
            for names, status in found:
                yield names, status.kind == "folder"

    def files(self) -> Iterator[Names]:
        """The files to look into, beginning with the one in which the search goes on."""
        if self.after.path and self.after.page != END:
            names = paths.parse(self.after.path)  # cursors come from outside
            if names[: len(self.start)] == self.start:
                yield names
        yield from (names for names, is_folder in self.walk(self.after.path) if not is_folder)

    def names(self) -> bool:
        """Looks at names; False: it could not look at all of them."""
        for names, is_folder in self.walk(self.after.path):
            if self._is_late():
                return False
            key = show(names) + "/" * is_folder
            if self.is_wanted(names):
                self.searched += 1
                if self.pattern.matches(show(names)):
                    if not self._has_room(len(key)):
                        return False
                    self.matches.append(Match(path=key))
            self.latest = Place(key)
        return True

    def contents(self, files: Iterator[Names], scanner: Scanner) -> bool:
        """Looks into files; False: it could not look into all of them."""
        for names in files:
            if self._is_late():
                return False
            path = show(names)
            if self.is_wanted(names) and self.sees(path, False) and not self._file(names, scanner):
                return False
            self.latest = Place(path, END)
        return True

    def _file(self, names: Names, scanner: Scanner) -> bool:
        path = show(names)
        beyond = self.after if path == self.after.path else Place(path)
        try:
            with self.store.open_file(names) as file:
                for page, chunks in scanner.parts(file, path):
                    if page < beyond.page:
                        continue
                    for line in self.pattern.lines(self._until_late(chunks), self.context):
                        if page == beyond.page and line.number <= beyond.line:
                            continue
                        if not self._add(path, page, line):
                            self.searched += 1
                            return False
        except Skipped as skipped:
            self.skipped[skipped.reason] = self.skipped.get(skipped.reason, 0) + 1
            if not skipped.partly:
                return True
        except NotFound:
            return True  # gone meanwhile, which is as if it had never been listed
        except ToolError as error:
            if error.code == "source_unavailable":
                raise
            self.skipped["could not be read"] = self.skipped.get("could not be read", 0) + 1
            return True
        self.searched += 1
        return True

    def _until_late(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            if self._is_late():
                raise Skipped("all but the beginning, which took too long", partly=True)

    def _add(self, path: str, page: int, line: Line) -> bool:
        if not self._has_room(len(path) + len(line.text) + sum(map(len, (*line.before, *line.after)))):
            return False
        match = Match(path=path, line=line.number, text=line.text)
        if page:
            match.page = page
        if self.context:
            match.before, match.after = line.before, line.after
        self.matches.append(match)
        self.latest = Place(path, page, line.number)
        return True

    def _has_room(self, size: int) -> bool:
        self.room -= 2 * size
        return len(self.matches) < self.limit and (self.room > 0 or not self.matches)

    def _is_late(self) -> bool:
        self.stop.check()
        return time.monotonic() > self.until


async def search_files(call: Call[Store], arguments: SearchFiles) -> Matches:
    """Finds text in files, also in documents such as PDF, or files by their names."""
    start = paths.parse(arguments.path)
    pattern = Pattern(arguments.query, regex=arguments.regex, case_sensitive=arguments.case_sensitive)
    after = _decoded(arguments.cursor) if arguments.cursor else Place("")
    store, granted = call.source.handle, call.granted
    glob = Glob(arguments.pattern) if arguments.pattern else None

    def work(stop: Stop) -> Matches:
        if look(store, granted, start, stop).kind == "file":
            raise InvalidArguments(f"{show(start)} is a file; `path` names a folder, and `pattern` files in it.")
        until = time.monotonic() + min(stop.left() * SHARE, MOST_SECONDS)
        searching = Searching(
            store, granted, pattern, start, glob, arguments.context, arguments.limit, after, until, stop
        )  # fmt: skip
        index = store.index if arguments.where == "contents" and pattern.literals else None
        as_of = None
        if arguments.where == "names":
            whole = searching.names()
        else:
            as_of = index.as_of() if index is not None else None
            files = searching.files()
            if index is not None and as_of is not None:
                beyond = after.path + "\0" * (after.page == END)
                files = index.candidates(pattern.literals, start, beyond, stop)
            with Scanner(stop, store.index) as scanner:
                whole = searching.contents(files, scanner)
        return Matches(
            matches=searching.matches,
            searched=searching.searched,
            skipped=searching.skipped,
            truncated=not whole,
            next_cursor=None if whole else _encoded(max(searching.latest, after, key=_order)),
            index=as_of,
        )

    return await store.work(work, call.left)


def _order(place: Place) -> tuple[str, int, int]:
    return place.path, place.page, place.line


def _encoded(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _decoded(cursor: str) -> Place:
    try:
        return msgspec.json.decode(base64.b64decode(cursor, b"-_", validate=True), type=Place)
    except (binascii.Error, ValueError):
        raise InvalidArguments("That cursor is not one that search_files returned.") from None
