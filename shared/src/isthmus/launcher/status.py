"""`isthmus status`: who works, and how each source does."""

import asyncio
import contextlib
import os
from datetime import UTC, datetime

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from isthmus.launcher.client import NotRunning
from isthmus.launcher.state import Connection, DataFolder, Run, is_alive, read
from isthmus.launcher.survey import USER, surveying
from isthmus.settings import BusSettings
from isthmus.survey import Figures, Status

EVERY = 1.0
"""Seconds between two readings."""
WIDE = 100
"""Columns from which on engine and access are shown."""

NOTHING = "No worker is on the bus."


def bus_of(folder: DataFolder, nats_url: str, user: str = USER) -> BusSettings:
    """How to ask on a bus: the given one, as the environment says, else that of the local stack. Raises NotRunning."""
    if nats_url:
        return BusSettings(
            nats_url=nats_url,
            nats_user=os.environ.get("ISTHMUS_NATS_USER", ""),
            nats_password=os.environ.get("ISTHMUS_NATS_PASSWORD", ""),
        )
    run, connection = read(folder.run_file, Run), read(folder.connection_file, Connection)
    if run is None or connection is None or not is_alive(run.launcher):
        raise NotRunning
    return BusSettings(
        nats_url=connection.nats_url, nats_user=user, nats_password=folder.secrets().nats_passwords[user]
    )


def show(bus: BusSettings, console: Console, *, as_json: bool) -> None:
    """Two readings, and what they say. Raises BusUnreachable."""
    status = asyncio.run(_measured(bus))
    if as_json:
        console.file.write(msgspec.json.format(msgspec.json.encode(status)).decode() + "\n")
    else:
        console.print(render(status, console.width))


def watch(bus: BusSettings, console: Console) -> None:
    """Readings until Ctrl-C. Raises BusUnreachable."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watched(bus, console))


def render(status: Status, width: int) -> RenderableType:
    """Two tables for a terminal of this width."""
    if not status.workers:
        return Text(NOTHING)
    parts: list[RenderableType] = [_workers(status), Text("")]
    parts.append(_sources(status, width) if status.sources else Text("No worker has a source."))
    return Group(*parts)


async def _measured(bus: BusSettings) -> Status:
    async with surveying(bus) as survey:
        if not (first := await survey.read()).workers:
            return first
        await asyncio.sleep(EVERY)
        return await survey.read()


async def _watched(bus: BusSettings, console: Console) -> None:
    async with surveying(bus) as survey:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                status = await survey.read()
                hint = Text("\nCtrl-C ends this.", "dim")
                live.update(Group(render(status, console.width), hint), refresh=True)
                await asyncio.sleep(EVERY)


def _workers(status: Status) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("worker", "instance", "version", "up", "sources"):
        table.add_column(name, justify="right" if name in ("up", "sources") else "left", no_wrap=True)
    now = datetime.now(UTC)
    for worker in status.workers:
        up = _duration((now - worker.started).total_seconds()) if worker.started else "-"
        table.add_row(Text(worker.worker), worker.id, Text(worker.version), up, str(len(worker.sources)))
    return table


def _sources(status: Status, width: int) -> Table:
    wide = width >= WIDE
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("source", overflow="ellipsis", no_wrap=True)
    for name in ("engine", "access") if wide else ():
        table.add_column(name, no_wrap=True)
    for name in ("calls", "calls/s", "errors", "average", "in flight"):
        table.add_column(name, justify="right", no_wrap=True)
    for source in status.sources:
        about = [source.engine, source.access] if wide else []
        table.add_row(Text(source.id), *map(Text, about), *_cells(source.total))
        if len(source.instances) > 1:
            for instance, figures in source.instances.items():
                name = Text(f"  {instance}" if wide else f"  …{instance[-8:]}", "dim")
                table.add_row(name, *[""] * len(about), *_cells(figures), style="dim")
    return table


def _cells(figures: Figures) -> list[Text]:
    return [
        Text(f"{figures.calls:,}"),
        Text(f"{figures.calls_per_second:,.1f}"),
        Text(f"{figures.errors:,}", "red" if figures.errors else ""),
        Text(f"{figures.average_milliseconds:,.1f} ms" if figures.calls > figures.in_flight else "-"),
        Text(f"{figures.in_flight} of {figures.limit}"),
    ]


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
