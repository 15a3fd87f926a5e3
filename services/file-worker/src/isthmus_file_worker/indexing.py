"""An index of the text in a store's files: it says which files can contain something, and the files say whether.

So it never shows what a grant hides or what is gone, and needs no more than the sets of three characters that are in
each file (SQLite FTS5, trigram tokenizer). The text of documents is kept too, since taking it out of them takes long.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from isthmus.errors import NotFound, SourceUnavailable, ToolError
from isthmus_file_worker.paths import DEPTH, Names, show
from isthmus_file_worker.store import Selection, Status
from isthmus_file_worker.threads import Stop

if TYPE_CHECKING:
    from isthmus_file_worker.store import OpenFile, Store

INDEXED = 16 * 1024 * 1024
"""Bytes of text of one file that are indexed; a larger one is looked into by every search."""
STEP = 200
"""Files between two commits."""
TOUCHED = 1000
"""Paths that wait to be looked at; when there are more, all are looked at."""
TRIGRAMS = 40
"""Of what is looked for, at most: more do not exclude more files."""
PAGE = 1000
"""Candidates that are fetched at a time."""
EVERY = 600.0
"""Seconds between two looks at all files; those that are known to have changed are looked at sooner."""
WHOLE_ROUND = 24 * 3600.0
"""Seconds for a look at all files, at most."""

_VERSION = "1"
_SCHEMA = """
create table if not exists facts (name text primary key, value text) without rowid;
create table if not exists files (path text primary key, document integer, etag text not null) without rowid;
create index if not exists documents on files (document);
create table if not exists pages (document integer primary key, pages blob not null);
create virtual table if not exists trigrams
  using fts5 (text, content='', detail=none, columnsize=0, tokenize='trigram');
