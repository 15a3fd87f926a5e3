"""Semantics of the configuration, laid over what the database says of itself."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from isthmus.errors import ConfigurationError, near
from isthmus_db_worker.dates import FUNCTIONS
from isthmus_db_worker.filter_syntax import FilterError, read
from isthmus_db_worker.semantics import ColumnSemantics, Metric, TableSemantics
from isthmus_db_worker.tables import Table, TableName

logger = logging.getLogger("isthmus.db")

NOTHING = ColumnSemantics()


def columns_of(metric: Metric) -> set[str]:
    """The columns that a metric is made of. Raises FilterError."""
    named = {operand.path[0] for operand in read(metric.filter, FUNCTIONS).operands} if metric.filter else set[str]()
    return {*named, metric.column} if metric.column else named


class Meanings:
    """The semantics of one database. What they name in vain is logged once, and does no harm."""

    def __init__(self, database: str, tables: Mapping[str, TableSemantics]) -> None:
        """Raises ConfigurationError for a filter that cannot be read."""
        for key, table in tables.items():
            for name, metric in table.metrics.items():
                try:
                    if metric.filter:
                        read(metric.filter, FUNCTIONS).tree()
                except FilterError as error:
                    place = f"The metric {name} of {key} in the database {database}"
                    raise ConfigurationError(f"{place} has a filter that cannot be read: {error.message}") from None
        self._database = database
        self._tables = tables
        self._missed: set[str] = set()

    def of_names(self, names: dict[str, TableName]) -> dict[str, TableName]:
        """Tables with their descriptions and synonyms."""
        self._miss("table", self._tables.keys() - names.keys(), names)
        return {key: self._of_name(name) for key, name in names.items()}

    def of_table(self, table: Table) -> Table:
        """A table with those of its columns, and with its metrics."""
        if (meant := self._tables.get(table.key)) is None:
            return table
        named = {*meant.columns, *([meant.version] if meant.version else [])}.union(
            *(columns_of(metric) for metric in meant.metrics.values())
        )
        self._miss(f"column of {table.key}", named - table.columns.keys(), table.columns)
        columns = {
            name: replace(column, comment=told.description or column.comment, synonyms=told.synonyms)
            for name, column in table.columns.items()
            for told in (meant.columns.get(name, NOTHING),)
        }
        version = columns.get(meant.version, table.version)
        return replace(table, columns=columns, metrics=meant.metrics, version=version)

    def _of_name(self, name: TableName) -> TableName:
        if (meant := self._tables.get(name.key)) is None:
            return name
        return replace(name, comment=meant.description or name.comment, synonyms=meant.synonyms)

    def _miss(self, kind: str, missing: Iterable[str], known: Iterable[str]) -> None:
        for name in sorted(missing):
            if (said := f"{kind} {name}") not in self._missed:
                self._missed.add(said)
                logger.warning(
                    "%s: semantics name the %s, which is not there.%s", self._database, said, near(name, known)
                )
