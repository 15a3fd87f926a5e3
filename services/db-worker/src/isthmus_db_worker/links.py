"""Foreign keys as one caller may know them."""

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from isthmus.grants import Access
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.relations import Relation, relations_of
from isthmus_db_worker.tables import ForeignKey
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import follows


@dataclass(frozen=True)
class Links:
    """Foreign keys between tables that the caller may read, none of whose columns is hidden."""

    forth: Mapping[str, Sequence[ForeignKey]]
    """By the key of the table that has them."""
    back: Mapping[str, Sequence[ForeignKey]]
    """By that of the table that they point at."""
    followed: Mapping[str, Sequence[ForeignKey]]
    """Those of both directions that paths may follow: nothing of them is masked."""

    @classmethod
    def of(cls, call: Call[Database], known: Container[str], references: Iterable[ForeignKey]) -> Self:
        """`known` are the tables that there are, by key."""
        accesses: dict[str, Access | None] = {}
        forth, back, followed = (defaultdict[str, list[ForeignKey]](list) for _ in range(3))

        def sees(table: str, columns: Iterable[str]) -> bool:
            if table not in accesses:
                accesses[table] = call.granted.access("read", table) if table in known else None
            access = accesses[table]
            return access is not None and not any(access.hides(table, name) for name in columns)

        for key in references:
            if sees(key.table, key.columns) and sees(key.to_table, key.to_columns):
                forth[key.table].append(key)
                back[key.to_table].append(key)
                if follows(call.granted, key):
                    for table in {key.table, key.to_table}:
                        followed[table].append(key)
        return cls(forth, back, followed)

    def touching(self, table: str) -> int:
        """How many there are, from the table and to it."""
        return len(self.forth.get(table, ())) + len(self.back.get(table, ()))

    def relations(self, seen: View) -> dict[str, Relation]:
        """Where paths lead from a table, by name."""
        return relations_of(seen.table.key, seen.columns, self.followed.get(seen.table.key, ()))


def relation_name(relations: Mapping[str, Relation], key: ForeignKey, *, many: bool) -> str | None:
    """What the way along a foreign key is called, forth or back; None: no path may follow it."""
    ends = (key.table, key.to_columns, key.columns) if many else (key.to_table, key.columns, key.to_columns)
    found = [r.name for r in relations.values() if (r.table, r.columns, r.to_columns) == ends and r.many == many]
    return found[0] if found else None
