"""Settings from the environment: one frozen Struct per service, read once in its `__main__`."""

import os
from collections.abc import Mapping
from typing import Literal, TypeVar

import msgspec

from isthmus.errors import ConfigurationError

PREFIX = "ISTHMUS_"

S = TypeVar("S", bound=msgspec.Struct)


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How every service logs."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["console", "json"] = "console"
    """Lines for people, or a JSON object a line."""


class BusSettings(LogSettings, frozen=True, kw_only=True):
    """What every service needs to reach the bus."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Where nats-server listens."""
    nats_user: str = ""
    """The NATS user of this service; empty: the server asks for none."""
    nats_password: str = ""
    nats_nkey_seed: str = ""
    """The seed of an nkey (`SU…`), instead of user and password: the secret itself never travels."""
    nats_ca: str = ""
    """A file with the certificates that the server's is checked against; nothing is sent to a server without TLS."""
    nats_cert: str = ""
    """A file with this service's own certificate, for a server that asks for one."""
    nats_key: str = ""
    """A file with the key of `nats_cert`; empty: the same file."""


def read_settings(kind: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Reads the field `nats_url` from `ISTHMUS_NATS_URL`, and so on; an empty value counts as absent.

    Raises ConfigurationError naming the variable that does not fit.
    """
    given = os.environ if environ is None else environ
    values = {
        field.encode_name: given[name]
        for field in msgspec.structs.fields(kind)
        if given.get(name := PREFIX + field.name.upper(), "") != ""
    }
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{PREFIX}{path.rstrip('`').upper()}: {problem}.") from None
