"""The line of calls that wait for a place: first come, first served, and never for ever."""

import asyncio

import pytest

from isthmus.errors import Busy
from isthmus_mcp_gateway.calls import WAITING, Line


async def test_an_answer_lets_the_first_go_and_one_that_failed_again_keeps_its_place() -> None:
    line, went = Line(), list[str]()

    async def wait(name: str, *, again: bool = False) -> None:
        await line.wait(again=again)
        went.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in ("first", "second")]
    tasks.append(asyncio.create_task(wait("was first before", again=True)))
    await asyncio.sleep(0)
    for count in (1, 2, 3):
        line.release()
        async with asyncio.timeout(1):
            while len(went) < count:
                await asyncio.sleep(0)
    assert went == ["was first before", "first", "second"]
    await asyncio.gather(*tasks)


async def test_without_any_answer_the_first_tries_again_soon() -> None:
    line = Line()
    async with asyncio.timeout(1):
        await asyncio.gather(line.wait(again=False), line.wait(again=False))
    assert not line.waiting


async def test_a_call_that_gives_up_leaves_the_line() -> None:
    line = Line()
    task = asyncio.create_task(line.wait(again=False))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not line.waiting


async def test_a_full_line_says_busy() -> None:
    line = Line()
    tasks = [asyncio.create_task(line.wait(again=False)) for _ in range(WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await line.wait(again=False)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
