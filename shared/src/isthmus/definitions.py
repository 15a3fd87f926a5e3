"""Tool definitions as workers advertise them, and their JSON Schemas, made from msgspec Structs."""

import ast
import hashlib
import inspect
import itertools
import textwrap
from functools import cache
from typing import Any, cast

import msgspec

JsonSchema = dict[str, Any]
"""JSON Schema 2020-12: open by nature, so untyped."""


class Annotations(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """MCP's hints about what a tool does to the data."""

    read_only_hint: bool
    destructive_hint: bool
    idempotent_hint: bool
    open_world_hint: bool = False


class Definition(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One tool, before it is merged over sources."""

    name: str
    title: str
    description: str
    input_schema: JsonSchema
    output_schema: JsonSchema | msgspec.UnsetType = msgspec.UNSET
    annotations: Annotations
    scope: str
    """The OAuth scope that a caller's token must have."""
    actions: tuple[str, ...]
    """One of these a grant must allow on every source that the call names; the tool checks further."""
    sources: dict[str, str]
    """Argument → kind of the source that it names; the first one routes the call."""


class DefinitionSet(msgspec.Struct, frozen=True):
    """The tools that a source offers; sources with equal sets share one digest."""

    version: str
    """The worker's version. Where two sets define a tool, the higher version is shown."""
    tools: tuple[Definition, ...]

    def encode(self) -> bytes:
        """The JSON that travels, and that the digest is of."""
        return msgspec.json.encode(self)


def digest(encoded: bytes) -> str:
    """Names a set of definitions: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(encoded).hexdigest()[:32]


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
