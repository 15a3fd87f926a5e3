"""Saved queries: SQL from the configuration, each a tool of its database."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from sqlalchemy.engine import URL

from isthmus.errors import ConfigurationError, InvalidArguments
from isthmus.schemas import JsonSchema
from isthmus.tools import Call, Tool
from isthmus.worker import define_tool
from isthmus_db_worker.database import Database
from isthmus_db_worker.rows import Rows
from isthmus_db_worker.running_sql import run
from isthmus_db_worker.settings import Kind, QueryParameter, SavedQuery
from isthmus_db_worker.sql_reading import read_sql

_SCHEMAS: dict[Kind, JsonSchema] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": ["number", "string"], "pattern": r"^-?\d+(\.\d+)?$"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "timestamp": {"type": "string", "format": "date-time"},
}
_TYPES: dict[Kind, Any] = {
    "text": str,
    "integer": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    "number": Decimal,
    "boolean": bool,
    "date": date,
    "timestamp": datetime,
}


def query_tool(database: str, url: URL, name: str, query: SavedQuery) -> Tool[Database]:
    """The tool of a saved query. Raises ConfigurationError for one that cannot be."""
    place = f"The saved query {name} of the database {database}"
    try:
        sql = read_sql(query.sql, url, free=True)
    except InvalidArguments as error:
        raise ConfigurationError(f"{place}: {error.message}") from None
    named = sql.placeholders()
    if odd := sorted(named ^ query.parameters.keys()):
        what = "needs a table parameters." if odd[0] in named else "has no :"
        raise ConfigurationError(f"{place} {what}{odd[0]}.")
    if taken := sorted(named & {"database", "limit"}):
        raise ConfigurationError(f"{place} cannot have a parameter named {taken[0]}: the tool has one already.")
    arguments, schema = _arguments(place, name, query.parameters)
    names = list(query.parameters)

    async def answer(call: Call[Database], given: msgspec.Struct) -> Rows:
        values = {name: getattr(given, name) for name in names}
        for name, value in values.items():
            allowed = query.parameters[name].enum
            if allowed and msgspec.to_builtins(value) not in allowed:
                raise InvalidArguments(f"{name} is one of {', '.join(map(str, allowed))}.")
        return await run(call, sql, values, getattr(given, "limit"), "read")  # noqa: B009  (a Struct made below)

    return define_tool(
        "db",
        "database",
        answer,
        scope="data:read",
        action="read",
        name=name,
        title=query.title,
        description=query.description,
        arguments=arguments,
        read_only=True,
        input_schema=schema,
    )


def _arguments(
    place: str, name: str, parameters: Mapping[str, QueryParameter]
) -> tuple[type[msgspec.Struct], JsonSchema]:
    """The argument Struct, and the schema that shows it to models."""
    fields: list[tuple[str, Any, Any]] = []
    properties: JsonSchema = {}
    required: list[str] = []
    for parameter, about in parameters.items():
        if not parameter.isidentifier():
            raise ConfigurationError(f"{place}: {parameter!r} cannot be the name of a parameter.")
        kind = _TYPES[about.type]
        properties[parameter] = {**_SCHEMAS[about.type]}
        if about.description:
            properties[parameter]["description"] = about.description
        if about.enum:
            properties[parameter]["enum"] = list(about.enum)
        if about.default is msgspec.UNSET:
            required.append(parameter)
            fields.append((parameter, kind, msgspec.NODEFAULT))
            continue
        properties[parameter]["default"] = about.default
        try:
            default = msgspec.convert(about.default, kind, strict=False)
        except msgspec.ValidationError:
            raise ConfigurationError(f"{place}: the default of {parameter} is no {about.type}.") from None
        fields.append((parameter, kind, default))
    fields += [
        ("limit", Annotated[int, msgspec.Meta(ge=1, le=1000)], 100),
        ("database", str | None, None),
    ]
    properties["limit"] = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    properties["database"] = {"type": "string"}
    arguments = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    schema: JsonSchema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return arguments, schema
