"""`isthmus.toml`: the sources that workers serve, a table for each.

`ISTHMUS_CONFIG` names the file. In the tables that a worker reads, `${NAME}` in a value stands for the environment
variable NAME, or for what is in the file that NAME_FILE names. `ISTHMUS_DATABASES` and `ISTHMUS_FILES` may hold more
sources of their section, as a JSON object.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from isthmus.errors import ConfigurationError, near
from isthmus.settings import FILE_SUFFIX, PREFIX, read_variable

SECTIONS = ("databases", "files")
"""Every top-level table that the file may have; a worker of a kind of your own has a file with its own."""

S = TypeVar("S", bound=msgspec.Struct)

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def read_sources(section: str, kind: type[S], environ: Mapping[str, str] | None = None) -> dict[str, S]:
    """The sources of one section by name, from the file and the environment together.

    Raises ConfigurationError naming what does not fit.
    """
    given = os.environ if environ is None else environ
    file = given.get(PREFIX + "CONFIG", "")
    sources = read_section(Path(file), section, kind, given) if file else {}
    variable = PREFIX + section.upper()
    if text := read_variable(variable, given):
        try:
            tables = msgspec.json.decode(text, type=dict[str, dict[str, object]])
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{variable} is not a JSON object of sources: {error}.") from None
        for name, table in tables.items():
            if name in sources:
                raise ConfigurationError(f"{name} is both in [{section}] of {file} and in {variable}; rename one.")
            sources[name] = _convert(table, kind, f"{name} in {variable}")
    return sources


def read_section(path: Path, section: str, kind: type[S], environ: Mapping[str, str] | None = None) -> dict[str, S]:
    """The tables `[section.<name>]` of the file, by name; no other section's values are looked at.

    Raises ConfigurationError naming the key and the table that do not fit, or the variable that is not set.
    """
    given = os.environ if environ is None else environ
    sources: dict[str, S] = {}
    for name, table in _tables(path, section).items():
        place = f"[{section}.{name}]"
        if not isinstance(table, dict):
            raise ConfigurationError(f"`{name}` in [{section}] of {path} must be a table {place}.")
        sources[name] = _convert(_expand(cast("object", table), place, given), kind, place)
    return sources


def source_names(path: Path) -> set[str]:
    """The names of all sources in the file; their tables are not looked at. Raises ConfigurationError."""
    return {name for section in SECTIONS for name in _tables(path, section)}


def _tables(path: Path, section: str) -> dict[str, object]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    for name in content:
        if name not in (*SECTIONS, section):
            raise ConfigurationError(f"{path} has an unknown section [{name}].{near(name, SECTIONS)}")
    tables: object = content.get(section, {})
    if not isinstance(tables, dict):
        raise ConfigurationError(f"`{section}` in {path} must be made of tables such as [{section}.name].")
    return cast("dict[str, object]", tables)


def _convert(table: object, kind: type[S], place: str) -> S:
    try:
        return msgspec.convert(table, kind, strict=True)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        if unknown := _UNKNOWN.fullmatch(problem):
            known = [field.encode_name for field in msgspec.structs.fields(kind)]
            raise ConfigurationError(
                f"{place} has an unknown key `{unknown.group(1)}`.{near(unknown.group(1), known)}"
            ) from None
        key = path.strip(".`")
        raise ConfigurationError(f"{place}: `{key}`: {problem}." if key else f"{place}: {problem}.") from None


def _expand(value: object, place: str, environ: Mapping[str, str]) -> object:
    """Replaces `${NAME}` in every string of a table."""

    def variable(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ and name + FILE_SUFFIX not in environ:
            raise ConfigurationError(f"{place} needs the environment variable {name}, which is not set.")
        return read_variable(name, environ)

    if isinstance(value, str):
        return _VARIABLE.sub(variable, value)
    if isinstance(value, dict):
        return {key: _expand(item, place, environ) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_expand(item, place, environ) for item in cast("list[object]", value)]
    return value
