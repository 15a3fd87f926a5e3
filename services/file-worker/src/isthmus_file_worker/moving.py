"""`move_file` and `copy_file`: to a place where nothing is, within one store."""

from collections.abc import Callable

from isthmus.auditing import Written
from isthmus.errors import Conflict, InvalidArguments, NotAllowed
from isthmus.grants import Granted
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.changes import Begin, Change, Changed, Sight, carry_out, entries
from isthmus_file_worker.following import TOLD, came_or_went
from isthmus_file_worker.paths import DEPTH, Names, can_be_named, is_ours, show
from isthmus_file_worker.store import Status, Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look


class CopyFile(Change, kw_only=True):
    """What to copy where."""

    path: str
    """The file or folder."""
    to_path: str
    """Where nothing is yet; missing folders are made."""
    recursive: bool = False
    """Needed for a folder."""


class MoveFile(CopyFile, kw_only=True):
    """What to move where."""


async def copy_file(call: Call[Store], arguments: CopyFile) -> Changed:
    """Copies a file, or with `recursive` a folder and all that is in it, within the store."""
    changed, _, to = await _transfer(call, arguments, moves=False)
    if changed.done == "copied":
        await came_or_went(call, files=to, folders=to)
    return changed


async def move_file(call: Call[Store], arguments: MoveFile) -> Changed:
    """Moves or renames a file, or with `recursive` a folder and all that is in it, within the store."""
    changed, origin, to = await _transfer(call, arguments, moves=True)
    if changed.done == "moved":
        both = origin | to
        await came_or_went(call, files=both, folders=both)
    return changed


async def _transfer(call: Call[Store], given: CopyFile, *, moves: bool) -> tuple[Changed, set[Names], set[Names]]:
    """With some of the entries that went, and of those that came."""
    names, to = paths.parse(given.path), paths.parse(given.to_path)
    path, to_path = show(names), show(to)
    if not names or not to:
        raise InvalidArguments("The root of a store can neither be copied nor moved nor replaced.")
    if to[: len(names)] == names:
        raise InvalidArguments(f"{to_path} is {path} itself or in it; choose another place.")
    store, granted = call.source.handle, call.granted
    origin: set[Names] = set()
    new: set[Names] = set()

    def work(begin: Begin, stop: Stop) -> Changed:
        is_folder = look(store, granted, names, stop).kind == "folder"
        if is_folder and not given.recursive:
            raise Conflict(f"{path} is a folder; set `recursive` to {'move' if moves else 'copy'} it with all in it.")
        sight = Sight()
        check = _checks(granted, names, to, moves=moves)

        def may_go(inner: Names, status: Status) -> None:
            if not moves and not all(map(can_be_named, inner)):
                return  # does not exist for anybody here, and is not copied
            check(inner)
            sight.note(inner, status)
            if len(origin) < TOLD:
                origin.add(inner)
                new.add((*to, *inner[len(names) :]))

        def ready() -> None:
            inside = f" with {entries(sight.count - 1)}" if is_folder else ""
            sight.lines.append(f"{'move' if moves else 'copy'} {path}{inside} to {to_path}, {sight.size:,} bytes")
            begin(sight)

        (store.move if moves else store.copy)(names, to, may_go, ready, stop)
        return Changed(path=path, to_path=to_path, done="moved" if moves else "copied", entries=sight.count)

    def written(done: Changed) -> list[Written]:
        assert isinstance(done.entries, int)  # noqa: S101  (work says so)
        came = Written(object=to_path, action="create", count=done.entries)
        return [Written(object=path, action="delete", count=done.entries), came] if moves else [came]

    return await carry_out(call, given, path, work, written), origin, new


def _checks(granted: Granted, names: Names, to: Names, *, moves: bool) -> Callable[[Names], None]:
    """Raises for an entry that may not be transferred; `names` goes to `to`."""

    def check(inner: Names) -> None:
        below = (*to, *inner[len(names) :])
        if len(below) > DEPTH or len(inner) > DEPTH or len(show(below).encode(errors="replace")) > paths.PATH_BYTES:
            raise Conflict(f"The folders in {show(names)} are too deep for that.")
        if any(map(is_ours, inner)):
            raise Conflict(f"{show(names)} cannot be moved, since Isthmus keeps files of its own in it.")
        if granted.access("read", show(inner)) is None:
            raise NotAllowed(f"You may not copy {show(names)}, since that takes the right to read all that is in it.")
        if moves and granted.access("delete", show(inner)) is None:
            raise NotAllowed(f"You may not move {show(names)}, since that takes the right to delete all that is in it.")
        if granted.access("create", show(below)) is None:
            raise NotAllowed(
                f"You may not create {show(to)}{' with all that would be in it' if inner != names else ''}."
            )

    return check
