"""What `tools/list` costs a model, and the table of it in docs/tools.md, which `make tools-table` writes anew."""

import time
from collections.abc import Iterable
from pathlib import Path

import mcp_types as types
import msgspec

from isthmus.definitions import DefinitionSet
from isthmus.grants import EVERYTHING
from isthmus.policy import Role, Service, User
from isthmus.scopes import SCOPES
from isthmus.tools import Toolbox
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker
from isthmus_file_worker.settings import StoreSettings
from isthmus_file_worker.worker import file_worker
from isthmus_mcp_gateway import sources_tool
from isthmus_mcp_gateway.catalog import Catalog, Offer, merge
from isthmus_mcp_gateway.policy import Policy
from isthmus_mcp_gateway.tokens import Claims
from isthmus_mcp_gateway.views import Views

PAGE = Path(__file__).parents[1] / "docs" / "tools.md"
URL = "postgresql://nobody@localhost/some"
"""Of a database that is not asked anything."""
BEGIN, END = "<!-- made by `make tools-table` -->\n", "<!-- end -->\n"


def catalog(databases: int, access: str) -> Catalog:
    """So many databases and one file store, with the definitions that the workers really have. The engine is one that
    has all tools."""
    urls = {f"database_{n:03}": {"url": URL, "access": access} for n in range(databases)}
    db = create_worker(msgspec.convert(urls, dict[str, DatabaseSettings]))
    file = file_worker(msgspec.convert({"documents": {"path": ".", "access": access}}, dict[str, StoreSettings]))
    boxes: list[Toolbox[object]] = [db._toolbox, file._toolbox]  # pyright: ignore
    offers, sets = list[Offer](), dict[str, DefinitionSet]()
    for box in boxes:
        for source in box.sources.values():
            offer = Offer(source.name, box.advertisement(source, "key"))
            offers.append(offer)
            sets[offer.advertisement.definitions] = msgspec.json.decode(box.definitions_of(source), type=DefinitionSet)
            source.close()
    return merge(offers, sets, [sources_tool.NAME])


def listed(databases: int, access: str) -> list[types.Tool]:
    """The tools as somebody who may do everything gets them."""
    policy, now = Policy(), int(time.time())
    entries = {
        "service.default": Service("default", "Isthmus", default=True),
        "role.everything": Role("everything", "Everything", (EVERYTHING,)),
        "user.ann": User("ann", ("everything",)),
    }
    for key, entry in entries.items():
        policy.put(key, msgspec.json.encode(entry))
    claims = Claims("i", "ann", "c", "a", now + 60, now, "j", "default", " ".join(SCOPES))
    views = Views((sources_tool.TOOL,))
    return views.of(claims, catalog(databases, access), policy).listed_tools.tools


def size(tools: Iterable[types.Tool]) -> int:
    """Bytes of JSON."""
    return sum(len(tool.model_dump_json(by_alias=True, exclude_none=True)) + 1 for tool in tools)


def table() -> str:
    """A row a tool, and what they cost together."""
    scopes = {name: tool.definition.scope for name, tool in catalog(2, "read-write").tools.items()}
    tools = listed(2, "read-write")
    rows = [
        f"| `{tool.name}` | {(tool.description or '').partition('. ')[0].rstrip('.')} | "
        f"{f'`{scopes[tool.name]}`' if tool.name in scopes else 'any'} | {size([tool]):,} |"
        for tool in tools
    ]
    sums = [
        f"| {databases} databases and 1 file store, {access} | {len(found)} | {size(found):,} |"
        for databases in (2, 100)
        for access in ("read-only", "read-write")
        for found in [listed(databases, access)]
    ]
    return "\n".join(
        [
            *("| tool | what it does | scope | bytes |", "|---|---|---|---|", *rows, ""),
            *("| sources | tools | bytes |", "|---|---|---|", *sums, ""),
        ]
    )


def page() -> str:
    """docs/tools.md with the table as it is now."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page())
