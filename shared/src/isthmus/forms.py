"""Forms that a client shows to its user (MCP's elicitation), made from Structs."""

import msgspec

from isthmus.errors import ConfigurationError
from isthmus.schemas import JsonSchema, object_schema


def form_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a form, which has no objects, references or nulls.

    A field may be text, a number, a boolean, a choice of texts (a `Literal` or an `Enum`), or a list of such choices;
    one that may be None may be left out. Raises ConfigurationError.
    """
    schema = object_schema(kind)
    defined = schema.get("$defs", {})
    fields: dict[str, JsonSchema] = schema.get("properties", {})
    return {
        "type": "object",
        "properties": {name: _form_field(f"{kind.__name__}.{name}", field, defined) for name, field in fields.items()},
        "required": schema.get("required", []),
    }


def _form_field(name: str, schema: JsonSchema, defined: dict[str, JsonSchema]) -> JsonSchema:
    options = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    about = {key: value for key, value in schema.items() if key not in ("anyOf", "$ref")}
    field = {**about, **_choice(options[0], defined)}
    if "anyOf" in schema and field.get("default", "") is None:
        del field["default"]
    fits = field.get("type") in ("string", "number", "integer", "boolean")
    if field.get("type") == "array":
        field["items"] = _choice(field.get("items", {}), defined)
        fits = field["items"].get("type") == "string" and "enum" in field["items"]
    if len(options) != 1 or not fits:
        raise ConfigurationError(f"{name} is nothing that a form can ask for.")
    return field


def _choice(schema: JsonSchema, defined: dict[str, JsonSchema]) -> JsonSchema:
    """The schema; a choice of texts in place of a reference to it, and with its type."""
    named = defined.get(schema.get("$ref", "").rpartition("/")[2], schema)
    if not all(isinstance(value, str) for value in named.get("enum", [0])):
        return schema
    return {"type": "string", **{key: value for key, value in named.items() if key != "description"}}
