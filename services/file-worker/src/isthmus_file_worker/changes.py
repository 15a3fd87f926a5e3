"""Changes of files: previewed, agreed to and done.

A preview is the change itself up to where it would begin: so it refuses what the change would refuse.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from isthmus.auditing import Written
from isthmus.errors import Conflict
from isthmus.plans import FORM, SECONDS, Shown, agree, id_of, make_plan, open_plan
from isthmus.tools import Call
from isthmus_file_worker.arguments import StoreArguments
from isthmus_file_worker.paths import Names, show
from isthmus_file_worker.store import Status, Store
from isthmus_file_worker.threads import Stop

NAMED = 20
"""Entries that a preview names."""


class Change(StoreArguments, kw_only=True):
    """What every tool takes that changes files."""

    preview: bool = False
    """Only show what would change."""
    plan: str = ""
    """Of a preview, to do just that."""


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would do."""

    changes: list[str]
    """In words; the first entries by name."""
    plan: str
    """To do exactly that."""
    seconds: int
    """For which the plan holds."""


class Changed(msgspec.Struct, kw_only=True):
    """What was done, or what would be."""

    path: str
    done: Literal["created", "replaced", "appended", "edited", "moved", "copied", "deleted", "nothing"] = "nothing"
    to_path: str | msgspec.UnsetType = msgspec.UNSET
    size: int | msgspec.UnsetType = msgspec.UNSET
    """Bytes of the file now."""
    etag: str | msgspec.UnsetType = msgspec.UNSET
    """Of the file now, for `if_match`."""
    entries: int | msgspec.UnsetType = msgspec.UNSET
    """Files and folders, with the one named."""
    diff: str | msgspec.UnsetType = msgspec.UNSET
    guaranteed: bool | msgspec.UnsetType = msgspec.UNSET
    """False: the store cannot rule out that another wrote at the same moment."""
    preview: Preview | msgspec.UnsetType = msgspec.UNSET
    """What would be done. Nothing is."""

    def text(self) -> str:
        """A sentence, and what there is to see."""
        if self.preview is not msgspec.UNSET:
            what = "\n".join(self.preview.changes)
            return (
                f"Nothing is changed yet. This call would:\n{what}\n"
                f'To do exactly this, make the same call with plan "{self.preview.plan}" in place of preview, within '
                f"{self.preview.seconds // 60} minutes."
            )
        lines = [self._sentence()]
        if self.guaranteed is False:
            lines.append("This store cannot rule out that another wrote at the same moment.")
        if self.diff is not msgspec.UNSET:
            lines.append(self.diff)
        return "\n".join(lines)

    def _sentence(self) -> str:
        if self.done == "nothing":
            return f"{self.path or 'The root'} was there already; nothing was changed."
        where = f" to {self.to_path}" if self.to_path is not msgspec.UNSET else ""
        below = self.entries - 1 if self.entries is not msgspec.UNSET else 0
        inside = f" with {entries(below)}" if below else ""
        size = f", {self.size} bytes" if self.size is not msgspec.UNSET else ""
        what = "Appended to" if self.done == "appended" else self.done.capitalize()
        return f"{what} {self.path}{where}{inside}{size}."


@dataclass
class Sight:
    """What a change is about, as it is looked at before the change begins."""

    lines: list[str] = field(default_factory=list[str])
    """What it would do, in words."""
    count: int = 0
    size: int = 0
    """Bytes of all files."""
    named: list[str] = field(default_factory=list[str])
    """The first entries."""
    more: Callable[[], str] = str
    """What only a preview shows, and what takes time to find out; it runs in a thread."""
    begun: bool = False
    _sum: int = 0

    def note(self, names: Names, status: Status | None, *, shown: bool = True) -> None:
        """An entry that would be changed; None: it is not there. Those that come after the beginning do not count."""
        if self.begun:
            return
        path = show(names)
        known = f"{path}\0{status.kind if status else ''}\0{status.etag if status else ''}"
        # A sum, since the entries of a folder come in any order.
        self._sum += int.from_bytes(hashlib.blake2b(known.encode(errors="surrogateescape"), digest_size=8).digest())
        self.count += 1
        if status is not None:
            self.size += status.size
        if shown and len(self.named) < NAMED:
            self.named.append(f"{path}/" if status is not None and status.kind == "folder" else path)

    @property
    def digest(self) -> bytes:
        """Another one for other entries, and for entries that were changed."""
        return self.count.to_bytes(4) + (self._sum % 2**64).to_bytes(8)


Begin = Callable[[Sight], None]
"""Is called when all was looked at and nothing is changed yet; raises if it is to stay so."""


class _OnlyLooked(Exception):
    """The change was only looked at."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight


async def carry_out(
    call: Call[Store],
    given: Change,
    path: str,
    work: Callable[[Begin, Stop], Changed],
    written: Callable[[Changed], Sequence[Written]],
) -> Changed:
    """Does the change as the store wants it done; `work` runs in a thread, `written` says what goes on record."""
    store = call.source.handle
    same = (type(given).__name__, msgspec.structs.replace(given, preview=False, plan="", store=None))
    if given.plan:
        open_plan(call, same, given.plan)

    def begin(sight: Sight, plan: str) -> None:
        if plan and open_plan(call, same, plan) != sight.digest:
            raise Conflict(
                f"{path or 'It'} is not as it was when it was previewed; nothing was changed. Preview again."
            )
        sight.begun = True

    async def show(plan: str) -> Shown[Changed]:
        def look(sight: Sight) -> None:
            begin(sight, plan)
            sight.lines += filter(None, [sight.more()])
            raise _OnlyLooked(sight)

        try:
            done = await store.work(lambda stop: work(look, stop), call.left)
        except _OnlyLooked as looked:
            made = make_plan(call, same, looked.sight.digest)
            preview = Preview(changes=_words(looked.sight), plan=made, seconds=SECONDS)
            return Shown(Changed(path=path, preview=preview), made, "\n".join(preview.changes)[:FORM])
        return Shown(done, "", done.text())  # there was nothing to change

    agreed = await agree(call, store.writes, show, preview=given.preview, plan=given.plan)
    if isinstance(agreed, Changed):
        return agreed
    changed = await store.work(lambda stop: work(lambda sight: begin(sight, agreed), stop), call.left)
    for one in written(changed):
        call.wrote(msgspec.structs.replace(one, plan=id_of(agreed)))
    return changed


def entries(count: int) -> str:
    """As in `2 entries`."""
    return "1 entry" if count == 1 else f"{count:,} entries"


def _words(sight: Sight) -> list[str]:
    rest = sight.count - len(sight.named)
    if sight.count <= 1:
        return sight.lines
    return [*sight.lines, *sight.named, *([f"and {rest:,} more"] if rest else [])]
