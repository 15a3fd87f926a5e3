"""Files and folders as resources that clients follow: their URIs, and the news that they changed."""

from collections.abc import Collection, Iterable
from urllib.parse import quote

from isthmus.worker import Call
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Store

TOLD = 1000
"""Entries of one change whose followers are told."""

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
    _touch(call, [names])
    await _tell(call, [file_uri(call.source.name, names), folder_uri(call.source.name, names[:-1])])


async def came_or_went(call: Call[Store], files: Collection[Names] = (), folders: Collection[Names] = ()) -> None:
    """These files or folders are there now, or are not any more; the folders above may have come or gone with them."""
    _touch(call, [*files, *folders])
    store = call.source.name
    uris = [file_uri(store, names) for names in files] + [folder_uri(store, names) for names in folders]
    above = [uri for names in (*files, *folders) for uri in uris_above(store, names)]
    await _tell(call, dict.fromkeys([*uris, *above]))


def uris_above(store: str, names: Names) -> list[str]:
    """The folders in which it is, innermost first."""
    return [folder_uri(store, names[:depth]) for depth in reversed(range(len(names)))]


def _touch(call: Call[Store], changed: Iterable[Names]) -> None:
    if (index := call.source.handle.index) is not None:
        index.touch(changed)


async def _tell(call: Call[Store], uris: Iterable[str]) -> None:
    for uri in uris:
        await call.updated(uri)
