"""Batches that go on: each record stands for itself, and what fails is left out."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from isthmus.errors import ToolError
from isthmus_db_worker.database import Database
from isthmus_db_worker.dialects import Diagnosis, Failure
from isthmus_db_worker.failures import diagnose
from isthmus_db_worker.journal import Journal
from isthmus_db_worker.keys import Key
from isthmus_db_worker.transactions import savepoint

T = TypeVar("T")

OF_A_RECORD = (Failure.TAKEN, Failure.REFERENCE, Failure.MISSING, Failure.RULE, Failure.VALUE, Failure.RANGE)
"""What is wrong with one record, and not with the transaction."""

_OWN_PLACE = re.compile(r"\Arecords\[\d+\]:? ")


def save_each(
    database: Database,
    connection: Connection,
    journal: Journal,
    records: Sequence[T | ToolError],
    save: Callable[[int, T], Key],
    explain: Callable[[Diagnosis], str],
) -> None:
    """Saves the records that can be, each by its place and by itself, and notes what is wrong with the others."""
    for n, record in enumerate(records):
        key, wrong, noted, cascades = None, "", len(journal.entries), dict(journal.cascades)
        returned = len(journal.returned)
        try:
            if isinstance(record, ToolError):
                raise record
            with savepoint(connection):
                key = save(n, record)
        except ToolError as error:
            wrong = error.message
        except (SQLAlchemyError, OverflowError, UnicodeError, *database.dialect.errors) as error:
            if (diagnosis := diagnose(database, error)).failure not in OF_A_RECORD:
                raise
            wrong = f"{explain(diagnosis)}."
        if wrong:
            del journal.entries[noted:], journal.returned[returned:]
            journal.cascades = cascades
            journal.errors[n] = _OWN_PLACE.sub("", wrong).replace("; nothing was changed", "")
        journal.roots.append(key)
    journal.place = ""