"""

logger = logging.getLogger("isthmus.files")


class Index:
    """The index of one store, in one file. Several workers may share it: one of them keeps it up to date."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.path = folder / f"{name}.sqlite"
        self._touched: set[Names] = set()
        self._all = True
        self._wake = asyncio.Event()

    def touch(self, changed: Iterable[Names]) -> None:
        """These files or folders were changed, and are to be looked at soon. For the event loop's thread."""
        for names in changed:
            self._all |= len(self._touched) >= TOUCHED
            if self._all:
                break
            self._touched.add(names)
        self._wake.set()

    async def follow(self, store: "Store") -> None:
        """Keeps the index up to date until it is cancelled."""
        while True:
            touched = None if self._all else self._touched
            self._all, self._touched = False, set()
            self._wake.clear()
            try:
                await store.work(partial(self.update, store, touched), WHOLE_ROUND)
            except (ToolError, OSError, sqlite3.Error) as error:
                logger.warning("%s: the index could not be brought up to date: %s", self.name, error)
                self._all = True
                await asyncio.sleep(EVERY)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY)
                continue
            self._all = True

    def as_of(self) -> datetime | None:
        """When all files were last looked at; None: they never were."""
        try:
            with self._reading() as database:
                value = _fact(database, "as_of")
        except sqlite3.Error:  # it is not there yet, or is begun anew
            return None
        return datetime.fromtimestamp(float(value), UTC) if value else None

    def candidates(self, literals: Iterable[str], folder: Names, beyond: str, stop: Stop) -> Iterator[Names]:
        """The files in a folder and below that can contain all the literals, in order, from the path `beyond` on."""
        wanted = " AND ".join(f'"{trigram}"' for trigram in _trigrams(literals))
        begin = max(f"{show(folder)}/" if folder else "", beyond)
        end = f"{show(folder)}0" if folder else "\U0010ffff"  # 0 comes after the slash
        statement = (
            "select path from files where path >= ? and path < ? and (document = 0 or document in"
            " (select rowid from trigrams where trigrams match ?)) order by path limit ?"
        )
        while True:
            stop.check()
            try:
                with self._reading() as database:
                    found = database.execute(statement, (begin, end, wanted, PAGE)).fetchall()
            except sqlite3.Error:
                raise SourceUnavailable(f"The index of {self.name} is being made anew; try again.") from None
            yield from (tuple(path.split("/")) for (path,) in found)
            if len(found) < PAGE:
                return
            begin = f"{found[-1][0]}\0"

    def pages(self, path: str, etag: str) -> list[str] | None:
        """The text of a document, if it is that of this version."""
        statement = "select pages from pages join files using (document) where path = ? and etag = ?"
        try:
            with self._reading() as database:
                row = database.execute(statement, (path, etag)).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else msgspec.msgpack.decode(zlib.decompress(row[0]), type=list[str])

    def update(self, store: "Store", touched: set[Names] | None, stop: Stop) -> None:
        """Looks at all files, or at those that were touched; does nothing while another worker does it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(self.path.with_suffix(".lock")) as alone:
            if not alone:
                return
            began = time.time()
            with closing(self._open()) as database, Writer(database, store, stop) as writer:
                if touched is None:
                    self._go_through(database, store, writer, (), stop)
                    database.execute("insert or replace into facts values ('as_of', ?)", (str(began),))
                    if writer.wrote:
                        logger.info("%s: %d files were indexed in %.1f s", self.name, writer.wrote, time.time() - began)
                else:
                    for names in sorted(touched):
                        self._look_again(database, store, writer, names, stop)

    def _go_through(
        self, database: sqlite3.Connection, store: "Store", writer: "Writer", folder: Names, stop: Stop
    ) -> None:
        """Compares all files in a folder with what is known of them; both come in one order."""
        selection = Selection(start=folder, levels=DEPTH, sees=lambda _path, _is_folder: True, wanted=lambda _: True)
        with closing(store.walk(selection, stop)) as walk, closing(database.cursor()) as cursor:
            begin, end = (f"{show(folder)}/", f"{show(folder)}0") if folder else ("", "\U0010ffff")
            known = cursor.execute(
                "select path, etag from files where path >= ? and path < ? order by path", (begin, end)
            )
            row = known.fetchone()
            for names, status in walk:
                if status.kind == "folder":
                    continue
                path = show(names)
                while row is not None and row[0] < path:
                    writer.forget(row[0])
                    row = known.fetchone()
                if row is not None and row[0] == path:
                    same = row[1] == status.etag
                    row = known.fetchone()
                    if same:
                        continue
                writer.take(names, status)
            while row is not None:
                writer.forget(row[0])
                row = known.fetchone()

    def _look_again(
        self, database: sqlite3.Connection, store: "Store", writer: "Writer", names: Names, stop: Stop
    ) -> None:
        path = show(names)
        try:
            status = store.status(names)
        except NotFound:
            begin, end = f"{path}/", f"{path}0"
            gone = database.execute(
                "select path from files where path = ? or (path > ? and path < ?)", (path, begin, end)
            )
            for (below,) in gone.fetchall():
                writer.forget(below)
            return
        if status.kind == "folder":
            self._go_through(database, store, writer, names, stop)
            return
        row = database.execute("select etag from files where path = ?", (path,)).fetchone()
        if row is None or row[0] != status.etag:
            writer.take(names, status)

    def _open(self) -> sqlite3.Connection:
        """For writing; one that is of another version, damaged or mostly of files that are gone is begun anew."""
        for again in (False, True):
            if again:
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                database.execute("pragma journal_mode = wal")
                database.execute("pragma synchronous = normal")
                database.executescript(_SCHEMA)
                if _fact(database, "version") in ("", _VERSION) and not _is_worn(database):
                    database.execute("insert or replace into facts values ('version', ?)", (_VERSION,))
                    return database
            except sqlite3.DatabaseError as error:
                logger.warning("%s: its index is begun anew: %s", self.name, error)
            database.close()
        raise OSError(f"{self.path} cannot be used")

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as database:
            yield database


class Writer:
    """Puts files into the index and takes them out, some at a time."""

    def __init__(self, database: sqlite3.Connection, store: "Store", stop: Stop) -> None:
        from isthmus_file_worker.scanning import Scanner

        self._database = database
        self._store = store
        self._scanner = Scanner(stop)
        self._left = 0
        self.wrote = 0

    def __enter__(self) -> "Writer":
        self._database.execute("begin")
        return self

    def __exit__(self, *error: object) -> None:
        self._scanner.__exit__(None, None, None)
        self._database.execute("commit")

    def forget(self, path: str) -> None:
        """A file that is gone. Its trigrams stay until the index is begun anew."""
        self._database.execute(
            "delete from pages where document = (select document from files where path = ?)", (path,)
        )
        self._database.execute("delete from files where path = ?", (path,))
        self._step()

    def take(self, names: Names, status: Status) -> None:
        """A file that is new, or another one now."""
        path = show(names)
        self.forget(path)
        try:
            with self._store.open_file(names) as file:
                status = file.status
                document = self._document(file, path)
        except NotFound:
            return
        except ToolError as error:
            if error.code == "source_unavailable":
                raise
            document = None  # a search cannot read it either
        self._database.execute("insert into files values (?, ?, ?)", (path, document, status.etag))
        self.wrote += 1

    def _document(self, file: "OpenFile", path: str) -> int | None:
        """The number under which its text is indexed; 0: it is to be looked into; None: it has none."""
        from isthmus_file_worker.scanning import Skipped

        texts: list[str] = []
        size, paged = 0, False
        try:
            for page, pieces in self._scanner.parts(file, path):
                paged |= page > 0
                text = b"".join(pieces).decode(errors="replace")
                size += len(text)
                if size > INDEXED:
                    return 0
                texts.append(text)
        except Skipped as skipped:
            return 0 if skipped.partly else None
        (highest,) = self._database.execute("select value from facts where name = 'documents'").fetchone() or (0,)
        document = int(highest) + 1
        self._database.execute("insert or replace into facts values ('documents', ?)", (document,))
        self._database.execute(
            "insert into trigrams (rowid, text) values (?, ?)", (document, "\n".join(texts).replace("\0", " "))
        )
        if paged:
            kept = zlib.compress(msgspec.msgpack.encode(texts))
            self._database.execute("insert into pages values (?, ?)", (document, kept))
        return document

    def _step(self) -> None:
        self._left += 1
        if self._left % STEP == 0:
            self._database.execute("commit")
            self._database.execute("begin")


@contextmanager
def _alone(path: Path) -> Generator[bool]:
    """Whether no other worker keeps this index."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _fact(database: sqlite3.Connection, name: str) -> str:
    row = database.execute("select value from facts where name = ?", (name,)).fetchone()
    return row[0] if row else ""


def _is_worn(database: sqlite3.Connection) -> bool:
    """Whether most of what it holds is of files that are gone."""
    (live,) = database.execute("select count(*) from files where document > 0").fetchone()
    return int(_fact(database, "documents") or 0) > 2 * live + 10_000


def _trigrams(literals: Iterable[str]) -> list[str]:
    """Of the literals, quoted for FTS5."""
    found = dict.fromkeys(literal[n : n + 3] for literal in literals for n in range(len(literal) - 2))
    return [trigram.replace('"', '""') for trigram in found if "\0" not in trigram][:TRIGRAMS]
