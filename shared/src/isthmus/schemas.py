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


@cache
def object_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a Struct with `type: object` at its root, as MCP needs it: made once, so nobody may change it.

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
    """The schema of a tool's arguments, for models to read at every start: what they need to know to write them.

    That a null or an empty default means the same as leaving out is not told, nor what nobody would send: other fields,
    and a number or a list that is too small. The worker refuses those. A Struct within, whose fields have no words of
    their own, is an object of which the argument's description shows an example.
    """
    schema = {**object_schema(kind)}
    properties: JsonSchema = schema.get("properties", {})
    definitions: JsonSchema = schema.get("$defs", {})
    schema["properties"] = {name: _argument(_inlined(each, definitions)) for name, each in properties.items()}
    if definitions and "#/$defs/" not in str(schema["properties"]):
        del schema["$defs"]
    return _without_nothing(schema)


def answer_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of a tool's structured answer, for programs to check: the types of its fields, and not a word for
    models, who get the text. Models read it all the same at every start, so what is within the fields is left out, and
    so are fields that only some answers have, or that may be null."""
    properties: JsonSchema = object_schema(kind).get("properties", {})
    sometimes = {f.encode_name for f in msgspec.structs.fields(kind) if f.default is msgspec.UNSET}
    outlines = {name: _outline(property_) for name, property_ in properties.items() if name not in sometimes}
    always = {name: outline for name, outline in outlines.items() if "null" not in outline.get("type", "")}
    return {"type": "object", "properties": always} if always else {"type": "object"}


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


def _inlined(schema: Any, definitions: JsonSchema) -> Any:
    """With definitions in place of references to them, but for those that refer to others in turn."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    members = cast("JsonSchema", schema)
    target: JsonSchema = definitions.get(str(members.get("$ref", "")).removeprefix("#/$defs/"), {})
    if target and "$ref" not in str(target):
        if not any("description" in field for field in target.get("properties", {}).values()):
            return {"type": "object"}
        return {name: value for name, value in target.items() if name != "description"}
    return {name: _inlined(value, definitions) for name, value in members.items()}


def _argument(schema: JsonSchema) -> JsonSchema:
    """Without what says no more than that the argument may be left out."""
    rest = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(rest) == 1:
        schema = {**rest[0], **{name: value for name, value in schema.items() if name != "anyOf"}}
    schema = {name: value for name, value in schema.items() if name != "default" or value}
    schema = _without_nothing(schema)
    if "items" in schema:
        schema["items"] = _argument(schema["items"])
    if "anyOf" in schema:
        schema["anyOf"] = [_argument(choice) for choice in schema["anyOf"]]
    if "properties" in schema:
        schema["properties"] = {name: _argument(property_) for name, property_ in schema["properties"].items()}
    return schema


def _without_nothing(schema: JsonSchema) -> JsonSchema:
    """Without what any model does anyway."""
    needless: list[tuple[str, object]] = [
        ("additionalProperties", False), ("required", []),
        ("minimum", 0), ("minimum", 1), ("minItems", 1),
    ]  # fmt: skip
    return {name: value for name, value in schema.items() if (name, value) not in needless}


def _outline(schema: JsonSchema) -> JsonSchema:
    """The types that a value may have, and no more."""
    choices: list[JsonSchema] = schema.get("anyOf", [schema])
    types = [
        "object" if "$ref" in choice else "string" if "enum" in choice else choice.get("type") for choice in choices
    ]
    if None in types:
        return {}
    return {"type": types[0] if len(types) == 1 else types}


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
