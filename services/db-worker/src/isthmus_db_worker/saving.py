"""Stores records with those around them, within one transaction.

Records of one table that can go together do: what one points at is stored before it, what points at it after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from isthmus.errors import Conflict, NotFound
from isthmus_db_worker.altering import after, change_each, check
from isthmus_db_worker.batches import OF_A_RECORD
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import diagnose
from isthmus_db_worker.inserting import insert_records
from isthmus_db_worker.journal import Action, Entry, Journal, rows_of
from isthmus_db_worker.keys import Key, with_keys
from isthmus_db_worker.records import NULL, Node, Record
from isthmus_db_worker.relations import Relation
from isthmus_db_worker.targets import Targets, lock, written
from isthmus_db_worker.transactions import savepoint
from isthmus_db_worker.views import View


@dataclass(frozen=True)
class Saved:
    """A record as it was stored."""

    key: Key
    """Of the table's handle; empty where it has none."""
    values: Record
    """What was bound."""


class Saver:
    """Stores records on one connection."""

    def __init__(self, database: Database, connection: Connection, journal: Journal) -> None:
        self._database = database
        self._connection = connection
        self._journal = journal
        self._entries: dict[tuple[str, str], Entry] = {}

    def save(self, nodes: Sequence[Node], links: Sequence[Record] = ()) -> list[Saved]:
        """Stores nodes of one table, and returns them in their order; `links` are the values that relations set."""
        given = [dict(node.values) for node in nodes]
        for record, link in zip(given, links, strict=False):
            record.update(link)
        for relation in dict.fromkeys(relation for node in nodes for relation, _ in node.pointed):
            places = [n for n, node in enumerate(nodes) if any(r is relation for r, _ in node.pointed)]
            others = [next(other for r, other in nodes[n].pointed if r is relation) for n in places]
            ends = self._ends(others, self.save(others), relation.to_columns)
            for n, end in zip(places, ends, strict=True):
                given[n].update(zip(relation.columns, end, strict=True))
        saved = self._store(nodes, given)
        for relation in dict.fromkeys(relation for node in nodes for relation, _ in node.pointing):
            places = [n for n, node in enumerate(nodes) if any(r is relation for r, _ in node.pointing)]
            ends = self._ends([nodes[n] for n in places], [saved[n] for n in places], relation.columns)
            self._save_pointing(relation, [nodes[n] for n in places], ends)
        return saved

    def _save_pointing(self, relation: Relation, nodes: Sequence[Node], ends: Sequence[Key]) -> None:
        inner, links = list[Node](), list[Record]()
        for node, end in zip(nodes, ends, strict=True):
            for other in next(others for r, others in node.pointing if r is relation):
                inner.append(other)
                links.append(dict(zip(relation.to_columns, end, strict=True)))
        if inner:
            self.save(inner, links)

    def _store(self, nodes: Sequence[Node], given: Sequence[Record]) -> list[Saved]:
        """Creates what is new and changes what is there."""
        there = self._find(nodes)
        places = {True: [n for n, key in enumerate(there) if key is None]}
        places[False] = [n for n, key in enumerate(there) if key is not None]
        saved: dict[int, Saved] = {}
        for new, chosen in places.items():
            if chosen:
                some, values = [nodes[n] for n in chosen], [given[n] for n in chosen]
                old = [key for n in chosen if (key := there[n]) is not None]
                keys = self._create(some, values) if new else self._change(some, values, old)
                saved.update((n, Saved(key, given[n])) for n, key in zip(chosen, keys, strict=True))
        return [saved[n] for n in range(len(nodes))]

    def _find(self, nodes: Sequence[Node]) -> list[Key | None]:
        """The keys of the records that are there already; of those that are to be updated it must be."""
        found: list[Key | None] = [None] * len(nodes)
        for n, node in enumerate(nodes):
            if node.action == "update":
                found[n] = node.key
        upserts = [n for n, node in enumerate(nodes) if node.action == "upsert"]
        if not upserts:
            return found
        table, match = nodes[upserts[0]].view.table, nodes[upserts[0]].match
        wanted, by = [nodes[n].key for n in upserts], [table.columns[name] for name in match]
        if len(set(wanted)) < len(wanted):
            twice = next(n for n in upserts if wanted.index(nodes[n].key) != upserts.index(n))
            raise Conflict(f"{nodes[twice].place}: there is a record with that {' and '.join(match)} before it.")
        matched: dict[Key, Key] = {}
        columns = [column.sql for column in (*by, *table.handle)]
        for condition in with_keys(by, wanted):
            for row in self._connection.execute(sa.select(*columns).where(condition)):
                matched[tuple(row[: len(by)])] = tuple(row[len(by) :])
        loose = not matched.keys() <= set(wanted)  # the engine finds equal what Python does not
        for n, key in zip(upserts, wanted, strict=True):
            found[n] = matched.get(key)
            if found[n] is None and loose:
                condition = next(with_keys(by, [key]))
                row = self._connection.execute(sa.select(*columns[len(by) :]).where(condition)).first()
                found[n] = None if row is None else tuple(row)
        return found

    def _create(self, nodes: Sequence[Node], given: Sequence[Record]) -> list[Key]:
        view = nodes[0].view
        entry = self._entry(view, "create")

        def insert(some: Sequence[int]) -> list[Key]:
            return insert_records(self._connection, view.table, [given[n] for n in some])

        inserted, handle = self._each(nodes, insert), view.table.handle
        keys = inserted if view.table.primary_key and handle else [tuple(r.get(c.name) for c in handle) for r in given]
        entry.made |= {name for n, node in enumerate(nodes) for name in given[n].keys() - node.values.keys()}
        entry.made |= {name for name in view.table.primary_key if any(r.get(name, NULL) is NULL for r in given)}
        check(self._connection, view, keys)
        entry.count += len(nodes)
        entry.keys += keys
        return keys

    def _change(self, nodes: Sequence[Node], given: Sequence[Record], keys: Sequence[Key]) -> list[Key]:
        """Changes records that are there, and belong where they are written."""
        view = nodes[0].view if nodes[0].updating is None else nodes[0].updating
        table, entry = view.table, self._entry(view, "update")
        keys = self._lock(view, entry, nodes, given, keys)
        own = [frozenset(node.match) for node in nodes]
        values = [{c: v for c, v in record.items() if c not in own[n]} for n, record in enumerate(given)]

        def update(some: Sequence[int]) -> list[Key]:
            change_each(self._connection, table, [keys[n] for n in some], [values[n] for n in some])
            return [after(table, keys[n], values[n]) for n in some]

        now = self._each(nodes, update)
        check(self._connection, view, now)
        entry.count += len(nodes)
        entry.keys += now
        entry.moved.update(zip(keys, now, strict=True))
        return now

    def _lock(
        self, view: View, entry: Entry, nodes: Sequence[Node], given: Sequence[Record], keys: Sequence[Key]
    ) -> list[Key]:
        """The keys as the database has them. One that belongs to another record than is written is not there."""
        handle, table = view.table.handle, view.table
        linked = any(given[n].keys() - node.values.keys() for n, node in enumerate(nodes))
        whole = Targets(tuple(with_keys(handle, keys)), tuple(keys))
        found = set[Key]() if linked else set(lock(self._connection, view, whole, self._journal, entry))
        locked: list[Key] = []
        for n, key in enumerate(keys):
            if key in found:
                locked.append(key)
                continue
            (condition,) = with_keys(handle, [key])
            links = [
                table.sql.c[c] == table.columns[c].bind(v) for c, v in given[n].items() if c not in nodes[n].values
            ]
            target = Targets((sa.and_(condition, *links),), (key,))
            one = lock(self._connection, view, target, self._journal, entry)
            if not one:
                where = "here " if links else ""
                raise NotFound(
                    f"{nodes[n].place}: there is no record {written(key)} in {table.key} {where}that you may change; "
                    "nothing was changed."
                )
            locked += one
        return locked

    def _each(self, nodes: Sequence[Node], store: Callable[[Sequence[int]], list[Key]]) -> list[Key]:
        """All at once; when one does not fit, one by one, so that it is known which."""
        everything = range(len(nodes))
        try:
            if len(nodes) == 1:
                self._journal.place = nodes[0].place
                return store(everything)
            with savepoint(self._connection):
                return store(everything)
        except (SQLAlchemyError, OverflowError, UnicodeError, *self._database.dialect.errors) as error:
            if len(nodes) == 1 or diagnose(self._database, error).failure not in OF_A_RECORD:
                raise
        found: list[Key] = []
        for n in everything:
            self._journal.place = nodes[n].place
            found += store([n])
        self._journal.place = ""
        return found

    def _entry(self, view: View, action: Action) -> Entry:
        entry = self._entries.get((view.table.key, action))
        if entry is None:
            entry = self._entries[view.table.key, action] = self._journal.entry(view, action)
        return entry

    def _ends(self, nodes: Sequence[Node], saved: Sequence[Saved], columns: tuple[str, ...]) -> list[Key]:
        """The values of columns that others point at: known from the key, else from what was given, else read."""
        view = nodes[0].view
        names = [column.name for column in view.table.handle]
        ends: list[Key] = []
        for one in saved:
            known = {**one.values, **dict(zip(names, one.key, strict=True))}
            if any(known.get(name, NULL) is NULL for name in columns):
                (row,) = rows_of(self._connection, view.table, [one.key], [view.table.columns[c].sql for c in columns])
                known.update(zip(columns, row or (), strict=False))
            ends.append(tuple(known[name] for name in columns))
        return ends
