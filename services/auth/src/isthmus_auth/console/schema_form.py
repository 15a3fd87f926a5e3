"""A form made from a tool's JSON Schema, and the arguments that a filled-in form means.

What no field of the kind that suits can say, be it schema or value, is written as JSON. A field that is left empty is
not sent. The name of a form field says how it was filled in (`PREFIX`), so that what is read back is what was shown.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from isthmus_auth.console.schema_fields import Field, Schema, as_json, fields_of

MOST = 200
"""Fields of a form."""

_INTEGER = re.compile(r"[+-]?\d{1,400}")


def expressible(schema: Schema, value: Mapping[str, Any]) -> bool:
    """Whether a form of this schema has a field for all of these arguments."""
    names = {field.name for field in fields_of(schema)}
    return len(names) <= MOST and value.keys() <= names


def filled(schema: Schema, value: Mapping[str, Any]) -> list[Field]:
    """The fields with these arguments filled in."""
    return [_with(field, value[field.name]) if field.name in value else field for field in fields_of(schema)]


def typed(schema: Schema, form: Mapping[str, str]) -> list[Field]:
    """The fields as somebody filled them in."""
    fields: list[Field] = []
    for field in fields_of(schema):
        in_json = msgspec.structs.replace(field, control="json")
        if in_json.key in form:
            field = in_json
        text = form.get(field.key, "").replace("\r\n", "\n").replace("\r", "\n")  # as browsers send lines
        fields.append(msgspec.structs.replace(field, text=text))
    return fields


def read(fields: list[Field]) -> tuple[dict[str, Any], list[Field]]:
    """The arguments, and the fields with what is wrong in any of them."""
    value: dict[str, Any] = {}
    checked: list[Field] = []
    for field in fields:
        error = ""
        if not field.text.strip() and (field.control != "text" or not field.text):
            error = "Fill this in." if field.required else ""
        else:
            try:
                value[field.name] = _value(field)
            except ValueError as problem:
                error = str(problem)
        checked.append(msgspec.structs.replace(field, error=error))
    return value, checked


def _with(field: Field, value: Any) -> Field:
    """The field with a value in it: as JSON if that is the only way to say just this value."""
    text = _written(field, value)
    candidate = msgspec.structs.replace(field, text=text)
    try:
        same = bool(text.strip()) and as_json(_value(candidate)) == as_json(value)
    except ValueError:
        same = False
    if same and "\r" not in text:
        return candidate
    return msgspec.structs.replace(field, control="json", text=msgspec.json.format(as_json(value), indent=2))


def _written(field: Field, value: Any) -> str:
    match field.control:
        case "text":
            return value if isinstance(value, str) else ""
        case "lines":
            lines = cast("list[Any]", value) if isinstance(value, list) else []
            return "\n".join(line for line in lines if isinstance(line, str))
        case "boolean" | "choice" | "integer" | "number":
            return as_json(value)
        case "json":
            return msgspec.json.format(as_json(value), indent=2)


def _value(field: Field) -> Any:
    """What the text means. Raises ValueError with a sentence."""
    match field.control:
        case "text":
            return field.text
        case "lines":
            return [line for line in field.text.split("\n") if line]
        case "boolean":
            if field.text not in ("true", "false"):
                raise ValueError("Choose yes or no.")
            return field.text == "true"
        case "choice":
            if field.text not in (choice.value for choice in field.choices):
                raise ValueError("Choose one of the values.")
            return msgspec.json.decode(field.text)
        case "integer":
            if not _INTEGER.fullmatch(field.text.strip()):
                raise ValueError("Write a whole number.")
            return int(field.text)
        case "number":
            return _number(field.text.strip())
        case "json":
            try:
                return msgspec.json.decode(field.text)
            except (msgspec.DecodeError, RecursionError) as error:
                raise ValueError(f"This is not valid JSON: {error}.") from None


def _number(text: str) -> Any:
    try:
        return msgspec.json.decode(text, type=int | float)
    except msgspec.DecodeError:
        raise ValueError("Write a number, with a point before decimals.") from None
