"""What kind of file some bytes are the beginning of."""

from dataclasses import dataclass
from typing import NamedTuple, cast

import puremagic
from charset_normalizer import from_bytes

SAMPLE = 64 * 1024
"""Bytes from the beginning of a file that decide."""
GUESSED_FROM = 16 * 1024
"""Bytes of those from which an encoding other than UTF-8 is guessed: guessing takes long."""

IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
SOUNDS = {".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg", ".oga": "audio/ogg"}

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
class Image:
    """An image that MCP clients show."""

    media_type: str


@dataclass(frozen=True)
class Sound:
    """A sound that MCP clients play."""

    media_type: str


@dataclass(frozen=True)
class Binary:
    """Anything else; `name` says what, such as `PDF document`."""

    name: str
    media_type: str = "application/octet-stream"


Kind = Text | Image | Sound | Binary


def recognize(sample: bytes, name: str, *, whole: bool) -> Kind:
    """The kind of a file from its first bytes and its name; `whole` says that there are no more bytes."""
    if sample.startswith(b"%PDF-"):
        return Binary("PDF document", "application/pdf")
    if b"\0" not in sample and _is_utf8(sample, whole=whole):
        return Text("utf-8-sig" if sample.startswith(_MARKS[0][0]) else "utf-8")
    signatures = _signatures(sample, name)
    for signature in signatures:
        if media_type := IMAGES.get(signature.extension):
            return Image(media_type)
        if media_type := SOUNDS.get(signature.extension):
            return Sound(media_type)
    if name.lower().endswith(".mp3") and sample.startswith(_MP3_FRAMES):
        return Sound(SOUNDS[".mp3"])
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return Text(encoding)
    for signature in signatures:
        if signature.confidence >= _SURE and not signature.media_type.startswith("text/"):
            return Binary(signature.name or "binary file", signature.media_type or Binary.media_type)
    if b"\0" not in sample and (guess := from_bytes(sample[:GUESSED_FROM]).best()) is not None:
        return Text(guess.encoding)
    return Binary("binary file")


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
