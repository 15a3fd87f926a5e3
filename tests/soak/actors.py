"""Clients of both eras that do all that clients do, one after another."""

import asyncio
import itertools
import random
import time
from collections.abc import Sequence

import httpx2
import mcp_types as types
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError

from gateways import Gateway
from soak.stage import Stage
from soak.steps import BOTH, MODERN, TASKED, Step, visits_visitor
from soak.visits import PATIENCE, Era, Tally, ToldError, Visit, opened

ACTORS = 8
STEPS = 8
"""What one client does before it leaves."""
TASKS_MOST = 1500
"""Tasks that are begun: each of the two gateways keeps up to 1000, for an hour."""
EXCUSED = frozenset({"busy", "no_worker", "outcome_unknown", "worker_lost"})
"""What a call may answer whose connection to the bus was cut."""
BETWEEN = frozenset({"unavailable", "session_unknown", "stream_cut", "not_heard"})
"""What a client may meet where two gateways were cut from each other: 503 or 504, 404, a stream that ends, no news."""


async def act(stage: Stage, tally: Tally, number: int) -> None:
    """One client after another, of both eras in turn, until it is over."""
    chosen = random.Random(number)  # noqa: S311
    for visit in itertools.count():
        if stage.over.is_set():
            return
        era: Era = "2026" if (number + visit) % 2 else "2025"
        menu = BOTH if era == "2025" else MODERN
        if era == "2026" and tally.tasks < TASKS_MOST:
            menu += TASKED
        steps = chosen.sample(menu, STEPS)
        await be_a_client(stage, tally, era, f"{number}-{visit}", steps)


async def act_all(stage: Stage, tally: Tally) -> None:
    """Every step once, in both eras, at each gateway."""
    for gateway in stage.both.gateways:
        await be_a_client(stage, tally, "2026", "warm", MODERN + TASKED, stage.both.alone(gateway))
        await be_a_client(stage, tally, "2025", "warm", BOTH, stage.both.alone(gateway))


async def be_a_client(
    stage: Stage, tally: Tally, era: Era, name: str, steps: Sequence[Step], at: Gateway | None = None
) -> None:
    """Comes, does these things, and goes; at one gateway or, by turns, at all."""
    began = time.monotonic()
    try:
        async with opened(stage, tally, era, name, at or stage.both.behind) as visit:
            tally.clients[era] += 1
            for number, step in enumerate(steps):
                visit.words = f"{name}-{number}"
                await _do(visit, step)
    except* (MCPError, httpx2.HTTPError, TimeoutError) as group:
        if not stage.excuses(began):
            tally.wrong.append(f"{era} a client that comes or goes: {group.exceptions!r}")


async def _do(visit: Visit, step: Step) -> None:
    began, tally = time.monotonic(), visit.tally
    try:
        async with asyncio.timeout(PATIENCE):
            await step(visit)
    except (ToldError, MCPError, SubscriptionLost, TimeoutError, httpx2.HTTPError) as error:
        code = _code(error)
        since = visit.began if code == "not_heard" else began  # a stream that the SDK's client gave up stays away
        if step is visits_visitor and code in EXCUSED | {"unknown_source"}:
            tally.gone[code] += 1
        elif code in EXCUSED | BETWEEN and visit.stage.excuses(since):
            tally.lost[f"{visit.era} {step.__name__}: {code}"] += 1
        else:
            said = f"{code}: {error!r} after {time.monotonic() - began:.1f} s"
            tally.wrong.append(f"{visit.era} {step.__name__}: {said}")
    except AssertionError as error:
        tally.wrong.append(f"{visit.era} {step.__name__}: {error}")
    else:
        tally.done[step.__name__, visit.era] += 1


def _code(error: Exception) -> str:
    match error:
        case ToldError():
            return error.code
        case MCPError(data={"code": str(code)}):
            return code
        case MCPError(message="Server returned an error response"):
            return "unavailable"
        case MCPError(message="Session terminated"):
            return "session_unknown"
        case MCPError(code=types.CONNECTION_CLOSED | types.REQUEST_TIMEOUT) | SubscriptionLost() | httpx2.HTTPError():
            return "stream_cut"
        case _:
            return type(error).__name__
