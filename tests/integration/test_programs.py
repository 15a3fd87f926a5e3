"""Programs that tools run: bounded, without secrets, and gone with everything that they started."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from isthmus.launcher.state import child, is_alive
from isthmus.programs import CUT, run


async def test_what_a_program_writes_and_how_it_ends_is_told(tmp_path: Path) -> None:
    done = await run("sh", "-c", 'printf "%s|$1" "$PWD"; exit 3', "sh", "$HOME; *", folder=tmp_path)
    assert (done.code, done.output) == (3, f"{tmp_path}|$HOME; *")
    assert (await run("cat")).output == ""
    assert (await run("printf", "\\377")).output == "\N{REPLACEMENT CHARACTER}"
    with pytest.raises(FileNotFoundError):
        await run("no-such-program")


@pytest.mark.parametrize(("size", "cut"), [(1000, False), (1001, True), (10_000_000, True)])
async def test_output_is_cut_and_says_so(size: int, cut: bool) -> None:
    done = await run(sys.executable, "-c", f"print('x' * {size}, end='')", most=1000)
    assert done.output == "x" * 1000 + CUT * cut
    assert cut or done.code == 0


async def test_endless_output_ends() -> None:
    async with asyncio.timeout(10):
        done = await run("yes", most=1000)
    assert done.code < 0
    assert done.output.endswith(CUT)


async def test_the_way_to_the_bus_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_NATS_PASSWORD", "phunter2")
    monkeypatch.setenv("LANG", "C")
    done = await run("env")
    assert "LANG=C" in done.output
    assert "ISTHMUS" not in done.output


async def test_a_call_that_is_stopped_takes_the_program_and_its_children_along(tmp_path: Path) -> None:
    started = tmp_path / "started"
    running = asyncio.create_task(
        run("sh", "-c", f"sleep 60 & echo $$ $! > {started}.new; mv {started}.new {started}; wait")
    )
    async with asyncio.timeout(10):
        while not started.exists():
            await asyncio.sleep(0.01)
        processes = [child(int(pid)) for pid in started.read_text().split()]
        assert all(map(is_alive, processes))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        while any(map(is_alive, processes)):
            await asyncio.sleep(0.01)


async def test_a_child_that_ran_away_with_the_output_holds_up_no_call(tmp_path: Path) -> None:
    started = tmp_path / "started"
    away = "import os, sys, time; os.setsid(); open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
    script = f'"$0" -c "$1" {started} & while ! [ -s {started} ]; do :; done'
    running = asyncio.create_task(run("sh", "-c", script, sys.executable, away))
    try:
        async with asyncio.timeout(10):
            while not (started.exists() and started.read_text()):
                await asyncio.sleep(0.01)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    finally:
        os.kill(int(started.read_text()), signal.SIGKILL)
