"""Settings from the environment: one frozen Struct per service, read once in its `__main__`.

Wherever a variable `NAME` is read, `NAME_FILE` may name a file that holds its value instead: for secrets, which do not
belong into an environment that everybody can look at.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from isthmus.errors import ConfigurationError

PREFIX = "ISTHMUS_"

FILE_SUFFIX = "_FILE"

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
    """Reads the field `nats_url` from `ISTHMUS_NATS_URL`, or the file that `ISTHMUS_NATS_URL_FILE` names, and so on.

    An empty value counts as absent.

    Raises ConfigurationError naming the variable that does not fit.
    """
    given = os.environ if environ is None else environ
    values = {
        field.encode_name: value
        for field in msgspec.structs.fields(kind)
        if (value := read_variable(PREFIX + field.name.upper(), given))
    }
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        raise ConfigurationError(f"{PREFIX}{path.rstrip('`').upper()}: {problem}.") from None


def read_variable(name: str, environ: Mapping[str, str]) -> str:
    """The variable's value, or what is in the file that `<name>_FILE` names, without the line end; empty: neither.

    Raises ConfigurationError when both are given, or the file cannot be read.
    """
    value, file = environ.get(name, ""), environ.get(name + FILE_SUFFIX, "")
    if not file:
        return value
    if value:
        raise ConfigurationError(f"{name} and {name}{FILE_SUFFIX} are both set; keep one.")
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"{name}{FILE_SUFFIX} names a file that cannot be read as text.") from None
