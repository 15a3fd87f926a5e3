"""Relations: what a table's foreign keys, in both directions, are called in dotted paths and in `related`.

`customer` leads from an order to its customer, and `orders` from a customer to its orders. Where a short name would
mean two things, or a column, the long one alone is a name: `customers_by_customer_id`, `orders_by_customer_id`. The
long name is always understood.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isthmus_db_worker.tables import ForeignKey


@dataclass(frozen=True)
class Relation:
    """A step from the rows of one table to those of another."""

    name: str
    table: str
    """The key of the table that it leads to."""
    columns: tuple[str, ...]
    """Those of the table that it starts from."""
    to_columns: tuple[str, ...]
    """Those of the other table, equal in value."""
    many: bool
    """Whether a row may have several; otherwise it has one or none."""


def relations_of(table: str, columns: Iterable[str], references: Iterable[ForeignKey]) -> dict[str, Relation]:
    """The table's relations by name, those to one row first; `references` are the foreign keys that count."""
    forth, back = list[ForeignKey](), list[ForeignKey]()
    for key in dict.fromkeys(references):
        if key.table == table:
            forth.append(key)
        if key.to_table == table:
            back.append(key)
    wanted = [(_forth_name(key), _long(key.to_table, key), key, False) for key in forth]
    wanted += [(_back_name(key), _long(key.table, key), key, True) for key in back]
    taken = Counter(short.lower() for short, _, _, _ in wanted) + Counter(name.lower() for name in columns)
    relations: dict[str, Relation] = {}
    for short, long, key, many in wanted:
        name = short if taken[short.lower()] == 1 else long
        ends = (key.columns, key.to_columns) if not many else (key.to_columns, key.columns)
        relations.setdefault(name, Relation(name, key.table if many else key.to_table, *ends, many))
    return relations


def find_relation(relations: Mapping[str, Relation], text: str) -> Relation | None:
    """By its name or its long one, whatever the letter case; by the table that it leads to, if no other does."""
    if text in relations:
        return relations[text]
    wanted = text.lower()
    for relation in relations.values():
        key = relation.to_columns if relation.many else relation.columns
        if wanted in (relation.name.lower(), f"{_short(relation.table)}_by_{'_'.join(key)}".lower()):
            return relation
    leading = [r for r in relations.values() if wanted in (r.table.lower(), _short(r.table).lower())]
    return leading[0] if len(leading) == 1 else None


def _forth_name(key: ForeignKey) -> str:
    """The column without its `_id`, else the table that it points at."""
    if len(key.columns) == 1:
        (column,) = key.columns
        for ending in ("_id", "_ID", "_Id", "Id", "ID"):
            if column.endswith(ending) and len(column) > len(ending):
                return column.removesuffix(ending)
    return _short(key.to_table)


def _back_name(key: ForeignKey) -> str:
    """The table that points here; one that points at itself says by which column."""
    return _short(key.table) if key.table != key.to_table else _long(key.table, key)


def _long(table: str, key: ForeignKey) -> str:
    return f"{_short(table)}_by_{'_'.join(key.columns)}"


def _short(table: str) -> str:
    """Without its schema."""
    return table.rpartition(".")[2]
