"""get_data_model: a database in one compact text for models. Resources and prompts attach the same text."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec

from isthmus.errors import NotFound, near
from isthmus.tools import Call
from isthmus_db_worker.database import Database
from isthmus_db_worker.links import Links
from isthmus_db_worker.looking import Looking
from isthmus_db_worker.model_page import ModelPage
from isthmus_db_worker.table_lines import LEGEND, Detail, is_junction, name_line, table_lines
from isthmus_db_worker.tables import TableName

DEFAULT_BYTES = 24 * 1024
"""What a model can take in at once without having asked for it."""
MOST_BYTES = 128 * 1024


class GetDataModel(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of a database."""

    tables: Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=100)] = []
    """Only these, by name, synonym or pattern: `["order*", "crm.*"]`."""
    detail: Detail = "columns"
    """`full` adds defaults and descriptions of columns."""
    max_bytes: Annotated[int, msgspec.Meta(ge=2000, le=MOST_BYTES)] = DEFAULT_BYTES
    """How long the text may be."""
    refresh: bool = False
    """Look at the database anew, because it has just changed."""
    database: str | None = None
    """The database."""


async def get_data_model(call: Call[Database], arguments: GetDataModel) -> str:
    """The best first call: a database in one short text, its tables with columns, keys, relations and meanings."""
    if arguments.refresh:
        call.source.handle.catalog.refresh()
    looking = Looking(call)
    known = await looking.names()
    chosen, missed = _choose(known, arguments.tables)
    if missed:
        known = await looking.names(again=True)
        chosen, missed = _choose(known, arguments.tables)
    if not known:
        return f"{_title(call)}: there are no tables that you may read."
    if not chosen:
        raise NotFound(f"There is no table like {missed[0]} in {call.source.name}.{near(missed[0], known)}")
    most = min(arguments.max_bytes, call.source.handle.limits.bytes // 2)
    page = ModelPage(chosen.values(), most - len(_title(call).encode()))
    page.remarks += [f"There is no table like {pattern}.{near(pattern, known)}" for pattern in missed[:5]]
    await _fill(page, looking, known, arguments.detail)
    if looking.is_over:
        page.remarks.append("There was no time to look at more tables; what was seen is kept for a minute: call again.")
    return page.text(_title(call), "" if arguments.detail == "names" else LEGEND, f"up to {MOST_BYTES}")


async def _fill(page: ModelPage, looking: Looking, known: Mapping[str, TableName], detail: Detail) -> None:
    """The tables that most foreign keys touch come first: what others hang on says most about a database."""
    references = await looking.references()
    if references is None:
        page.remarks.append("Foreign keys are left out: there are so many tables that reading them takes long.")
    links, estimates = Links.of(looking.call, known, references or ()), await looking.estimates()
    by_use = sorted(page.waiting.values(), key=lambda name: (-links.touching(name.key), name.key))

    def rows(name: TableName) -> int | None:
        """Nothing as well where the caller may not read all of them."""
        access = looking.call.granted.access("read", name.key)
        return estimates.get(name.key) if access is not None and not access.rows else None

    if detail == "names":
        for name in by_use:
            page.take(name, name_line(name, rows(name)))
        return
    async for name, seen in looking.views(by_use):
        if seen is None:
            page.give_up(name)
            continue
        keys = links.forth.get(name.key, ())
        text = table_lines(seen, detail, keys, links.relations(seen), rows(name))
        if not page.take(name, text, last=is_junction(seen, keys)) and page.is_full:
            return


def _choose(known: Mapping[str, TableName], patterns: Iterable[str]) -> tuple[dict[str, TableName], list[str]]:
    """The tables that a pattern fits by name or synonym, whatever the letter case, and the patterns that fit none.
    Without patterns all."""
    wanted = dict.fromkeys(pattern.strip() for pattern in patterns if pattern.strip())
    if not wanted:
        return dict(known), []
    called = {key: [text.lower() for text in (key, name.full, *name.synonyms)] for key, name in known.items()}
    chosen, missed = set[str](), list[str]()
    for pattern in wanted:
        fits = [key for key, texts in called.items() if any(fnmatchcase(text, pattern.lower()) for text in texts)]
        chosen.update(fits)
        missed += [] if fits else [pattern]
    return {key: name for key, name in known.items() if key in chosen}, missed


def _title(call: Call[Database]) -> str:
    about = call.source.description
    return f"Database {call.source.name} ({about[:500]})" if about else f"Database {call.source.name}"
