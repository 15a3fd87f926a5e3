"""What kind of file some bytes are the beginning of."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, TypeGuard, cast

import puremagic
from charset_normalizer import from_bytes

from isthmus_file_worker.readers.messages import Format
from isthmus_file_worker.store import OpenFile

SAMPLE = 64 * 1024
"""Bytes from the beginning of a file that decide."""
GUESSED_FROM = 16 * 1024
"""Bytes of those from which an encoding other than UTF-8 is guessed: guessing takes long."""

IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
SOUNDS = {".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg", ".oga": "audio/ogg"}

_PDF = b"%PDF-"
_ZIP = (b"PK\3\4", b"PK\5\6")
_OLE = b"\xd0\xcf\x11\xe0"
"""How files of Office begin from before 2007, and newer ones with a password."""
_COMPRESSED = {
    b"\x1f\x8b": "application/gzip",
    b"BZh": "application/x-bzip2",
    b"\xfd7zXZ\0": "application/x-xz",
}
_TABLES: dict[str, tuple[Format, str]] = {
    ".csv": ("csv", "text/csv"),
    ".tsv": ("tsv", "text/tab-separated-values"),
    ".tab": ("tsv", "text/tab-separated-values"),
    ".jsonl": ("jsonl", "application/jsonl"),
    ".ndjson": ("jsonl", "application/jsonl"),
}
_OPEN_XML = "application/vnd.openxmlformats-officedocument."
_OFFICE: dict[str, tuple[Format, str]] = {
    ".docx": ("docx", f"{_OPEN_XML}wordprocessingml.document"),
    ".pptx": ("pptx", f"{_OPEN_XML}presentationml.presentation"),
    ".xlsx": ("workbook", f"{_OPEN_XML}spreadsheetml.sheet"),
    ".xlsm": ("workbook", "application/vnd.ms-excel.sheet.macroEnabled.12"),
    ".xlsb": ("workbook", "application/vnd.ms-excel.sheet.binary.macroEnabled.12"),
    ".ods": ("workbook", "application/vnd.oasis.opendocument.spreadsheet"),
}
_PARTS = {
    b"word/document.xml": ".docx",
    b"ppt/presentation.xml": ".pptx",
    b"xl/workbook.xml": ".xlsx",
    b"xl/workbook.bin": ".xlsb",
    b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet": ".ods",
}
"""Names in the beginning of an office file that say which one it is, where its own does not."""

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks; UTF-32's before UTF-16's, which it begins with."""
_BY_NAME = 0.1
"""The confidence of what the name alone says."""
_SURE = 0.4
"""The confidence of a signature of four bytes: shorter ones also begin texts."""
_MP3_FRAMES = (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2")
"""How MP3 begins without ID3 tags: too short to tell without the name."""


class Signature(NamedTuple):
    """A kind of file that the first bytes fit."""

    extension: str
    media_type: str
    name: str
    confidence: float


@dataclass(frozen=True)
class Text:
    """A text."""

    encoding: str


@dataclass(frozen=True)
class Table:
    """Rows and columns; with an encoding where they are written as text."""

    format: Format
    media_type: str
    encoding: str = ""


@dataclass(frozen=True)
class Document:
    """Text that is not to be read as it is written; with an encoding where it is written as text all the same."""

    format: Format
    media_type: str
    encoding: str = ""


@dataclass(frozen=True)
class Archive:
    """Files in a file."""

    format: Format
    media_type: str


@dataclass(frozen=True)
class Image:
    """An image that MCP clients show."""

    media_type: str
    format: Format = "image"


@dataclass(frozen=True)
class Sound:
    """A sound that MCP clients play."""

    media_type: str


@dataclass(frozen=True)
class Binary:
    """Anything else; `name` says what, such as `PNG image`."""

    name: str
    media_type: str = "application/octet-stream"


Kind = Text | Table | Document | Archive | Image | Sound | Binary


def recognize(sample: bytes, name: str, *, whole: bool) -> Kind:
    """The kind of a file from its first bytes and its name; `whole` says that there are no more bytes."""
    name = name.lower()
    if sample.startswith(_PDF) or (name.endswith(".pdf") and _PDF in sample[:1024]):
        return Document("pdf", "application/pdf")
    if b"\0" not in sample and _is_utf8(sample, whole=whole):
        return _written("utf-8-sig" if sample.startswith(_MARKS[0][0]) else "utf-8", sample, name)
    if (kind := _packed(sample, name)) is not None:
        return kind
    signatures = _signatures(sample, name)
    for signature in signatures:
        if media_type := IMAGES.get(signature.extension):
            return Image(media_type)
        if media_type := SOUNDS.get(signature.extension):
            return Sound(media_type)
    if name.endswith(".mp3") and sample.startswith(_MP3_FRAMES):
        return Sound(SOUNDS[".mp3"])
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return _written(encoding, sample, name)
    for signature in signatures:
        if signature.confidence >= _SURE and not signature.media_type.startswith("text/"):
            return Binary(signature.name or "binary file", signature.media_type or Binary.media_type)
    if b"\0" not in sample and (guess := from_bytes(sample[:GUESSED_FROM]).best()) is not None:
        return _written(guess.encoding, sample, name)
    return Binary("binary file")


def recognized(file: OpenFile, name: str) -> Kind:
    """The kind of an open file."""
    sample = file.read(0, SAMPLE)
    return recognize(sample, name, whole=len(sample) == file.status.size)


def encoding_of(kind: Kind) -> str:
    """Of what is written as text; empty for all else."""
    return kind.encoding if isinstance(kind, Text | Table | Document) else ""


def type_of(kind: Kind) -> str:
    """The media type of what is no plain text."""
    return "text/plain" if isinstance(kind, Text) else kind.media_type


def has_text_inside(kind: Kind) -> TypeGuard[Document | Table]:
    """Whether it has text that only a reader gets at; that of other tables is in their bytes, or is none."""
    return isinstance(kind, Document) or (isinstance(kind, Table) and kind.format == "workbook")


def _written(encoding: str, sample: bytes, name: str) -> Text | Table | Document:
    """A text is a table or a document when its name says so; a page of HTML, also when it begins like one."""
    ending = PurePosixPath(name).suffix
    if table := _TABLES.get(ending):
        return Table(*table, encoding)
    if ending in (".html", ".htm", ".xhtml") or sample[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return Document("html", "text/html", encoding)
    return Document("eml", "message/rfc822", encoding) if ending == ".eml" else Text(encoding)


def _packed(sample: bytes, name: str) -> Table | Document | Archive | None:
    """What is made of other files, or of many values."""
    ending = PurePosixPath(name).suffix
    if sample.startswith(_ZIP):
        inside = ending if ending else next((known for part, known in _PARTS.items() if part in sample), "")
        return _office(inside) if inside in _OFFICE else Archive("zip", "application/zip")
    if sample.startswith(_OLE) and ending in (".xls", *_OFFICE):
        return Table("workbook", "application/vnd.ms-excel") if ending == ".xls" else _office(ending)
    if sample.startswith(b"PAR1"):
        return Table("parquet", "application/vnd.apache.parquet")
    if sample[257:262] == b"ustar":
        return Archive("tar", "application/x-tar")
    for begin, media_type in _COMPRESSED.items():
        if sample.startswith(begin):
            return Archive("packed", media_type)
    return None


def _office(ending: str) -> Table | Document:
    format_, media_type = _OFFICE[ending]
    return Table(format_, media_type) if format_ == "workbook" else Document(format_, media_type)


def _signatures(sample: bytes, name: str) -> list[Signature]:
    """What the first bytes say, surest first; of equal ones that which the name says too."""
    try:
        found = puremagic.magic_string(sample, name)
    except (puremagic.PureError, ValueError):
        return []
    typed = cast("list[tuple[bytes, int, str, str, str, float]]", found)
    return [signature for signature in (Signature(*fields[2:]) for fields in typed) if signature.confidence > _BY_NAME]


def _is_utf8(sample: bytes, *, whole: bool) -> bool:
    """A sample may end amid a character; a whole file may not."""
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return not whole and error.start >= len(sample) - 3 and error.reason == "unexpected end of data"
    return True
