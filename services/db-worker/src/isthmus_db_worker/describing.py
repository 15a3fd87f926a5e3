"""list_tables and describe_table."""

import msgspec

from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.failures import explained
from isthmus_db_worker.links import Links, relation_name
from isthmus_db_worker.rows import line
from isthmus_db_worker.table_lines import meaning, metric_line, metrics
from isthmus_db_worker.tables import ForeignKey
from isthmus_db_worker.views import View
from isthmus_db_worker.visibility import plan, visible_tables

MOST = 1000
"""Tables in one answer."""


class ListTables(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which tables."""

    query: str = ""
    """Only those with this text in name, comment or synonym."""
    database: str | None = None
    """The database."""


class ListedTable(msgspec.Struct, kw_only=True):
    """A table or view."""

    name: str
    """What the other tools call it."""
    kind: str
    """`table` or `view`."""
    comment: str
    """What it is about."""


class Tables(msgspec.Struct, kw_only=True):
    """Tables and views, by name."""

    tables: list[ListedTable]
    truncated: bool = False
    """Whether there are more; narrow them with `query`."""

    def text(self) -> str:
        """A line a table."""
        if not self.tables:
            return "No tables."
        lines = [line([table.name, table.kind, table.comment]).rstrip("\t") for table in self.tables]
        end = "more follow: narrow them with query" if self.truncated else "that is all"
        return "\n".join([*lines, f"({len(lines)} found, {end})"])


async def list_tables(call: Call[Database], arguments: ListTables) -> Tables:
    """Lists the tables and views of a database that you may read."""
    with explained(call.source.handle, call.source.name):
        names = await visible_tables(call)
    wanted = arguments.query.lower()
    found = [n for n in names.values() if any(wanted in text.lower() for text in (n.key, n.comment, *n.synonyms))]
    listed = [ListedTable(name=n.key, kind=n.kind, comment=meaning(n.comment, n.synonyms)) for n in found[:MOST]]
    return Tables(tables=listed, truncated=len(found) > MOST)


class DescribeTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which table."""

    table: str
    """The table or view, such as `orders` or `crm.orders`."""
    database: str | None = None
    """The database."""


class DescribedColumn(msgspec.Struct, kw_only=True):
    """A column."""

    name: str
    type: str
    """As the database writes it."""
    nullable: bool
    default: str | None
    """The expression that gives the value when there is none."""
    comment: str
    generated: str
    """`always`: it cannot be written. `by default`: the database numbers it when it has no value."""
    masked: bool
    """Its values are kept from you."""


class Reference(msgspec.Struct, kw_only=True):
    """A foreign key: columns of one table point at those of another."""

    table: str
    columns: list[str]
    to_table: str
    to_columns: list[str]
    relation: str | None
    """What `related` and dotted columns call the way along it, from the table that is described."""
    on_delete: str | msgspec.UnsetType = msgspec.UNSET
    """What deleting the other row does to this one: `CASCADE`, `SET NULL`, `SET DEFAULT`."""

    def text(self) -> str:
        """One line."""
        ends = f"{self.table} ({', '.join(self.columns)}) → {self.to_table} ({', '.join(self.to_columns)})"
        named = f", relation {self.relation}" if self.relation else ""
        return f"foreign key: {ends}{named}" + (f", on delete {self.on_delete.lower()}" if self.on_delete else "")


class Description(msgspec.Struct, kw_only=True):
    """A table or view."""

    name: str
    kind: str
    comment: str
    columns: list[DescribedColumn]
    primary_key: list[str]
    unique_keys: list[list[str]]
    foreign_keys: list[Reference]
    """Where this table points at."""
    referenced_by: list[Reference]
    """What points at this table."""
    metrics: list[str]
    """Figures that people agreed on, with how they are computed."""
    version: str | msgspec.UnsetType = msgspec.UNSET
    """The column that `if_version` is about."""

    def text(self) -> str:
        """A line a column, then a line a key."""
        lines = [f"{self.kind} {self.name}" + (f": {self.comment}" if self.comment else ""), "column\ttype\tnotes"]
        lines += [line([c.name, c.type, "; ".join(_notes(c))]).rstrip("\t") for c in self.columns]
        if self.primary_key:
            lines.append(f"primary key: {', '.join(self.primary_key)}")
        lines += [f"unique: {', '.join(key)}" for key in self.unique_keys]
        lines += [key.text() for key in (*self.foreign_keys, *self.referenced_by)]
        if self.version:
            lines.append(f"version of a row: {self.version}")
        lines += [line([f"metric: {metric}"]) for metric in self.metrics]
        return "\n".join(lines)


def _notes(column: DescribedColumn) -> list[str]:
    notes = ["may be null" if column.nullable else "required"]
    if column.generated:
        notes.append(f"generated {column.generated}")
    elif column.default is not None:
        notes.append(f"default {column.default}")
    if column.masked:
        notes.append("masked")
    return [*notes, column.comment] if column.comment else notes


async def describe_table(call: Call[Database], arguments: DescribeTable) -> Description:
    """Describes a table or view: columns, keys, foreign keys from it and to it. Call it before your first query."""
    catalog = call.source.handle.catalog
    with explained(call.source.handle, call.source.name):
        seen = await plan(call, arguments.table, "read", lambda seen: seen)
        key = seen.table.key
        touching = [r for r in await catalog.references() if key in (r.table, r.to_table)]
        links = Links.of(call, await catalog.names(), touching)
    relations = links.relations(seen)
    return Description(
        name=key,
        kind=seen.table.name.kind,
        comment=meaning(seen.table.name.comment, seen.table.name.synonyms),
        columns=[
            DescribedColumn(
                name=column.name,
                type=column.type,
                nullable=column.nullable and column.name not in seen.table.primary_key,
                default=column.default,
                comment=meaning(column.comment, column.synonyms),
                generated=column.generated,
                masked=column.name in seen.masked,
            )
            for column in seen.columns.values()
        ],
        primary_key=list(seen.table.primary_key) if _all_seen(seen, seen.table.primary_key) else [],
        unique_keys=[list(unique) for unique in seen.table.unique_keys if _all_seen(seen, unique)],
        foreign_keys=[_reference(r, relation_name(relations, r, many=False)) for r in links.forth.get(key, ())],
        referenced_by=[_reference(r, relation_name(relations, r, many=True)) for r in links.back.get(key, ())],
        metrics=[metric_line(name, metric) for name, metric in metrics(seen).items()],
        version=_version(seen) if call.source.writable else msgspec.UNSET,
    )


def _version(seen: View) -> str | msgspec.UnsetType:
    version = seen.table.version
    known = version is not None and (version.name not in seen.table.columns or seen.opens([version.name]))
    return version.name if version is not None and known else msgspec.UNSET


def _all_seen(seen: View, columns: tuple[str, ...]) -> bool:
    return all(name in seen.columns for name in columns)


def _reference(key: ForeignKey, relation: str | None) -> Reference:
    return Reference(
        table=key.table,
        columns=list(key.columns),
        to_table=key.to_table,
        to_columns=list(key.to_columns),
        relation=relation,
        on_delete=key.on_delete or msgspec.UNSET,
    )
