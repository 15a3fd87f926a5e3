"""The sources that are on the bus now: what a person can choose from. Nothing here decides who may use them."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError

from isthmus import subjects
from isthmus.grants import Grant, matches_any
from isthmus_auth.hashing import random_id
from isthmus_auth.models import Account, Service

FIRST_WITHIN = 0.5
"""Seconds for the first worker to answer."""
QUIET = 0.1
"""Seconds without an answer after which all are in."""
KEPT = 5.0
"""Seconds for which an answer is good."""
MOST = 2000
"""Answers that are waited for."""


class SourceInfo(msgspec.Struct, frozen=True, order=True):
    """A source as its worker advertises it."""

    name: str
    """As globs name it: `<kind>.<source>`."""
    title: str
    description: str


class _Endpoint(msgspec.Struct):
    name: str
    metadata: dict[str, str] = {}


class _Info(msgspec.Struct):
    """What a service answers to INFO (ADR-32), as far as it matters here."""

    endpoints: list[_Endpoint] = []


class Sources:
    """Asks the workers, and remembers for a moment what they said."""

    def __init__(self, connected: Callable[[], Client | None]) -> None:
        """`connected` gives the bus, if it is there."""
        self._connected = connected
        self._known: list[SourceInfo] = []
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def now(self) -> list[SourceInfo]:
        """In order of names; empty while the bus is away."""
        async with self._asking:
            client = self._connected()
            if time.monotonic() > self._until and client is not None and client.is_connected:
                with contextlib.suppress(NatsError):
                    self._known = await _ask(client)
                self._until = time.monotonic() + KEPT
            return self._known


def shareable(sources: Iterable[SourceInfo], account: Account, service: Service) -> list[SourceInfo]:
    """Those that the service exposes and in which the account may do something."""
    roles = [role for role in account.roles if not service.roles or role.id in service.roles]
    grants = [msgspec.convert(grant, Grant) for role in roles for grant in role.grants]
    return [
        source
        for source in sources
        if matches_any(service.sources, source.name) and any(matches_any(g.sources, source.name) for g in grants)
    ]


async def _ask(client: Client) -> list[SourceInfo]:
    inbox = f"{subjects.inbox('auth')}.{subjects.SRV}.{random_id()}"  # where every worker may answer
    answers = await client.subscribe(inbox, max_msgs=MOST)
    found: set[SourceInfo] = set()
    try:
        await client.publish(subjects.srv("INFO"), reply=inbox)
        wait = FIRST_WITHIN
        for _ in range(MOST):
            message = await answers.next_msg(wait)
            wait = QUIET
            with contextlib.suppress(msgspec.DecodeError):
                found.update(_sources(msgspec.json.decode(message.data, type=_Info)))
    except TimeoutError:
        pass
    finally:
        await answers.unsubscribe()
    return sorted(found)


def _sources(info: _Info) -> Iterable[SourceInfo]:
    for endpoint in info.endpoints:
        kind = endpoint.metadata.get("kind", "")
        if subjects.is_name(kind) and subjects.is_name(endpoint.name):
            title = endpoint.metadata.get("title", "") or endpoint.name
            yield SourceInfo(f"{kind}.{endpoint.name}", title, endpoint.metadata.get("description", ""))
