"""Proxies in front of auth and gateway: whose word is taken for where a request comes from."""

from ipaddress import ip_network

from isthmus.errors import ConfigurationError


def trusted_proxies(text: str) -> list[str]:
    """Addresses and networks, separated by commas or spaces, as uvicorn takes them (`forwarded_allow_ips`).

    Raises ConfigurationError naming the one that is neither.
    """
    found = text.replace(",", " ").split()
    for item in found:
        try:
            ip_network(item)
        except ValueError:
            raise ConfigurationError(
                f"ISTHMUS_TRUSTED_PROXIES takes addresses and networks such as 127.0.0.1 or 10.0.0.0/8, not {item!r}."
            ) from None
    return found
