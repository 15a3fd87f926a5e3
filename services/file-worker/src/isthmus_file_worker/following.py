"""Files and folders as resources that clients follow: their URIs, and the news that they changed."""

from collections.abc import Collection, Iterable
from urllib.parse import quote

from isthmus.worker import Call
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Store

_PLAIN = "/:@!$&'()*+,;=[]"
"""What stays as it is in a path: all that RFC 6570 leaves in `{+path}`, but `?` and `#`, which would end it."""


def store_uri(store: str) -> str:
    """The resource of a store: the list of its top folder."""
    return f"store://{store}"


def file_uri(store: str, names: Names) -> str:
    """The resource of a file; that of a folder has a slash at its end."""
    return f"store://{store}/{quote(show(names), safe=_PLAIN)}"


def folder_uri(store: str, names: Names) -> str:
    """The resource of a folder: the list of what is in it."""
    return f"{file_uri(store, names)}/" if names else store_uri(store)


async def replaced(call: Call[Store], names: Names) -> None:
    """A file has another content: its folder's list shows another size and time."""
    await _tell(call, [file_uri(call.source.name, names), folder_uri(call.source.name, names[:-1])])


async def came_or_went(call: Call[Store], files: Collection[Names] = (), folders: Collection[Names] = ()) -> None:
    """These files or folders are there now, or are not any more; the folders above may have come or gone with them."""
    store = call.source.name
    above = {names[:depth] for names in (*files, *folders) for depth in range(len(names))}
    uris = [file_uri(store, names) for names in files] + [folder_uri(store, names) for names in (*folders, *above)]
    await _tell(call, dict.fromkeys(uris))


async def _tell(call: Call[Store], uris: Iterable[str]) -> None:
    for uri in uris:
        await call.updated(uri)
