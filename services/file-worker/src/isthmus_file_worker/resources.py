"""Files and folders as MCP resources: what read_file and list_files show, for clients that attach or follow them."""

import mimetypes
from functools import cache

import msgspec

from isthmus.errors import TooLarge
from isthmus.results import BlobResourceContents, ResourceContents, TextResourceContents
from isthmus.worker import Call
from isthmus_file_worker import media, paths
from isthmus_file_worker.contents import BYTES_BUDGET, MEDIA_LIMIT
from isthmus_file_worker.following import file_uri, folder_uri
from isthmus_file_worker.listing import ListFiles, list_files
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import OpenFile, Store
from isthmus_file_worker.text import read_window
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look

LISTED = 500
"""Entries of a folder."""

_TEXTS = (
    "text/", "application/json", "application/xml", "application/javascript", "application/x-sh",
    "application/yaml", "application/toml", "image/svg+xml",
)  # fmt: skip
_MORE = {".md": "text/markdown", ".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml"}
"""Types of texts that Python's own table has not."""


class StoreResource(msgspec.Struct, kw_only=True):
    """The variables of a store's URI."""

    store: str


class FileResource(StoreResource, kw_only=True):
    """The variables of a file's URI."""

    path: str


async def files(call: Call[Store], arguments: StoreResource) -> TextResourceContents:
    """The files and folders at the top of a store."""
    del arguments
    return await listed(call, ())


async def file(call: Call[Store], arguments: FileResource) -> ResourceContents:
    """A file, or the list of what is in a folder. In the path, percent-encode %, ? and #."""
    names = paths.parse(arguments.path)

    def work(stop: Stop) -> ResourceContents | None:
        store = call.source.handle
        if look(store, call.granted, names, stop).kind == "folder":
            return None
        with store.open_file(names) as opened:
            return _contents(opened, names, file_uri(call.source.name, names), stop)

    return await call.source.handle.work(work, call.seconds) or await listed(call, names)


async def listed(call: Call[Store], names: Names) -> TextResourceContents:
    """What is in a folder, a line each; if that is not all, how to go on."""
    page = await list_files(call, ListFiles(path=show(names), limit=LISTED))
    text = msgspec.structs.replace(page, next_cursor=None).text()
    if page.next_cursor:
        where = msgspec.json.encode({"store": call.source.name, "path": show(names), "cursor": page.next_cursor})
        text += f"\nThere is more: list_files goes on with {where.decode()}."
    return TextResourceContents(text, "text/plain", folder_uri(call.source.name, names))


def _contents(file: OpenFile, names: Names, uri: str, stop: Stop) -> ResourceContents:
    kind = media.recognized(file, show(names))
    if encoding := media.encoding_of(kind):
        return TextResourceContents(_text(file, encoding, stop), text_type(names[-1]), uri)
    most = MEDIA_LIMIT if isinstance(kind, media.Image | media.Sound) else BYTES_BUDGET
    return _blob(file, show(names), media.type_of(kind), uri, most)


def _text(file: OpenFile, encoding: str, stop: Stop) -> str:
    """The whole text; of a longer one its beginning, which is worth more to a model than a refusal."""
    window = read_window(file.stream(stop), encoding, 1, None, stop)
    if not window.more:
        return window.content
    if window.cut:
        return f"{window.content}\n[The first line is cut here; read_file with `offset` goes on in it.]"
    return (
        f"{window.content}[Lines 1 to {window.lines} of a file of {file.status.size} bytes; "
        f"read_file goes on with start={window.lines + 1}.]"
    )


def _blob(file: OpenFile, path: str, media_type: str, uri: str, most: int) -> BlobResourceContents:
    if file.status.size > most:
        raise TooLarge(
            f"{path} is {media_type} of {file.status.size} bytes, and a resource has at most {most}; "
            'read_file with encoding "base64" reads it in parts.'
        )
    return msgspec.structs.replace(BlobResourceContents.of(file.read(0, most), media_type), uri=uri)


def text_type(name: str) -> str:
    """The media type of a text, by its name."""
    guessed, compression = _types().guess_type(name)
    return guessed if guessed is not None and compression is None and guessed.startswith(_TEXTS) else "text/plain"


@cache
def _types() -> mimetypes.MimeTypes:
    """Without what the machine has in its own files, so that all workers answer alike."""
    types = mimetypes.MimeTypes()
    for ending, name in _MORE.items():
        types.add_type(name, ending)
    return types
