"""`edit_file`: other text in place of exact text, in a file that is still the one that was read."""

import codecs
from typing import Annotated

import msgspec

from isthmus.auditing import Written
from isthmus.errors import Conflict, InvalidArguments, NotAllowed, TooLarge
from isthmus.worker import Call
from isthmus_file_worker import media
from isthmus_file_worker.changes import Begin, Change, Changed, Sight, carry_out
from isthmus_file_worker.differences import difference
from isthmus_file_worker.following import replaced
from isthmus_file_worker.paths import show
from isthmus_file_worker.store import Found, Status, Store
from isthmus_file_worker.threads import Stop
from isthmus_file_worker.visibility import look
from isthmus_file_worker.writing import LIMIT, check_etag, file_names

_MARKED = {"utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)}
"""The byte order marks of encodings that say no byte order themselves: little end first, big end first."""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A replacement: `old` is in the file exactly once."""

    old: Annotated[str, msgspec.Meta(min_length=1)]
    new: str


class EditFile(Change, kw_only=True):
    """What to replace where."""

    path: str
    """The file."""
    edits: Annotated[list[Edit], msgspec.Meta(min_length=1, max_length=100)]
    """Replacements, one after the other; `old` must be in the file exactly once."""
    if_match: str = ""
    """Only if the file there has this etag."""


async def edit_file(call: Call[Store], arguments: EditFile) -> Changed:
    """Replaces exact text in a text file, all edits or none, and answers the difference."""
    names = file_names(arguments.path)
    path = show(names)
    may_read, may_update = (call.granted.access(action, path) is not None for action in ("read", "update"))

    def work(begin: Begin, stop: Stop) -> Changed:
        store = call.source.handle
        if look(store, call.granted, names, stop).kind == "folder":
            raise InvalidArguments(f"{path} is a folder.")
        if not (may_read and may_update):
            raise NotAllowed(f"You may not change {path}.")

        def content(found: Found | None) -> bytes:
            check_etag(path, found, arguments.if_match)
            if found is None or found.kind != "file":
                raise Conflict(f"{path} is not there any more.")
            nonlocal diff, size
            before, encoding = _decoded(path, found)
            after = _edited(path, before, arguments.edits)
            new = _encoded(after, encoding, path)
            diff, size = difference(before, after, path), len(new)
            sight = Sight([f"change {path}:", diff])
            sight.note(names, Status("file", found.size, etag=found.etag))
            begin(sight)
            return new

        diff, size = "", 0
        placed = store.put(names, content, stop, make=False, exact=True)
        return Changed(
            path=path,
            done="edited",
            size=size,
            etag=placed.etag,
            diff=diff,
            guaranteed=msgspec.UNSET if placed.exact else False,
        )

    changed = await carry_out(call, arguments, path, work, lambda _: [Written(object=path, action="update")])
    if changed.done == "edited":
        await replaced(call, names)
    return changed


def _decoded(path: str, found: Found) -> tuple[str, str]:
    """The text and its encoding, in which it becomes the very same bytes again."""
    if found.size > LIMIT:
        raise TooLarge(f"{path} has {found.size} bytes, and files of up to {LIMIT} can be edited.")
    data = found.read()
    kind = media.recognize(data[: media.SAMPLE], path, whole=len(data) <= media.SAMPLE)
    if encoding := media.encoding_of(kind):
        encoding = _with_order(encoding, data)
        try:
            text = data.decode(encoding)
            if text.encode(encoding) == data:
                return text, encoding
        except (UnicodeError, LookupError):
            pass
    raise InvalidArguments(f"{path} is not a text that can be edited; write_file replaces it.")


def _with_order(encoding: str, data: bytes) -> str:
    little, big = _MARKED.get(encoding, (b"", b""))
    return f"{encoding}-le" if little and data.startswith(little) else f"{encoding}-be" if big else encoding


def _edited(path: str, text: str, edits: list[Edit]) -> str:
    for place, edit in enumerate(edits):
        old, new = edit.old, edit.new
        if "\r\n" in text and "\r" not in old:  # whoever wrote the edit saw lines, not how they end
            old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
        count = text.count(old)
        if count != 1:
            what = "is not" if count == 0 else f"is {count} times"
            hint = "read the file again" if count == 0 else "give more of what is around it"
            raise InvalidArguments(f"`old` of edits[{place}] {what} in {path}; nothing was changed, {hint}.")
        text = text.replace(old, new)
    return text


def _encoded(text: str, encoding: str, path: str) -> bytes:
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError as error:
        character = text[error.start]
        raise InvalidArguments(f"{path} is in {encoding}, which has no {character!r}; nothing was changed.") from None
    if len(data) > LIMIT:
        raise TooLarge(f"{path} would have {len(data)} bytes, and files of up to {LIMIT} can be edited.")
    return data
