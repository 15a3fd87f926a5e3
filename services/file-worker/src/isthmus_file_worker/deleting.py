"""`delete_file`: files, and folders with all that is in them."""

from contextlib import closing

from isthmus.auditing import Written
from isthmus.errors import Conflict, InvalidArguments, NotAllowed
from isthmus.worker import Call
from isthmus_file_worker import paths
from isthmus_file_worker.changes import Begin, Change, Changed, Sight, carry_out, entries
from isthmus_file_worker.following import TOLD, came_or_went
from isthmus_file_worker.paths import ASIDE, DEPTH, Names, is_ours, show
from isthmus_file_worker.store import Status, Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look, sees


class DeleteFile(Change, kw_only=True):
    """What to delete."""

    path: str
    """The file or folder, such as `notes/old.md`."""
    recursive: bool = False
    """Needed for a folder."""


async def delete_file(call: Call[Store], arguments: DeleteFile) -> Changed:
    """Deletes a file, or with `recursive` a folder and all that is in it. This cannot be undone."""
    names = paths.parse(arguments.path)
    path = show(names)
    if not names:
        raise InvalidArguments("The root of a store cannot be deleted.")
    store, granted = call.source.handle, call.granted
    gone: set[Names] = {names}

    def work(begin: Begin, stop: Stop) -> Changed:
        is_folder = look(store, granted, names, stop).kind == "folder"
        if granted.access("delete", path) is None:
            raise NotAllowed(f"You may not delete {path}.")
        if is_folder and not arguments.recursive:
            with closing(store.entries(names, stop)) as found:
                count = sum(sees(granted, f"{path}/{name}", is_folder=inner) for name, inner in found)
            raise Conflict(
                f"{path} is a folder with {entries(count)}; set `recursive` to delete it with all that is in it."
            )
        sight = Sight()

        def may_go(inner: Names, status: Status) -> None:
            if len(inner) > DEPTH:
                raise Conflict(f"The folders in {path} are too deep to be deleted at once.")
            if is_ours(inner[-1]) and not inner[-1].startswith(ASIDE):
                raise Conflict(f"{path} cannot be deleted, since Isthmus keeps files of its own in it.")
            if granted.access("delete", show(inner)) is None:
                raise NotAllowed(f"You may not delete {path}, since that takes the right to delete all that is in it.")
            sight.note(inner, status, shown=sees(granted, show(inner), is_folder=status.kind == "folder"))
            if len(gone) < TOLD:
                gone.add(inner)

        def ready() -> None:
            inside = f" with {entries(sight.count - 1)}" if is_folder else ""
            sight.lines.append(f"delete {path}{inside}, {sight.size:,} bytes")
            begin(sight)

        store.delete(names, may_go, ready, stop)
        return Changed(path=path, done="deleted", entries=sight.count)

    def written(done: Changed) -> list[Written]:
        assert isinstance(done.entries, int)  # noqa: S101  (work says so)
        return [Written(object=path, action="delete", count=done.entries)]

    changed = await carry_out(call, arguments, path, work, written)
    if changed.done == "deleted":
        await came_or_went(call, files=gone, folders=gone)  # which of them were folders can no longer be told
    return changed
