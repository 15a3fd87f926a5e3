"""A table as a model reads it: one line with its columns, keys and where they lead, or one for each column."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Literal

import msgspec

from isthmus.errors import ToolError
from isthmus_db_worker.filter_syntax import is_plain
from isthmus_db_worker.links import relation_name
from isthmus_db_worker.meanings import columns_of
from isthmus_db_worker.relations import Relation
from isthmus_db_worker.rows import line
from isthmus_db_worker.semantics import Metric
from isthmus_db_worker.tables import Column, ForeignKey, TableName
from isthmus_db_worker.views import View

Detail = Literal["names", "keys", "columns", "full"]

LEGEND = (
    "* primary key, ? nullable, → foreign key (as: its relation's name), ← relations to many rows; relations are for "
    "`related`, filters and columns such as customer.name"
)
ABOUT = 200
"""Characters of a description, where it is not shown in full."""
LONGEST_TYPE = 200
"""Characters: an enumeration may have many words."""

_SHORT = {
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
    "double precision": "double",
    "integer": "int",
    "numeric": "decimal",
    "tinyint(1)": "boolean",
}
_LONG = re.compile("|".join(map(re.escape, _SHORT)))
_COLLATION = re.compile(r' (?:COLLATE|CHARACTER SET) (?:"[^"]*"|\w+)', re.IGNORECASE)
_LENGTH = re.compile(r"(char2?|binary)\(\d+\)")
_TECHNICAL = re.compile(r"(created|updated|modified|inserted|deleted)(_?(at|on|by|date|time))?", re.IGNORECASE)
_PLAIN_TABLE = re.compile(r"[\w$.-]+")


def name_line(name: TableName, rows: int | None) -> str:
    """A table without its columns."""
    return line([f"{_kind(name)}{table_name(name.key)}{_rows(rows)}{_about(name.comment, name.synonyms, ABOUT)}"])


def table_lines(
    seen: View, detail: Detail, keys: Sequence[ForeignKey], relations: Mapping[str, Relation], rows: int | None
) -> str:
    """A table as the caller sees it; `keys` are the foreign keys from it that the caller may know."""
    name, full = seen.table.name, detail == "full"
    leads = {key.columns[0]: _lead(key, relations) for key in keys if len(key.columns) == 1}
    unique = [key for key in seen.table.unique_keys if set(key) <= seen.columns.keys()]
    telling = {*seen.table.primary_key, *(c for key in unique for c in key), *(c for key in keys for c in key.columns)}
    shown = [column for column in seen.columns.values() if detail != "keys" or column.name in telling]
    parts = [_column(seen, c, leads.get(c.name, ""), full=full, unique=(c.name,) in unique) for c in shown]
    parts += [f"+{left} column{'s' if left > 1 else ''}"] if (left := len(seen.columns) - len(shown)) else []
    parts += [f"({_columns(key.columns)}){_lead(key, relations)}" for key in keys if len(key.columns) > 1]
    parts += [f"unique ({_columns(key)})" for key in unique if len(key) > 1]
    back = ", ".join(f"{column_name(r.name)}{_place(r)}" for r in relations.values() if r.many)
    head = f"{'junction ' if is_junction(seen, keys) else _kind(name)}{table_name(name.key)}{_rows(rows)}"
    tail = (f" ← {back}" if back else "") + _about(name.comment, name.synonyms, None if full else ABOUT)
    lines = [head + tail, *(f"  {part}" for part in parts)] if full else [f"{head} ({', '.join(parts)}){tail}"]
    if detail != "keys":
        lines += [f"  metric {metric_line(called, metric)}" for called, metric in metrics(seen).items()]
    return "\n".join(line([text]) for text in lines)


def is_junction(seen: View, keys: Iterable[ForeignKey]) -> bool:
    """Whether the table does little but join two others: two foreign keys are its primary key, or all that it holds
    beside a number of its own and the times of its rows."""
    primary = set(seen.table.primary_key)
    for one, other in combinations([key for key in keys if key.to_table != key.table], 2):
        joining = {*one.columns, *other.columns}
        rest = {name for name in seen.columns if name not in joining and not _TECHNICAL.fullmatch(name)}
        apart = len(joining) == len(one.columns) + len(other.columns)
        if apart and (joining == primary or (rest <= primary and len(rest) < 2)):
            return True
    return False


def metrics(seen: View) -> dict[str, Metric]:
    """Those that the caller may compute: all that they are made of is theirs to know."""

    def opens(metric: Metric) -> bool:
        try:
            for name in columns_of(metric):
                seen.known(name)
        except ToolError:
            return False
        return True

    return {name: metric for name, metric in seen.table.metrics.items() if opens(metric)}


def metric_line(name: str, metric: Metric) -> str:
    """A metric with how it is computed."""
    return f"{name} = {metric.formula()}{_about(metric.description, metric.synonyms, ABOUT)}"


def short_type(text: str, *, full: bool) -> str:
    """A type in few words; the length of a text only in full."""
    text = _COLLATION.sub("", text)
    if "'" in text:
        text = re.sub(r"^\w+", lambda match: match.group().lower(), text)
    else:
        text = _LONG.sub(lambda match: _SHORT[match.group()], text.lower()).replace(", ", ",")
        text = text if full else _LENGTH.sub(r"\1", text)
    return text if len(text) <= LONGEST_TYPE else f"{text[:LONGEST_TYPE]}…"


def meaning(description: str, synonyms: Sequence[str], most: int | None = None) -> str:
    """What something is about, in so many characters of its description at most, and what people call it."""
    cut = description[:most]
    said = [f"{cut}…" if len(cut) < len(description) else cut] if description else []
    if synonyms:
        said.append(f"also called {', '.join(synonyms)}")
    return "; ".join(said)


def _about(description: str, synonyms: Sequence[str], most: int | None) -> str:
    """After a colon."""
    text = meaning(description, synonyms, most)
    return f": {text}" if text else ""


def table_name(key: str) -> str:
    """As a tool's argument takes it: in JSON's quotes where it could be misread."""
    return key if _PLAIN_TABLE.fullmatch(key) else msgspec.json.encode(key).decode()


@lru_cache(maxsize=10_000)
def column_name(name: str) -> str:
    """As a filter takes it."""
    return name if is_plain(name) else '"' + name.replace('"', '""') + '"'


def _column(seen: View, column: Column, lead: str, *, full: bool, unique: bool) -> str:
    in_key = column.name in seen.table.primary_key
    nullable = column.nullable and not in_key and seen.table.name.kind == "table"
    text = f"{column_name(column.name)}{'*' if in_key else '?' if nullable else ''}"
    text += f" {short_type(column.type, full=full)}{' unique' if unique else ''}"
    if column.generated == "always":
        text += " generated"
    elif full and column.generated:
        text += f" generated {column.generated}"
    elif full and column.default is not None:
        text += f" default {column.default}"
    text += (" masked" if column.name in seen.masked else "") + lead
    return text + _about(column.comment, column.synonyms, None) if full else text


def _lead(key: ForeignKey, relations: Mapping[str, Relation]) -> str:
    """Where a foreign key leads, and what that way is called; it has no name where a column of it is masked."""
    itself = " self-reference" if key.table == key.to_table else ""
    to = _columns(key.to_columns)
    end = f"{table_name(key.to_table)}.{to}" if len(key.to_columns) == 1 else f"{table_name(key.to_table)} ({to})"
    name = relation_name(relations, key, many=False)
    return f"{itself} → {end}" + (f" as {column_name(name)}" if name else "")


def _place(relation: Relation) -> str:
    """The table that a relation leads to, where its name does not say it."""
    named = relation.name == relation.table or relation.name.startswith(f"{relation.table}_by_")
    return "" if named else f" ({table_name(relation.table)})"


def _columns(names: Iterable[str]) -> str:
    return ", ".join(map(column_name, names))


def _kind(name: TableName) -> str:
    return "view " if name.kind == "view" else ""


def _rows(number: int | None) -> str:
    """About how many, in two digits."""
    if number is None:
        return ""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size * 0.995:
            return f" ~{float(f'{number / size:.2g}'):g}{letter} rows"
    return f" ~{number} rows"
