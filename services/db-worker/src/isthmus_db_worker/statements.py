"""Statements: what SQLAlchemy built for one shape of a query, run many times with other values."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

Values = Mapping[str, object]
"""Name of a parameter → what is bound. What the statement itself holds needs no name."""


class Statement:
    """A SELECT. A runner that compiles it by itself keeps the result here, as long as the statement lives."""

    def __init__(self, select: sa.Select[Any]) -> None:
        self.select = select
