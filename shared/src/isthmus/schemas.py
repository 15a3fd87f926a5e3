"""JSON Schemas for MCP, made from msgspec Structs."""

import ast
import inspect
import itertools
import textwrap
from functools import cache
from typing import Any, Literal, cast

import msgspec

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


def arguments_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a tool's arguments, for models to read: what need not be given may be left out, and that is all.

    That a null means the same is not told, nor that an empty default does.
    """
    schema = object_schema(kind)
    schema["properties"] = {name: _argument(property_) for name, property_ in schema.get("properties", {}).items()}
    return schema


def answer_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a tool's structured answer, for programs to check: without a word for models, who get the text."""
    return _bare(object_schema(kind))


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


def _argument(schema: JsonSchema) -> JsonSchema:
    rest = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(rest) == 1:
        schema = {**rest[0], **{name: value for name, value in schema.items() if name != "anyOf"}}
    return {name: value for name, value in schema.items() if name != "default" or value not in (None, "", [])}


def _bare(schema: Any) -> Any:
    """Without descriptions and defaults, which check nothing, and with the short form of what may be null."""
    if isinstance(schema, list):
        return [_bare(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("JsonSchema", schema)
    if (types := _nullable(members)) is not None:
        return {"type": types}
    bare = {name: _bare(value) for name, value in members.items() if name not in ("description", "default")}
    for name in ("properties", "$defs"):
        if name in members:
            named = cast("JsonSchema", members[name])
            bare[name] = {key: _bare(value) for key, value in named.items()}
    return bare


def _nullable(schema: JsonSchema) -> list[str] | None:
    """`anyOf` a plain type and null as a list of types."""
    choices: list[JsonSchema] = schema.get("anyOf", [])
    if len(choices) == 2 and {"type": "null"} in choices and all(choice.keys() == {"type"} for choice in choices):
        return [choice["type"] for choice in choices]
    return None


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
