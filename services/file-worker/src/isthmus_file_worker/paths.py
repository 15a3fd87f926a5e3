"""Paths as callers write them: names joined by `/`, from the root of a store, one spelling each."""

import re

from isthmus.errors import InvalidArguments

NAME_BYTES = 255
PATH_BYTES = 4096
DEPTH = 100
"""Names in a path at most: as many folders are held open while a tree is walked."""

Names = tuple[str, ...]
"""The way from the root of a store; `()` is the root itself."""

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OURS = ".isthmus"
ASIDE = ".isthmus-"
"""How the name of a file begins that is being written."""


def parse(path: str) -> Names:
    """The names in `path`; the root is the empty path or `.`, and a folder may end with a slash.

    Raises InvalidArguments for whatever could mean a place outside the store, or two places.
    """
    if path in ("", "."):
        return ()
    if path.startswith("/"):
        raise InvalidArguments("Paths begin at the root of the store, so leave out the slash at the beginning.")
    if _DRIVE.match(path):
        raise InvalidArguments("Paths begin at the root of the store, so leave out the drive letter.")
    if "\\" in path:
        raise InvalidArguments("Paths are written with / and have no backslash.")
    if _CONTROL.search(path):
        raise InvalidArguments("Paths have no control characters.")
    names = tuple(path.removesuffix("/").split("/"))
    if ".." in names:
        raise InvalidArguments("Paths have no .. in them; begin at the root of the store instead.")
    if "" in names or "." in names:
        raise InvalidArguments("Paths have one name between two slashes, neither nothing nor a dot.")
    if len(path.encode()) > PATH_BYTES or len(names) > DEPTH:
        raise InvalidArguments(f"Paths have at most {PATH_BYTES} bytes and {DEPTH} names.")
    if any(len(name.encode()) > NAME_BYTES for name in names):
        raise InvalidArguments(f"A name in a path has at most {NAME_BYTES} bytes.")
    if any(is_ours(name) for name in names):
        raise InvalidArguments(f"Names that begin with {_OURS} are kept for Isthmus itself.")
    return names


def can_be_named(name: str) -> bool:
    """Whether a path may have this name, found in a store, in it; files that none can name are left out everywhere."""
    if name in ("", ".", "..") or "\\" in name or _CONTROL.search(name) or is_ours(name):
        return False
    return len(name.encode()) <= NAME_BYTES


def is_ours(name: str) -> bool:
    """Whether it is Isthmus's own: a file being written, or the state that the launcher keeps."""
    return name.lower().startswith(_OURS)


def show(names: Names) -> str:
    """The path as callers write it, and as grants match it."""
    return "/".join(names)
