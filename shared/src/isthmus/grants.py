"""What a caller may do. Roles hold grants, the gateway picks those for one call, the worker enforces them."""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Self

import msgspec


class Grant(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a role: these actions on these objects of these sources."""

    sources: tuple[str, ...]
    """Globs over `<kind>.<source>`, such as `db.*` or `file.reports`."""
    actions: tuple[str, ...]
    """Of `read create update delete call sql share`, `use` for another kind of worker, or `*` for all of them."""
    objects: tuple[str, ...] = ("**",)
    """Globs over tables (`orders`, `crm.*`) or over paths without a leading slash (`public/**`)."""
    hidden: tuple[str, ...] = ()
    """Globs over columns (`salary`, `employees.salary`) that do not exist for the caller."""
    masked: tuple[str, ...] = ()
    """Globs over columns whose values the caller never sees and cannot filter, order or group by."""
    rows: str = ""
    """A filter over the object's rows, with `{user.id}` and the user's attributes as placeholders. Empty: all rows."""


class Access(msgspec.Struct, frozen=True):
    """What all grants together allow on one object, for one action."""

    rows: tuple[str, ...] = ()
    """A row is in reach when any of these filters holds. Empty: every row."""
    hidden: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()

    def hides(self, table: str, column: str) -> bool:
        """Whether the column does not exist for the caller."""
        return matches_any(self.hidden, column) or matches_any(self.hidden, f"{table}.{column}")

    def masks(self, table: str, column: str) -> bool:
        """Whether the column's values are kept from the caller."""
        return matches_any(self.masked, column) or matches_any(self.masked, f"{table}.{column}")


class Granted(msgspec.Struct, frozen=True):
    """The caller's grants for one source, as they travel with a call."""

    digest: str
    """Names these grants: what was derived from them may be cached under it."""
    grants: tuple[Grant, ...] = ()

    @classmethod
    def of(cls, grants: Iterable[Grant]) -> Self:
        """These grants, with their digest."""
        kept = tuple(grants)
        return cls(hashlib.sha256(msgspec.json.encode(kept)).hexdigest()[:16], kept)

    def allows(self, action: str) -> bool:
        """Whether the action is allowed on any object at all."""
        return any(_acts(grant, action) for grant in self.grants)

    def allows_any(self, actions: Iterable[str]) -> bool:
        """Whether one of the actions is."""
        return any(self.allows(action) for action in actions)

    def whole(self) -> "Granted":
        """Only what is granted on the source as a whole, for workers that do not tell its parts apart.

        A column that any grant closes stays closed, so then nothing is left.
        """
        if any(grant.hidden or grant.masked for grant in self.grants):
            return Granted(self.digest)
        return Granted(self.digest, tuple(g for g in self.grants if "**" in g.objects and not g.rows))

    def access(self, action: str, target: str) -> Access | None:
        """What is allowed on one table or path; None: nothing.

        Grants add up: a row that one of them reaches is reached. Columns are the exception, so that no pair of
        roles opens what each of them closes: a column that one grant hides or masks is hidden or masked.
        """
        found = [g for g in self.grants if _acts(g, action) and matches_any(g.objects, target)]
        if not found:
            return None
        return Access(
            rows=tuple(dict.fromkeys(g.rows for g in found)) if all(g.rows for g in found) else (),
            hidden=tuple(dict.fromkeys(name for g in found for name in g.hidden)),
            masked=tuple(dict.fromkeys(name for g in found for name in g.masked)),
        )

    def reaches_into(self, action: str, folder: str) -> bool:
        """Whether something below the folder may be allowed, so that the folder itself may be shown."""
        return any(_acts(g, action) and _may_match_below(glob, folder) for g in self.grants for glob in g.objects)


EVERYTHING = Grant(sources=("**",), actions=("*",))
"""The one grant of the built-in role `everything`."""


def matches(glob: str, text: str) -> bool:
    """`*` stands for any run of characters but `/`, `**` for any run at all, `?` for one character but `/`."""
    return _pattern(glob).fullmatch(text) is not None


def matches_any(globs: Iterable[str], text: str) -> bool:
    """Whether one of the globs matches."""
    return any(matches(glob, text) for glob in globs)


def _acts(grant: Grant, action: str) -> bool:
    return action in grant.actions or "*" in grant.actions


def _may_match_below(glob: str, folder: str) -> bool:
    """Compares segment by segment; from a `**` on anything may follow."""
    below = [part for part in folder.split("/") if part]
    wanted = glob.split("/")
    for part, pattern in zip(below, wanted, strict=False):
        if "**" in pattern:
            return matches(pattern, part) or pattern.startswith("**") or matches(glob, folder)
        if not matches(pattern, part):
            return False
    return len(wanted) > len(below)


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    named = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(named.get(part) or re.escape(part) for part in parts), re.DOTALL)
