"""One soak, from its baseline to its report."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soak.actors import ACTORS, act, act_all
from soak.counters import Counters
from soak.stage import Stage, stage
from soak.visits import Tally

GROWS = 1.10
"""How much memory a process may have at the end, as a share of what it had after the warm-up."""
SETTLES_WITHIN = 25.0
"""Seconds until nothing is left over: a call whose cancellation was lost runs to its deadline."""
STEADY = 3
"""Looks one after another that must agree before the baseline counts."""


@dataclass
class Report:
    """What came of it."""

    seconds: float
    tally: Tally
    cuts: int
    visits: int
    consumers: int
    memory: list[tuple[float, dict[str, int]]] = field(default_factory=list[tuple[float, dict[str, int]]])
    """The curve: seconds since the beginning, bytes by process. The last is the end, all settled."""
    warm: int = 0
    """Which point of the curve is the first after the warm-up."""
    before: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    after: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    left: list[str] = field(default_factory=list[str])
    """What is there after the load and was not before."""

    @property
    def grown(self) -> list[str]:
        """Processes of the product whose memory grew too much."""
        (_, warm), (_, end) = self.memory[self.warm], self.memory[-1]
        return [
            f"{name} grew from {warm[name] / 2**20:.1f} MB to {end[name] / 2**20:.1f} MB"
            for name in warm
            if name != "nats-server" and end[name] > warm[name] * GROWS
        ]

    @property
    def problems(self) -> list[str]:
        """All that must not be; empty: it is good."""
        idle = [] if self.tally.done.total() else ["nothing was done"]
        return [*idle, *self.tally.wrong[:20], *self.grown, *self.left]

    def __str__(self) -> str:
        """For people."""
        return "\n".join([*self._load(), "", *self._curve(), "", *self._counters(), "", *self._verdict()])

    def _load(self) -> list[str]:
        tally, done = self.tally, self.tally.done
        steps = sorted({step for step, _ in done})
        return [
            f"{self.seconds:.0f} s, {ACTORS} actors: {tally.requests} requests, {tally.requests / self.seconds:.0f}/s; "
            f"{done.total()} steps of {tally.clients['2026']} clients of 2026 and {tally.clients['2025']} of 2025",
            f"{self.cuts} connections to the bus were cut; a third worker came and went {self.visits} times",
            f"told after a cut: {_counted(tally.lost)}; calls of the third worker: {_counted(tally.gone)}; "
            f"wrong: {len(tally.wrong)}",
            "",
            f"{'':16} {'2026':>7} {'2025':>7}",
            *(f"{step:16} {done[step, '2026']:>7} {done[step, '2025']:>7}" for step in steps),
        ]

    def _curve(self) -> list[str]:
        names = list(self.memory[0][1])
        lines = [f"{'MB after':>10} " + " ".join(f"{name:>12}" for name in names)]
        for number, (at, found) in enumerate(self.memory):
            mark = {self.warm: "  warm", len(self.memory) - 1: "  end"}.get(number, "")
            lines.append(f"{at:>8.0f} s " + " ".join(f"{found[name] / 2**20:>12.1f}" for name in names) + mark)
        return lines

    def _counters(self) -> list[str]:
        lines = [f"{'':44} {'before':>8} {'after':>8}"]
        for name, counts in self.before.items():
            for what in sorted(counts.keys() | self.after[name].keys()):
                before, after = counts.get(what, 0), self.after[name].get(what, 0)
                lines.append(f"{name + ': ' + what:44} {before:>8} {after:>8}")
        return [*lines, f"JetStream consumers, each gone five minutes after its watch: {self.consumers}"]

    def _verdict(self) -> list[str]:
        return self.problems or ["Nothing was left over, nothing grew, no answer was wrong."]


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {code}" for code, count in counter.most_common()) or "none"


async def soak(seconds: float, folder: Path) -> Report:
    """Everything for that long, and then what is left of it."""
    async with stage(folder) as built:
        tally = Tally()
        await act_all(built, tally)
        baseline = await _baseline(built)
        report = Report(seconds, tally, 0, 0, 0, before=_shown(baseline))
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(built.kick())
            group.create_task(built.come_and_go())
            for number in range(ACTORS):
                group.create_task(act(built, tally, number))
            await _draw_curve(built, report, began)
            built.over.set()
        report.left, after = await _settle(built, baseline)
        report.after = _shown(after)
        report.memory.append((time.monotonic() - began, await built.memory()))
        report.cuts, report.visits, report.consumers = len(built.kicked), built.visits, await built.consumers()
        return report


async def _draw_curve(built: Stage, report: Report, began: float) -> None:
    """A point each tenth of the time, and one when all is warm."""
    warm_up = max(15.0, report.seconds / 5)
    points = sorted({warm_up, *(report.seconds * tenth / 10 for tenth in range(1, 11))})
    report.warm = points.index(warm_up)
    for point in points:
        await asyncio.sleep(max(0.0, began + point - time.monotonic()))
        report.memory.append((time.monotonic() - began, await built.memory()))


Look = tuple[dict[str, Counters], dict[str, int]]


async def _look(built: Stage) -> Look:
    return await built.look(), await built.on_the_bus()


async def _baseline(built: Stage) -> Look:
    """What is there while nobody calls: looked at until it is the same several times."""
    same, last, end = 0, await _look(built), time.monotonic() + SETTLES_WITHIN
    while same < STEADY:
        await asyncio.sleep(0.3)
        look = await _look(built)
        moved = _compared(look, last) + _compared(last, look)
        assert time.monotonic() < end, f"before the load: {moved}"
        same, last = 0 if moved else same + 1, look
    return last


async def _settle(built: Stage, baseline: Look) -> tuple[list[str], Look]:
    """What is left over once it does not become less any more, and the last look."""
    end = time.monotonic() + SETTLES_WITHIN
    while (left := _compared(look := await _look(built), baseline)) and time.monotonic() < end:
        await asyncio.sleep(0.5)
    return left, look


def _compared(look: Look, baseline: Look) -> list[str]:
    """What is there now and was not before."""
    found = _more("nats-server", look[1], baseline[1])
    for name, now in look[0].items():
        before = baseline[0][name]
        found += _more(name, now.idle, {})
        found += _more(name, now.held, before.held)
        found += _more(f"{name}: task", now.tasks, before.tasks)
    return found


def _more(name: str, now: Mapping[str, int], before: Mapping[str, int]) -> list[str]:
    return [
        f"{name}: {what}: {count} instead of {before.get(what, 0)}"
        for what, count in now.items()
        if count > before.get(what, 0)
    ]


def _shown(look: Look) -> dict[str, dict[str, int]]:
    shown = {
        name: {**found.idle, **found.held, **found.kept, "tasks": sum(found.tasks.values())}
        for name, found in look[0].items()
    }
    return {**shown, "nats-server": look[1]}
