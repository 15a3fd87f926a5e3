"""The fields of a form, as a tool's JSON Schema has them: each of the kind that suits its part of the schema."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import msgspec

Control = Literal["text", "choice", "boolean", "integer", "number", "lines", "json"]
Schema = Mapping[str, Any]

PREFIX: dict[Control, str] = {
    "text": "t",
    "choice": "c",
    "boolean": "b",
    "integer": "i",
    "number": "n",
    "lines": "l",
    "json": "j",
}
"""What the names of form fields begin with."""
DEEPEST = 8
"""References that lead to references."""


class Choice(msgspec.Struct, frozen=True):
    """One of several values."""

    value: str
    """As JSON."""
    label: str


class Field(msgspec.Struct, frozen=True):
    """A field as a page shows it."""

    name: str
    """The argument's."""
    control: Control
    text: str = ""
    """What is filled in; empty: nothing, and nothing is sent."""
    required: bool = False
    title: str = ""
    description: str = ""
    hint: str = ""
    """What is meant if it is left empty, and the bounds."""
    choices: tuple[Choice, ...] = ()
    error: str = ""

    @property
    def key(self) -> str:
        """The name of the form field."""
        return f"{PREFIX[self.control]}.{self.name}"

    @property
    def long(self) -> bool:
        """Whether it takes more than a line to write."""
        return self.control in ("lines", "json") or "\n" in self.text or self.name == "content"


def fields_of(schema: Schema) -> list[Field]:
    """The empty fields. Those that are needed come first."""
    return [_field(name, described, schema) for name, described in _properties(schema)]


def _properties(schema: Schema) -> list[tuple[str, Schema]]:
    found = schema.get("properties")
    if not isinstance(found, dict):
        return []
    needed = schema.get("required")
    first = cast("list[Any]", needed) if isinstance(needed, list) else []
    properties = sorted(cast("dict[str, Any]", found).items(), key=lambda one: one[0] not in first)
    return [(name, described if isinstance(described, dict) else {}) for name, described in properties]


def _field(name: str, described: Schema, root: Schema) -> Field:
    simple = _simple(described, root)
    control, choices = _control(simple)
    required = root.get("required")
    return Field(
        name=name,
        control=control,
        required=isinstance(required, list) and name in required,
        title=_text(described.get("title")) or _text(simple.get("title")),
        description=_text(described.get("description")) or _text(simple.get("description")),
        hint=_hint({**simple, **described}),
        choices=choices,
    )


def _simple(described: Schema, root: Schema) -> Schema:
    """The schema itself, behind references, and without `null` where that is the other possibility."""
    for _ in range(DEEPEST):
        target = described.get("$ref")
        if isinstance(target, str):
            described = _referred(target, root)
            continue
        kind = described.get("type")
        if isinstance(kind, list):
            others = [one for one in cast("list[Any]", kind) if one != "null"]
            return {**described, "type": others[0]} if len(others) == 1 else {}
        either = described.get("anyOf") or described.get("oneOf")
        if not isinstance(either, list) or _choices(described):
            return described
        branches = [one for one in cast("list[Any]", either) if not _is_null(one)]
        if len(branches) != 1 or not isinstance(branches[0], dict):
            return {}
        described = cast("Schema", branches[0])
    return {}


def _is_null(branch: object) -> bool:
    return isinstance(branch, dict) and cast("dict[str, Any]", branch).get("type") == "null"


def _referred(target: str, root: Schema) -> Schema:
    found: Any = root
    for part in target.removeprefix("#/").split("/"):
        found = cast("dict[str, Any]", found).get(part) if isinstance(found, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _control(schema: Schema) -> tuple[Control, tuple[Choice, ...]]:
    if choices := _choices(schema):
        return "choice", choices
    match schema.get("type"):
        case "string":
            return "text", ()
        case "boolean":
            return "boolean", ()
        case "integer":
            return "integer", ()
        case "number":
            return "number", ()
        case "array" if _is_of_texts(schema.get("items")):
            return "lines", ()
        case _:
            return "json", ()


def _is_of_texts(items: object) -> bool:
    described = cast("dict[str, Any]", items) if isinstance(items, dict) else {}
    return described.get("type") == "string" or bool(_choices(described))


def _choices(schema: Schema) -> tuple[Choice, ...]:
    """The values of an enumeration, which may have titles of their own."""
    options = schema.get("enum")
    if isinstance(options, list):
        return tuple(_choice(value) for value in cast("list[Any]", options))
    either = schema.get("oneOf") or schema.get("anyOf")
    branches = cast("list[Any]", either) if isinstance(either, list) else []
    titled = [cast("dict[str, Any]", one) for one in branches if isinstance(one, dict) and "const" in one]
    if len(titled) != len(branches):
        return ()
    return tuple(_choice(one["const"], _text(one.get("title"))) for one in titled)


def _choice(value: Any, title: str = "") -> Choice:
    label = value if isinstance(value, str) else as_json(value)
    return Choice(as_json(value), title or label or "(empty)")


def _hint(schema: Schema) -> str:
    said: list[str] = []
    if (default := schema.get("default")) is not None and default != []:
        said.append(f"left empty: {default if isinstance(default, str) else as_json(default)}")
    items = schema.get("items")
    if isinstance(items, dict) and (options := _choices(cast("dict[str, Any]", items))):
        said.append("some of " + ", ".join(option.value.strip('"') for option in options))
    for word, what in (("minimum", "at least"), ("maximum", "at most"), ("maxItems", "entries at most")):
        bound = schema.get(word)
        if isinstance(bound, int | float):
            said.append(f"{bound} {what}" if word == "maxItems" else f"{what} {bound}")
    return ", ".join(said)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def as_json(value: Any) -> str:
    """A value in one line."""
    return msgspec.json.encode(value).decode()
