"""`isthmus audit`: the audit trail, an event a line."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from isthmus.auditing import STREAM
from isthmus.errors import ConfigurationError, IsthmusError
from isthmus.launcher.survey import connected
from isthmus.settings import BusSettings, read_settings

USER = "auth"
"""The one user of the bus that may read it."""

AT_ONCE = 100
"""Messages."""
WAIT = 5.0
"""Seconds for messages that must be there, and between two looks for new ones."""

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class NoTrail(IsthmusError):
    """There is no audit trail on this bus yet; auth makes it when it starts."""

    code = "no_trail"


def parse_ago(option: str, text: str) -> timedelta | None:
    """From `30m`, `12h` or `7d`; None: no such limit. Raises ConfigurationError."""
    if not text:
        return None
    if (found := _AGO.fullmatch(text)) is None:
        raise ConfigurationError(f"{option} takes a time such as 30m, 12h or 7d, not {text!r}.")
    return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})


def show(
    bus: BusSettings, since: timedelta | None, until: timedelta | None, *, output: Path | None, follow: bool
) -> None:
    """Writes the trail to a file or the terminal, and what comes to it until Ctrl-C. Raises BusUnreachable, NoTrail, or
    ConfigurationError if the file cannot be written."""

    async def run(to: TextIO) -> None:
        async with (
            connected(bus, USER) as client,
            contextlib.aclosing(read(client, since, until, follow=follow)) as lines,
        ):
            async for line in lines:
                to.write(line + "\n")
                if follow:
                    to.flush()

    with contextlib.suppress(KeyboardInterrupt):
        if output is None:
            asyncio.run(run(sys.stdout))
            return
        try:
            with open(output, "x", encoding="utf-8", opener=_private) as file:
                asyncio.run(run(file))
        except OSError as error:
            raise ConfigurationError(f"--output: {error.strerror or error}: {output}") from None


async def read(
    client: Client, since: timedelta | None, until: timedelta | None = None, *, follow: bool
) -> AsyncGenerator[str]:
    """The events as JSON, in order; with `follow` it never ends. Raises NoTrail."""
    last = "" if until is None else (datetime.now(UTC) - until).isoformat(timespec="milliseconds")[:23]
    stream = client.jetstream()
    name = client.new_inbox().rpartition(".")[2]
    config = ConsumerConfig(
        name=name,
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.ALL if since is None else DeliverPolicy.BY_START_TIME,
        opt_start_time=None if since is None else datetime.now(UTC) - since,
        inactive_threshold=60,
    )
    try:
        left = (await stream.add_consumer(STREAM, config)).num_pending or 0
    except NotFoundError:
        raise NoTrail from None
    except TimeoutError:
        raise NoTrail(f"The bus does not let this user read the audit trail; the user {USER} may.") from None
    try:
        async for body in _bodies(stream, name, left, follow=follow):
            for line in body.split(b"\n"):  # and at nothing else that Unicode takes for the end of a line
                if not last or _time(line) <= last:
                    yield line.decode()
    finally:
        with contextlib.suppress(NatsError, TimeoutError):
            await stream.delete_consumer(STREAM, name)


class _Timed(msgspec.Struct):
    time: str = ""


def _time(line: bytes) -> str:
    """When an event was, as text that sorts: without the zone, which is UTC."""
    try:
        return msgspec.json.decode(line, type=_Timed).time[:23]
    except msgspec.DecodeError:
        return ""


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _bodies(stream: JetStreamContext, name: str, left: int, *, follow: bool) -> AsyncGenerator[bytes]:
    bound = await stream.pull_subscribe_bind(name, STREAM)
    while left > 0:
        for message in await bound.fetch(min(left, AT_ONCE), WAIT):
            left -= 1
            yield message.data
    while follow:
        with contextlib.suppress(TimeoutError):
            for message in await bound.fetch(1, WAIT):
                yield message.data


if __name__ == "__main__":  # in a container with auth's settings, where there is no command line
    show(read_settings(BusSettings), None, None, output=None, follow=False)
