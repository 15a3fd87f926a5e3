"""Errors as MCP has them, for methods whose results cannot carry any."""

from typing import Any

import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from isthmus.errors import ClientCannot, IsthmusError, ToolError

Context = ServerRequestContext[Any, Any]

RESOURCE_NOT_FOUND = -32002
"""What the 2025 versions answer for a resource that is not there; later ones say that the parameters are invalid."""


def is_modern(context: Context) -> bool:
    """Whether the request is of 2026-07-28, not of a 2025 session."""
    return context.protocol_version in MODERN_PROTOCOL_VERSIONS


def lacking(error: ClientCannot) -> MCPError:
    """What 2026-07-28 answers to a client that cannot be asked."""
    capabilities: dict[str, dict[str, object]] = {name: {} for name in error.needs}
    data = {"requiredCapabilities": capabilities}
    return MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, error.message, data)


def protocol_error(error: IsthmusError, context: Context) -> MCPError:
    """What MCP answers where results cannot carry errors."""
    if isinstance(error, ClientCannot) and is_modern(context):
        return lacking(error)
    mendable = isinstance(error, ToolError)
    code = types.INVALID_PARAMS if mendable else types.INTERNAL_ERROR
    return MCPError(code, error.message, {"code": error.code})


def no_resource(context: Context, message: str, uri: str) -> MCPError:
    """There is no such resource for this caller."""
    return MCPError(types.INVALID_PARAMS if is_modern(context) else RESOURCE_NOT_FOUND, message, {"uri": uri})
