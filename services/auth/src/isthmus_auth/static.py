"""The files that pages are made with: stylesheets, scripts, the one picture."""

import hashlib
from functools import cache
from pathlib import Path

from litestar import Response, get
from litestar.params import FromPath

from isthmus_auth.answers import Refusal

FOLDER = Path(__file__).parent / "static"
KINDS = {
    "style.css": "text/css",
    "console.css": "text/css",
    "console.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "passkeys.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}
"""The address of a file changes with what is in it."""


def address(name: str) -> str:
    """Where a file is."""
    return f"/static/{name}?{hashlib.sha256(_content(name)).hexdigest()[:12]}"


@get("/static/{name:str}", sync_to_thread=False, cache_control=None)
def file(name: FromPath[str]) -> Response[bytes]:
    """One of the files."""
    if name not in KINDS:
        raise Refusal(404, "There is no such file.")
    return Response(_content(name), media_type=KINDS[name], headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
