"""A worker for the tests that offers all there is: tools that ask and talk, prompts, resources, completions."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import msgspec
from mcp import Client

from gateways import Gateway, running_gateway
from isthmus.asking import roots, sample
from isthmus.errors import NotFound
from isthmus.messages import LogLevel
from isthmus.worker import Call, Source, Worker
from servers import NatsServer
from shelf import served

T = TypeVar("T")

ERAS = ["auto", "legacy"]


@dataclass
class Notes:
    """What the worker works on."""

    texts: dict[str, str] = field(default_factory=lambda: {"public/tea": "green", "secret/plan": "escape"})
    runs: int = 0
    """Times that a tool which asks was begun."""
    flooded: asyncio.Event = field(default_factory=asyncio.Event)


class Plain(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Just a source."""

    database: str | None = None


class Topic(Plain):
    """With one more argument."""

    topic: str = "tea"


class Talking(Plain):
    """What to say, and how often."""

    times: int = 3
    size: int = 0


class Touching(Plain):
    """A URI to speak of."""

    uri: str


class OneNote(msgspec.Struct, kw_only=True):
    """A note of a source."""

    database: str
    note: str


class Summary(msgspec.Struct, kw_only=True):
    """What to sum up."""

    database: str | None = None
    note: str
    """Its name."""
    words: int = 50


class Whole(msgspec.Struct):
    """All notes of a source."""

    database: str


class Order(msgspec.Struct):
    """A form."""

    pieces: Annotated[int, msgspec.Meta(ge=1, le=9)]


class Name(msgspec.Struct):
    """A form."""

    name: str


def make_worker(notes: Notes) -> Worker[Notes]:
    """Two sources on the same notes: `home` is writable, `work` is not."""
    worker = Worker[Notes]("db", argument="database", objects=True)
    add_questions(worker)
    add_messages(worker)
    add_prompts(worker)
    add_resources(worker)
    worker.add(Source("home", notes, engine="test", target="test://home", description="At home", writable=True))
    worker.add(Source("work", notes, engine="test", target="test://work"))
    return worker


def add_questions(worker: Worker[Notes]) -> None:
    @worker.tool(scope="data:read", action="read", read_only=True)
    async def order(call: Call[Notes], arguments: Topic) -> str:
        """Asks how many."""
        call.source.handle.runs += 1
        wanted = call.elicit("pieces", f"How many pieces of {arguments.topic}?", Order)
        return f"{wanted.pieces} pieces" if wanted else "nothing"

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def introduce(call: Call[Notes], arguments: Topic) -> str:
        """Asks for two names, one after the other, and remembers something of its own."""
        call.source.handle.runs += 1
        first = call.elicit("first", "Who are you?", Name)
        second = call.elicit("second", "Who else?", Name)
        call.ask({"model": sample("Nice?", 10)}, state="kept")
        return f"{first and first.name} and {second and second.name}, {call.state}"

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def folders(call: Call[Notes], arguments: Plain) -> str:
        """Asks for the client's roots."""
        return ", ".join(root.uri for root in call.ask({"roots": roots()})["roots"].roots)


def add_messages(worker: Worker[Notes]) -> None:
    levels: tuple[LogLevel, ...] = ("debug", "info", "warning", "error")

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def talk(call: Call[Notes], arguments: Talking) -> str:
        """Logs on four levels, and tells how far it is."""
        for level in levels:
            await call.log(level, {"said": level}, "talk")
        for done in range(arguments.times):
            await call.progress(done, arguments.times, f"step {done}")
        return "done"

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def flood(call: Call[Notes], arguments: Talking) -> str:
        """Says more than a slow client can hear."""
        for done in range(arguments.times):
            await call.progress(done, message="x" * arguments.size)
        call.source.handle.flooded.set()
        return "done"

    @worker.tool(scope="data:write", action="update")
    async def touch(call: Call[Notes], arguments: Touching) -> str:
        """Says that a resource changed."""
        await call.updated(arguments.uri)
        return "told"

    titles = 0

    def retitle() -> None:
        @worker.tool(scope="data:read", action="read", read_only=True, title=f"Title {titles}")
        async def titled(call: Call[Notes], arguments: Plain) -> str:
            """Has a title that changes."""
            return str(titles)

    @worker.tool(scope="data:write", action="update")
    async def change_title(call: Call[Notes], arguments: Plain) -> str:
        """Gives another tool another title."""
        nonlocal titles
        titles += 1
        retitle()
        await call.offer_changed()
        return f"Title {titles}"

    retitle()


def add_prompts(worker: Worker[Notes]) -> None:
    @worker.prompt(scope="data:read", action="read")
    async def summarize(call: Call[Notes], arguments: Summary) -> str:
        """Sums up a note."""
        if (text := call.source.handle.texts.get(arguments.note)) is None:
            raise NotFound(f"There is no “{arguments.note}”.\nThere is nothing like it.")
        return f"Sum up in {arguments.words} words, for {call.source.name}: {text}"

    @worker.completion(action="read")
    async def note(call: Call[Notes], typed: str, known: dict[str, str]) -> list[str]:
        names = [name for name in call.source.handle.texts if call.granted.access("read", name) is not None]
        return [name for name in sorted(names) if name.startswith(typed)]


def add_resources(worker: Worker[Notes]) -> None:
    @worker.resource("notes://{database}", scope="data:read", action="read", mime_type="text/plain")
    async def names(call: Call[Notes], arguments: Whole) -> str:
        """The names of all notes."""
        return f"{call.source.name}: " + "\n".join(sorted(call.source.handle.texts))

    @worker.resource("notes://{database}/{+note}", scope="data:read", action="read", object="note")
    async def text(call: Call[Notes], arguments: OneNote) -> str:
        """One note."""
        found = call.source.handle.texts.get(arguments.note)
        if found is None or call.granted.access("read", arguments.note) is None:
            raise NotFound("There is no such note.")
        return f"{call.source.name}: {found}"


@asynccontextmanager
async def noted(nats: NatsServer, notes: Notes | None = None) -> AsyncGenerator[Gateway]:
    """A gateway that sees the worker."""
    async with running_gateway(nats, call_timeout=5) as gateway, served(make_worker(notes or Notes()), nats):
        async with gateway.client() as client:
            await until(lambda: tool_names(client), lambda found: "order" in found)
        yield gateway


async def tool_names(client: Client) -> list[str]:
    """The names of the tools that the client sees."""
    return [tool.name for tool in (await client.list_tools()).tools]


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = 5) -> T:
    """Asks until the answer holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds(found := await ask()):
        assert asyncio.get_running_loop().time() < end, f"still {found} after {seconds} s"
        await asyncio.sleep(0.02)
    return found
