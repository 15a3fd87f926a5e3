"""Office files: ZIP archives of XML."""

import io
import zipfile

from isthmus_file_worker.readers.refusing import protected, too_large

UNPACKED = 200 * 1024 * 1024
"""Bytes that an office file may have inside."""
PARTS = 20_000
"""Files inside it."""

_OLE = b"\xd0\xcf\x11\xe0"
"""How an office file with a password begins, which is no ZIP archive then; and those of before 2007."""


def check(file: io.BufferedReader, path: str) -> None:
    """Raises Refused for an office file that is not to be unpacked."""
    if file.read(4) == _OLE:
        raise protected()
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    if unpacked > UNPACKED or len(parts) > PARTS:
        raise too_large(
            f"{path} has {len(parts)} parts of {unpacked} bytes inside, and {PARTS} parts of {UNPACKED} bytes can be "
            "read."
        )
    file.seek(0)
