"""`python -m soak.worker`: a worker written with the kit that can do everything a worker can, and its counters."""

# pyright: reportPrivateUsage=false

import asyncio
import os
import time

import msgspec

from isthmus.asking import form
from isthmus.errors import NotFound
from isthmus.running import CANCELLED_FOR
from isthmus.serving import ServingWorker
from isthmus.worker import Call, Source, Worker
from soak.counters import the, watch

SOURCE = "SOAK_SOURCE"
"""The variable that names the source to serve."""

KNOWN = ("anna", "anton", "berta")
"""What the argument `name` is completed with."""


class Words(msgspec.Struct, forbid_unknown_fields=True):
    """What to say."""

    words: str
    """The words."""
    database: str | None = None


class Work(Words, forbid_unknown_fields=True):
    """What to say at the end."""

    seconds: float = 0.5
    """How long it takes."""


class Said(msgspec.Struct):
    """What was said."""

    words: str


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """Which note."""

    name: str
    """Its name."""
    database: str | None = None


class Answer(msgspec.Struct):
    """What the user is asked."""

    note: str
    """Any words."""


def note_uri(source: str, name: str) -> str:
    return f"note://{source}/{name}"


def make_worker(source: str) -> Worker[str]:
    """Serves one source, which holds nothing."""
    worker = Worker[str]("db", argument="database")

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def echo(call: Call[str], arguments: Words) -> Said:
        """Says it again."""
        return Said(arguments.words)

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def chatter(call: Call[str], arguments: Words) -> str:
        """Says it with progress and log."""
        for step in range(3):
            await call.progress(step, 3, arguments.words)
            await call.log("warning", {"words": arguments.words})
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def hold(call: Call[str], arguments: Words) -> str:
        """Begins, and never ends by itself."""
        await call.progress(0, 1, arguments.words)
        await asyncio.Event().wait()
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def miss(call: Call[str], arguments: Words) -> str:
        """Finds nothing."""
        raise NotFound(f"There is no {arguments.words}.")

    @worker.tool(scope="data:write", action="update")
    async def write(call: Call[str], arguments: Words) -> str:
        """Changes a note."""
        await call.updated(note_uri(call.source.name, arguments.words))
        return arguments.words

    @worker.tool(scope="data:read", action="read", read_only=True)
    async def confirm(call: Call[str], arguments: Words) -> str:
        """Asks the user."""
        found = call.ask({"note": form(arguments.words, Answer)})
        return str(found["note"].content["note"])

    @worker.tool(scope="data:read", action="read", read_only=True, task_support="optional")
    async def take_long(call: Call[str], arguments: Work) -> str:
        """Takes its time, as a task."""
        await call.become_task()
        await call.progress(1, 2, arguments.words)
        await asyncio.sleep(arguments.seconds)
        return arguments.words

    @worker.prompt(scope="data:read", action="read")
    async def greet(call: Call[str], arguments: Note) -> str:
        """Greets somebody."""
        return f"Hello {arguments.name}"

    @worker.resource("note://{database}/{name}", scope="data:read", action="read", mime_type="text/plain")
    async def note(call: Call[str], arguments: Note) -> str:
        """A note."""
        return f"About {arguments.name}"

    @worker.completion(action="read")
    async def name(call: Call[str], typed: str, known: dict[str, str]) -> list[str]:
        """The names that begin so."""
        return [name for name in KNOWN if name.startswith(typed)]

    worker.add(Source(source, source, engine="test", target=f"test://{source}", writable=True))
    return worker


def count() -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Idle, held and kept."""
    serving = the(ServingWorker[str])
    now = time.monotonic()
    late = sum(now - at > CANCELLED_FOR + 1 for at in serving.calls.cancelled.values())
    running = len(serving.calls.running) + sum(len(e.running) for e in serving.service.endpoints.values())
    idle = {"calls": running, "cancellations over their time": late, "sources that retire": len(serving.retiring)}
    held = {"subscriptions": len(serving.client._subs), "endpoints": len(serving.service.endpoints)}
    return idle, held, {"cancellations": len(serving.calls.cancelled)}


if __name__ == "__main__":
    watch(count)
    make_worker(os.environ[SOURCE]).run()
