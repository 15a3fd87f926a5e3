"""How a worker shows on the bus: a NATS micro service (ADR-32) with one endpoint per source, true under load."""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.micro.service import EndpointInfo, EndpointStats, Service, ServiceConfig, ServiceInfo, ServiceStats

from isthmus import subjects

REVISION = "revision"
"""In the metadata of PING: changes whenever INFO does."""

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9]{1,64}")


class Advertisement(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a source's endpoint in INFO; every value is a string (ADR-32)."""

    kind: str
    engine: str
    """Such as `postgresql`, `sqlite`, `folder`."""
    title: str
    description: str
    fingerprint: str
    """Two workers that serve one source have one fingerprint."""
    definitions: str
    """The digest of the set of tools that this source has."""
    access: str
    """`read-only` or `read-write`."""


def is_instance(text: str) -> bool:
    """Whether `text` may stand for one worker process: the name of its service, a dot, its id."""
    return _INSTANCE.fullmatch(text) is not None


def offered(service: str, name: str, subject: str, metadata: Mapping[str, str]) -> Advertisement | None:
    """What an endpoint in INFO advertises; None: it is no source, as subject and service are not what its kind says."""
    try:
        advertisement = msgspec.convert(metadata, Advertisement)
    except msgspec.ValidationError:
        return None
    kind = advertisement.kind
    if not (subjects.is_kind(kind) and subjects.is_name(name)):
        return None
    if service != f"{kind}-worker" or subject != subjects.calls(kind, name):
        return None
    return advertisement


def shown(advertisements: Iterable[Advertisement]) -> Advertisement:
    """Of several workers that serve one source, the words that are shown: the same wherever they are read."""
    return min(advertisements, key=lambda a: (a.fingerprint, a.title, a.description))


def differ(advertisements: Iterable[Advertisement]) -> bool:
    """Whether they are about different targets: then nobody can say which of them a call would reach."""
    return len({advertisement.fingerprint for advertisement in advertisements}) > 1


def fingerprint(target: str, key: str) -> str:
    """Names a target, given as a URL without credentials, so that it can be compared but not read."""
    return hmac.digest(key.encode(), target.encode(), hashlib.sha256).hex()[:16]


@dataclass(slots=True)
class Endpoint:
    """One source on the bus, with the numbers that STATS reports."""

    name: str
    advertisement: Advertisement
    limit: int
    """Calls at a time; more are answered `busy`."""
    requests: int = 0
    errors: int = 0
    nanoseconds: int = 0
    last_error: str = ""
    running: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    subscription: Subscription | None = None

    @property
    def subject(self) -> str:
        return subjects.calls(self.advertisement.kind, self.name)


class AdvertisedService(Service):
    """Answers `$SRV.PING`, `INFO` and `STATS` for endpoints that come and go.

    nats.micro's own endpoints are served one call at a time, cannot be removed and lose requests at the end, so the
    subscriptions to calls are ours; only the two public methods below are replaced.
    """

    def __init__(self, client: Client, name: str, version: str) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.metadata = {REVISION: "0"}
        super().__init__(client, ServiceConfig(name=name, version=version, metadata=self.metadata))

    def changed(self) -> None:
        """Raises the revision that PING shows."""
        self.metadata[REVISION] = str(int(self.metadata[REVISION]) + 1)

    def info(self) -> ServiceInfo:
        """What INFO answers: every endpoint with its advertisement."""
        return replace(
            super().info(),
            endpoints=[
                EndpointInfo(e.name, e.subject, e.name, msgspec.to_builtins(e.advertisement))
                for e in self.endpoints.values()
            ],
        )

    def stats(self) -> ServiceStats:
        """What STATS answers: finished calls make the average, running ones are in `data.in_flight`."""
        return replace(
            super().stats(),
            endpoints=[
                EndpointStats(
                    name=e.name,
                    subject=e.subject,
                    queue_group=e.name,
                    num_requests=e.requests,
                    num_errors=e.errors,
                    processing_time=e.nanoseconds,
                    average_processing_time=e.nanoseconds // max(1, e.requests - len(e.running)),
                    last_error=e.last_error,
                    data={"in_flight": len(e.running), "limit": e.limit},
                )
                for e in self.endpoints.values()
            ],
        )
