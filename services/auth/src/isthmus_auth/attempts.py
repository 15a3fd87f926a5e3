"""A small, bounded memory of how often something was tried."""

import ipaddress
import time
from collections import OrderedDict

MOST = 10
"""Failures allowed in one window."""

WINDOW = 300.0
"""Seconds."""

REMEMBERED = 10_000
"""Keys kept; the oldest go first."""


class Attempts:
    """Counts attempts by key, such as an address with an e-mail address."""

    def __init__(self, most: int = MOST, window: float = WINDOW) -> None:
        """So many for each key within so many seconds."""
        self._most = most
        self._window = window
        self._counts: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def allow(self, key: tuple[str, ...]) -> bool:
        """Counts one attempt; False: there were too many. Counted before the outcome is known, so that many at once
        do not slip through."""
        now = time.monotonic()
        began, count = self._counts.get(key, (now, 0))
        if now - began > self._window:
            began, count = now, 0
        self._counts[key] = (began, count + 1)
        while len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return count < self._most

    def is_first_refused(self, key: tuple[str, ...]) -> bool:
        """Whether the latest attempt was the first that was too many: what follows tells nothing new."""
        return self._counts.get(key, (0.0, 0))[1] == self._most + 1

    def take_back(self, key: tuple[str, ...]) -> None:
        """That attempt was none to be counted."""
        if key in self._counts:
            began, count = self._counts[key]
            self._counts[key] = (began, count - 1)

    def succeeded(self, key: tuple[str, ...]) -> None:
        """Forgets the failures before."""
        self._counts.pop(key, None)


class SignInAttempts:
    """How often somebody tries passwords, so counted that nobody can keep anybody else out.

    A browser that has signed in to the account before is counted by itself alone, whatever others do. All others are
    counted by network with account, by network, and by account: so many networks together cannot try much either, and
    what they use up is only the turn of browsers that are new to the account.
    """

    def __init__(self) -> None:
        self._each = Attempts()
        self._networks = Attempts(most=50)
        self._accounts = Attempts(most=100)

    def allow(self, network: str, email: str, device: str) -> bool:
        """Counts an attempt. `device` names a browser that the account knows; empty: it is new to it."""
        if device:
            return self._each.allow(("device", device))
        allowed = [
            self._each.allow((network, email)),
            self._networks.allow((network,)),
            self._accounts.allow((email,)),
        ]
        return all(allowed)

    def is_first_refused(self, network: str, email: str, device: str) -> bool:
        """Whether the latest attempt was the first that was too many: what follows tells nothing new."""
        if device:
            return self._each.is_first_refused(("device", device))
        return (
            self._each.is_first_refused((network, email))
            or self._networks.is_first_refused((network,))
            or self._accounts.is_first_refused((email,))
        )

    def succeeded(self, network: str, email: str, device: str) -> None:
        """The password was right: this attempt counts no more, nor do this browser's before."""
        self._each.succeeded(("device", device) if device else (network, email))
        if not device:
            self._networks.take_back((network,))
            self._accounts.take_back((email,))


def network_of(address: str) -> str:
    """The network that an address stands for: whoever has one of IPv6 has the whole /64."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else str(ip)
