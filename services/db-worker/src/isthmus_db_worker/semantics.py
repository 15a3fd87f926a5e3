"""What tables and columns mean to the people who use them, from `[databases.<name>.semantics]` of `isthmus.toml`."""

from typing import Annotated, Literal

import msgspec

Aggregate = Literal["count", "count_distinct", "sum", "avg", "min", "max", "median"]
"""What a metric does with the values of its column."""

Text = Annotated[str, msgspec.Meta(max_length=1000)]
Synonyms = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=100)], ...]


class ColumnSemantics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A column."""

    description: Text = ""
    """What its values mean; takes the place of the database's comment."""
    synonyms: Synonyms = ()
    """What people call it."""


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A figure that people agreed on, in the terms of aggregate_table."""

    function: Aggregate
    column: str = ""
    """What it is computed from; left out: the rows themselves, for `count`."""
    filter: Text = ""
    """Which rows count, over columns of the table itself; left out: all."""
    description: Text = ""
    synonyms: Synonyms = ()

    def __post_init__(self) -> None:
        if not self.column and self.function != "count":
            raise ValueError(f"{self.function} needs a `column`; only count does without")

    def formula(self) -> str:
        """On one line."""
        return f"{self.function}({self.column or '*'})" + (f" where {self.filter}" if self.filter else "")


class TableSemantics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table or view."""

    description: Text = ""
    """What one row stands for; takes the place of the database's comment."""
    synonyms: Synonyms = ()
    """What people call it."""
    columns: dict[str, ColumnSemantics] = {}
    """By the column's name."""
    metrics: dict[str, Metric] = {}
    """By their own name."""
    version: str = ""
    """The column that the database changes whenever it changes the row, for `if_version`."""
