"""MCP 2026-07-28 as it is on the wire, for what the SDK's client does not say."""

import json
from typing import Any

import httpx2

from gateways import Gateway
from servers import TLS

VERSION = "2026-07-28"
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}


def headers(method: str, token: str, name: str = "") -> dict[str, str]:
    """The headers of a request; `name` is that of the tool, prompt or task, or the URI of the resource."""
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": method,
        **({"Mcp-Name": name} if name else {}),
    }


def with_meta(params: dict[str, Any], capabilities: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    """The parameters of a request with what each request says of its client."""
    about = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
    }
    return {**params, "_meta": {**about, **meta}}


async def ask(
    gateway: Gateway,
    method: str,
    params: dict[str, Any],
    *,
    capabilities: dict[str, Any] | None = None,
    token: str = "",
    name: str = "",
    **more: str,
) -> dict[str, Any]:
    """The JSON-RPC answer to one request, with ann's token or another; `name` takes the place of the true Mcp-Name.

    `more` are further headers.
    """
    name = name or params.get("name") or params.get("uri") or params.get("taskId") or ""
    sent = {**headers(method, token or gateway.authority.token(), name), **more}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": with_meta(params, capabilities)}
    async with httpx2.AsyncClient(timeout=20, verify=TLS) as http:
        answer = await http.post(gateway.mcp, json=body, headers=sent)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
        return next(m for line in data if "id" in (m := json.loads(line)))
    return answer.json()
