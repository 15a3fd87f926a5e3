"""What one caller sees of a database: the tables, columns, rows and relations that the grants leave."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from isthmus.errors import NotAllowed, NotFound, near
from isthmus.grants import Access, Granted
from isthmus.tools import Call
from isthmus_db_worker.catalog import Catalog
from isthmus_db_worker.database import Database
from isthmus_db_worker.filters import attributes_of
from isthmus_db_worker.relations import Relation, relations_of
from isthmus_db_worker.tables import ForeignKey, Table, TableName
from isthmus_db_worker.views import UnknownColumn, View, view_of

R = TypeVar("R")


class Unseen(Exception):
    """Something that has not been looked at yet: a table by its key, or without one the foreign keys."""

    def __init__(self, key: str = "", action: str = "read") -> None:
        super().__init__(key)
        self.key = key
        self.action = action


@dataclass(frozen=True)
class Seen:
    """What a plan was made from."""

    tables: tuple[Table, ...]
    references: tuple[ForeignKey, ...] | None

    async def is_current(self, catalog: Catalog) -> bool:
        """Whether it is all as it was."""
        if self.references is not None and await catalog.references() is not self.references:
            return False
        for table in self.tables:
            if await catalog.table(table.name) is not table:
                return False
        return True


class Sight:
    """What a caller sees of a database, as far as it was looked at: that takes time, so it happens on demand."""

    def __init__(self, call: Call[Database], root: View, action: str) -> None:
        """`root`: the table that the call is about, as the caller sees it for the action."""
        self.root = root
        self._call = call
        self._views = {(action, root.table.key): root}
        self._references: tuple[ForeignKey, ...] | None = None
        self._relations: dict[str, dict[str, Relation]] = {}

    def view(self, key: str, action: str = "read") -> View:
        """A table as the caller sees it for an action. Raises Unseen when it was not looked at."""
        if (action, key) not in self._views:
            raise Unseen(key, action)
        return self._views[action, key]

    def relations(self, view: View) -> dict[str, Relation]:
        """Where the foreign keys lead that the caller may follow, by name. Raises Unseen."""
        if self._references is None:
            raise Unseen
        key = view.table.key
        if key not in self._relations:
            followed = [r for r in self._references if key in (r.table, r.to_table) and follows(self._call.granted, r)]
            self._relations[key] = relations_of(key, view.columns, followed)
        return self._relations[key]

    async def look(self, unseen: Unseen) -> None:
        """Makes it seen. Raises NotFound for a table that is gone, NotAllowed."""
        catalog = self._call.source.handle.catalog
        if not unseen.key:
            self._references = await catalog.references()
            return
        name = (await catalog.names()).get(unseen.key)
        if name is None:
            raise NotFound(f"There is no table {unseen.key} any more.")
        if (access := self._call.granted.access(unseen.action, name.key)) is None:
            if unseen.action == "read" or not may_read(self._call, name.key):
                raise NotFound(f"There is no table {unseen.key}.")
            raise NotAllowed(f"You may read {name.key}, but not {unseen.action} in it.")
        self._views[unseen.action, name.key] = await _view(self._call, name, unseen.action, access)

    def seen(self) -> Seen:
        """All that was looked at."""
        return Seen(tuple(view.table for view in self._views.values()), self._references)


def follows(granted: Granted, key: ForeignKey) -> bool:
    """Whether a path may lead along it: both tables must be the caller's to read, and the columns that join them
    neither hidden nor masked."""
    for table, columns in ((key.table, key.columns), (key.to_table, key.to_columns)):
        access = granted.access("read", table)
        if access is None or any(access.hides(table, name) or access.masks(table, name) for name in columns):
            return False
    return True


async def visible_tables(call: Call[Database]) -> dict[str, TableName]:
    """The tables and views that the caller may read, by key."""
    return _readable(call, await call.source.handle.catalog.names())


async def view_for(call: Call[Database], name: TableName, action: str) -> View | None:
    """A table as the caller sees it for an action; None when that is not at all. Raises NotFound when it is gone."""
    access = call.granted.access(action, name.key)
    return await _view(call, name, action, access) if access is not None else None


def may_read(call: Call[Database], key: str) -> bool:
    """Whether the caller may read the table of this key."""
    return call.granted.access("read", key) is not None


async def see_table(call: Call[Database], text: str, action: str) -> View:
    """The table as the caller sees it for the action; one that the caller may not read does not exist.

    Raises NotFound, NotAllowed.
    """
    name, access = await find_table(call, text, action, readable=True)
    return await _view(call, name, action, access)


async def plan(call: Call[Database], text: str, action: str, make: Callable[[View], R]) -> R:
    """What `make` returns for the table as the caller sees it.

    Raises NotFound when the table is not there or not for the caller. When `make` misses a column, the table is looked
    at once more.
    """
    name, access = await find_table(call, text, action)
    return await plan_on(call, name, action, access, lambda sight: make(sight.root))


async def plan_on(call: Call[Database], name: TableName, action: str, access: Access, make: Callable[[Sight], R]) -> R:
    """What `make` returns for the table and those that it leads to. It is called again when it lacks one."""
    sight, again = Sight(call, await _view(call, name, action, access), action), False
    while True:
        try:
            return make(sight)
        except Unseen as unseen:
            await sight.look(unseen)
        except UnknownColumn:
            if again:
                raise
            sight, again = Sight(call, await _view(call, name, action, access, again=True), action), True


def who(call: Call[Database]) -> Hashable:
    """What the caller's views depend on: the grants, the caller where row filters speak of the user, and the time
    where they speak of it."""
    rows = [grant.rows.lower() for grant in call.granted.grants if grant.rows]
    if not rows:
        return call.granted.digest
    second = int(time.time()) if any(word in row for row in rows for word in ("now", "current_", "today")) else 0
    return call.granted.digest, tuple(sorted(attributes_of(call.principal).items())), second


async def _view(call: Call[Database], name: TableName, action: str, access: Access, *, again: bool = False) -> View:
    table = await call.source.handle.catalog.table(name, again=again)
    if table is None:
        raise NotFound(f"There is no table {name.key} any more, or the database cannot describe it.")
    views = call.source.handle.views
    key = (who(call), action, name.key)
    if (view := views.get(key)) is None or view.table is not table:
        reading = access if action == "read" else call.granted.access("read", table.key)
        view = views.put(key, view_of(table, call.source.handle.dialect, call.principal, access, reading))
    return view


async def find_table(
    call: Call[Database], text: str, action: str, *, readable: bool = False
) -> tuple[TableName, Access]:
    """The table that the caller means, and what the grants allow there; `readable`: it must be one to read, too.

    Raises NotFound, or NotAllowed for a table that the caller may read only.
    """
    catalog = call.source.handle.catalog
    reachable: dict[str, TableName] = {}
    for again in (False, True):
        names = await catalog.names(again=again)
        if readable:
            names = _readable(call, names)
        if text in names and (access := call.granted.access(action, text)) is not None:
            return names[text], access
        reachable = {key: name for key, name in names.items() if call.granted.access(action, key) is not None}
        if (name := _pick_table(reachable, text)) is not None and (
            access := call.granted.access(action, name.key)
        ) is not None:
            return name, access
    if (name := _pick_table(_readable(call, await catalog.names()), text)) is not None:
        raise NotAllowed(f"You may read {name.key}, but not {action} in it.")
    raise NotFound(f"There is no table {text[:128]} in {call.source.name}.{near(text, reachable)}")


def _readable(call: Call[Database], names: dict[str, TableName]) -> dict[str, TableName]:
    return {key: name for key, name in sorted(names.items()) if may_read(call, key)}


def _pick_table(names: dict[str, TableName], text: str) -> TableName | None:
    """The exact name, else the only one that differs in nothing but letter case or the default schema's name."""
    if text in names:
        return names[text]
    alike = [name for name in names.values() if text.lower() in (name.key.lower(), name.full.lower())]
    return alike[0] if len(alike) == 1 else None
