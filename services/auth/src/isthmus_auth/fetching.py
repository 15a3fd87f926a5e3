"""Documents that strangers name and this server fetches: from the public internet alone, little, and soon or not.

A name is resolved once, every address that it has is looked at, and the connection goes to one of those: so a name
that answers differently the next time leads nowhere else (DNS rebinding).
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import httpcore2
from httpcore2 import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream

from isthmus_auth.parameters import FORM

LARGEST = 64 * 1024
"""Bytes of a document."""
SECONDS = 5.0
"""For all of it: name, connection, TLS and answer."""
AT_A_TIME = 4

# Of their own, so that names that nobody answers for hold up nothing else.
_RESOLVERS = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="resolver")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MAX_AGE = re.compile(r"max-age=(\d{1,9})")
_HEADERS = [(b"accept", b"application/json"), (b"accept-encoding", b"identity"), (b"user-agent", b"isthmus")]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unfetchable(Exception):
    """A document that cannot be had; the message says why, for the person who waits for it."""


@dataclass(frozen=True)
class Fetched:
    """A document."""

    body: bytes
    max_age: int | None
    """Seconds that it is good for, as its server says (RFC 9111, section 5.2.2.1); 0: it must not be kept."""


async def fetch(
    url: str, *, local: bool = False, headers: Mapping[str, str] | None = None, form: str | None = None
) -> Fetched:
    """Fetches a JSON document, or the answer to a form. Raises Unfetchable.

    `local` lets it be on this machine or in its network.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _fetch(url, local, headers or {}, form)
    except TimeoutError:
        raise Unfetchable("it did not answer in time") from None
    except ssl.SSLError:
        raise Unfetchable("its certificate is not valid") from None
    except (httpcore2.ConnectError, httpcore2.NetworkError, httpcore2.TimeoutException, OSError):
        raise Unfetchable("it cannot be reached") from None
    except httpcore2.ProtocolError:
        raise Unfetchable("it does not speak HTTP") from None


def is_public(address: Address) -> bool:
    """Whether it is a unicast address of the public internet, whatever it is wrapped in."""
    inner = _unwrapped(address)
    if inner is not address:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and (address.teredo is not None or address.is_site_local):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def is_host(address: Address) -> bool:
    """Whether it can be a server on this machine or in its network: not one that a cloud keeps its secrets at."""
    inner = _unwrapped(address)
    return not (inner.is_link_local or inner.is_multicast or inner.is_unspecified)


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a name, or the one that is written there."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, look_up)
    return [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]


class _Public(AsyncNetworkBackend):
    """Connects to public addresses."""

    def __init__(self, *, local: bool) -> None:
        self._local = local
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (the library's signature)
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        addresses = await resolve(host, port)
        if not addresses or not all(map(is_host if self._local else is_public, addresses)):
            raise Unfetchable("its address is not one of the public internet")
        return await self._inner.connect_tcp(str(addresses[0]), port, timeout, local_address, socket_options)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that is in one of IPv6, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


async def _fetch(url: str, local: bool, more: Mapping[str, str], form: str | None) -> Fetched:
    pool = httpcore2.AsyncConnectionPool(max_connections=1, retries=0, network_backend=_Public(local=local))
    sent = [*_HEADERS, *((name.encode(), value.encode()) for name, value in more.items())]
    if form is not None:
        sent.append((b"content-type", FORM.encode()))
    method, body = ("GET", None) if form is None else ("POST", form.encode())
    async with pool, pool.stream(method, url, headers=sent, content=body) as response:
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        if response.status != 200:
            raise Unfetchable(f"it answered with status {response.status}")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise Unfetchable("it is not JSON")
        received = bytearray()
        async for piece in response.aiter_stream():
            received += piece
            if len(received) > LARGEST:
                raise Unfetchable("it is too large")
        return Fetched(bytes(received), _max_age(headers.get("cache-control", "")))


def _max_age(control: str) -> int | None:
    control = control.lower()
    if "no-store" in control or "no-cache" in control:
        return 0
    found = _MAX_AGE.search(control)
    return int(found[1]) if found else None
