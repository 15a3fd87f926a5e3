"""The templates of all pages, and the words they have for times."""

import time
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from isthmus_auth import static


@cache
def environment() -> Environment:
    """Jinja with what the templates need: everything is escaped, and a name that is not there is an error.

    One for all apps of a process, since it keeps the templates that it has compiled.
    """
    made = Environment(
        loader=PackageLoader("isthmus_auth"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"static": static.address, "iso": iso, "utc": utc}
    return made


def iso(seconds: float) -> str:
    """A time for programs (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def utc(seconds: float) -> str:
    """A time for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
