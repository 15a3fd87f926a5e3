"""Fields of a form, as the Structs of the admin API want them."""

import re
from collections.abc import Mapping
from typing import TypeVar, cast

import msgspec
from msgspec import inspect

from isthmus_auth.answers import Refusal
from isthmus_auth.parameters import Parameters

S = TypeVar("S", bound=msgspec.Struct)

_PLACE = re.compile(r"\$\.([a-z_]+)")

RULES = {
    "namespace": "A namespace has lower-case letters and digits, a letter first, 32 characters at most.",
    "email": "An e-mail address looks like name@example.com.",
    "password": "A password has 12 characters or more.",
    "attributes": "An attribute is a line such as region = north: lower-case letters, digits and _ before the sign.",
    "access_lifetime": "An access token is valid for 60 seconds to a day.",
    "refresh_lifetime": "A refresh token is valid for 60 seconds to 90 days.",
}
"""What is said of a field that is not as it has to be, where more can be said than that."""


def read(form: Parameters, kind: type[S], *names: str) -> S:
    """A Struct with these fields of the form: lists are lines, or fields of one name; pairs are lines with `=`; a box
    that is not ticked is false. Raises Refusal, which names what is wrong."""
    types = {field.name: field.type for field in cast("inspect.StructType", inspect.type_info(kind)).fields}
    given = {name: _value(form, name, types[name]) for name in names}
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(400, _sentence(str(error))) from None


def fields_of(kept: msgspec.Struct, *names: str) -> Parameters:
    """The other way round: a form with what there is."""
    return Parameters({name: [_text(getattr(kept, name))] for name in names})


def lines(form: Parameters, name: str) -> list[str]:
    """What is in the fields of a name, an entry a line, none twice."""
    found = (line.strip() for value in form.lists.get(name, []) for line in value.splitlines())
    return list(dict.fromkeys(line for line in found if line))


def pairs(form: Parameters, name: str) -> Mapping[str, str]:
    """From lines such as `region = north`. Raises Refusal."""
    found: dict[str, str] = {}
    for line in lines(form, name):
        key, separator, value = line.partition("=")
        if not separator:
            raise Refusal(400, f"{name.capitalize()}: the line {line[:40]!r} has no =.")
        found[key.strip()] = value.strip()
    return found


def _value(form: Parameters, name: str, kind: inspect.Type) -> object:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    if any(isinstance(member, inspect.ListType) for member in members):
        return lines(form, name)
    if any(isinstance(member, inspect.DictType) for member in members):
        return pairs(form, name)
    if any(isinstance(member, inspect.BoolType) for member in members):
        return form.get(name) != ""
    text = form.get(name).strip()
    empty = text == "" and any(isinstance(member, inspect.NoneType) for member in members)
    return None if empty else text


def _text(value: object) -> str:
    match value:
        case None | False:
            return ""
        case True:
            return "yes"
        case list():
            return "\n".join(map(str, cast("list[object]", value)))
        case dict():
            return "\n".join(f"{key} = {text}" for key, text in cast("dict[str, str]", value).items())
        case _:
            return str(value)


def _sentence(said: str) -> str:
    """What msgspec says, in the words of a form."""
    what = said.partition(" - at ")[0]
    place = _PLACE.search(said)
    name = place[1] if place else ""
    if name in RULES:
        return RULES[name]
    label = name.replace("_", " ").capitalize() or "The form"
    if "length >= 1" in what:
        return f"{label} must not be empty."
    if "length <=" in what:
        return f"{label} is too long: {what.rpartition('length <= ')[2]} at most."
    return f"{label}: {what.replace('`', '')}."
