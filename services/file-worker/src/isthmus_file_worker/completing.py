"""What a client offers while a user types a path: as a shell does, one folder at a time."""

from contextlib import closing
from itertools import islice, takewhile

from isthmus.answering import COMPLETED
from isthmus.errors import InvalidArguments, NotFound
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Selection, Status, Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import sees


async def path(call: Call[Store], value: str, known: dict[str, str]) -> list[str]:
    """Entries that the caller sees whose paths begin with what is typed, folders with a slash at their end."""
    del known
    above, slash, _ = value.rpartition("/")

    def work(stop: Stop) -> list[str]:
        try:
            if slash and not above:
                return []
            return _entries(call, paths.parse(above), value, stop)
        except (InvalidArguments, NotFound):
            return []

    return await call.source.handle.work(work, call.seconds)


def _entries(call: Call[Store], folder: Names, value: str, stop: Stop) -> list[str]:
    store, granted = call.source.handle, call.granted
    if not sees(granted, show(folder), is_folder=True):
        return []

    def begins(path: str, is_folder: bool) -> bool:
        return path.startswith(value) and sees(granted, path, is_folder=is_folder)

    after = "" if value.endswith("/") else value
    selection = Selection(start=folder, after=after, sees=begins, wanted=lambda _: True)
    with closing(store.walk(selection, stop)) as found:
        keys = takewhile(lambda key: key.startswith(value), (_key(*one) for one in found))
        values = list(islice(keys, COMPLETED + 1))
    return [value, *values] if _is_file(call, value) else values


def _is_file(call: Call[Store], value: str) -> bool:
    """A walk begins after what is typed, which may be a whole name already."""
    try:
        names = paths.parse(value)
        if show(names) != value or not names or call.granted.access("read", value) is None:
            return False
        return call.source.handle.status(names).kind == "file"
    except (InvalidArguments, NotFound):
        return False


def _key(names: Names, status: Status) -> str:
    return f"{show(names)}/" if status.kind == "folder" else show(names)
