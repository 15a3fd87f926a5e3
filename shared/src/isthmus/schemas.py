"""JSON Schemas for MCP, made from msgspec Structs."""

import ast
import inspect
import itertools
import textwrap
from functools import cache
from typing import Any, Literal, cast

import msgspec

from isthmus.errors import ConfigurationError

JsonSchema = dict[str, Any]
"""JSON Schema 2020-12: open by nature, so untyped."""


def object_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a Struct with `type: object` at its root, as MCP needs it.

    Titles are left out (they repeat names), and the string below a field describes it.
    """
    (root,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for struct in _structs(kind):
        properties = components.get(struct.__name__, {}).get("properties", {})
        for name, text in field_documentation(struct).items():
            if name in properties:
                properties[name] = {**properties[name], "description": text}
    schema: JsonSchema = components.pop(root["$ref"].rpartition("/")[2])
    schema.pop("description", None)
    if components:
        schema["$defs"] = components
    return _without_titles(schema)


def form_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a form for a user (MCP's elicitation), which has no objects, references or nulls.

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


class _Root(msgspec.Struct):
    type: Literal["object"]
    properties: dict[str, dict[str, Any] | bool] = {}
    required: list[str] = []
    dialect: str = msgspec.field(name="$schema", default="")


def is_tool_schema(schema: JsonSchema) -> bool:
    """Whether it may be a tool's input or output in every version of MCP: clients refuse a whole list for one that is
    not. The root must be an object; what is below it is the client's business."""
    try:
        msgspec.convert(schema, _Root)
    except msgspec.ValidationError:
        return False
    return True


@cache
def field_documentation(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Encoded field name → the string literal that stands below the field in the source, bases first."""
    texts: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if owner is msgspec.Struct or not issubclass(owner, msgspec.Struct):
            continue
        source = ast.parse(textwrap.dedent(inspect.getsource(owner)))
        statements = next(node.body for node in source.body if isinstance(node, ast.ClassDef))
        for field, below in itertools.pairwise(statements):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(inspect.cleandoc(text).split())
                case _:
                    pass
    return {f.encode_name: texts[f.name] for f in msgspec.structs.fields(kind) if f.name in texts}


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


def _structs(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    """The Struct and every Struct that its fields are made of."""
    found: set[type[msgspec.Struct]] = set()

    def visit(info: object) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls not in found:
                found.add(info.cls)
                for field in info.fields:
                    visit(field.type)
            return
        for part in ("types", "item_types"):
            for inner in getattr(info, part, ()):
                visit(inner)
        for part in ("type", "item_type", "key_type", "value_type"):
            inner = getattr(info, part, None)
            if isinstance(inner, msgspec.inspect.Type):
                visit(inner)

    visit(msgspec.inspect.type_info(kind))
    return found


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, dict):
        members = cast("JsonSchema", schema)
        return {
            name: _without_titles(value)
            for name, value in members.items()
            if not (name == "title" and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [_without_titles(item) for item in cast("list[Any]", schema)]
    return schema
