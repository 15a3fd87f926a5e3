"""A small client of the local stack: a token of the operator's own, and one tool call."""

from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from isthmus.errors import IsthmusError
from isthmus.launcher.state import Connection, DataFolder, Run, is_alive, read
from isthmus.origins import METADATA_PATH
from isthmus.scopes import SCOPES

CLI_CLIENT = "isthmus-cli"
"""The client id that auth knows the operator's commands by."""

PROTOCOL = "2026-07-28"


class NotRunning(IsthmusError):
    """Isthmus does not run here; start it with `isthmus up`."""

    code = "not_running"


def running(folder: DataFolder) -> tuple[Run, Connection]:
    """Who runs with this data folder, and how to connect. Raises NotRunning."""
    run, connection = read(folder.run_file, Run), read(folder.connection_file, Connection)
    if run is None or connection is None or not is_alive(run.launcher):
        raise NotRunning
    return run, connection


class LocalStack(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack as this machine reaches it, whatever its public name is."""

    auth_url: str
    gateway_url: str
    mcp_endpoint: str
    secret: str

    @classmethod
    def of(cls, folder: DataFolder) -> "LocalStack":
        """The stack that runs with this data folder. Raises NotRunning."""
        run, connection = running(folder)
        return cls(
            auth_url=run.auth_url,
            gateway_url=run.gateway_url,
            mcp_endpoint=connection.mcp_endpoint,
            secret=folder.secrets().cli_secret,
        )


def fetch_token(stack: LocalStack, scope: str = "") -> str:
    """An access token by client credentials (RFC 6749, section 4.4); by default with every scope that there is."""
    form = {
        "grant_type": "client_credentials",
        "resource": stack.mcp_endpoint,
        "scope": scope or " ".join({**SCOPES, **dict.fromkeys(_present_scopes(stack))}),
    }
    answer = _send("POST", f"{stack.auth_url}/token", stack.auth_url, data=form, auth=(CLI_CLIENT, stack.secret))
    if answer.status_code != 200:
        raise IsthmusError(f"auth gave no token: {answer.text[:200]}")
    return str(answer.json()["access_token"])


def call_tool(stack: LocalStack, token: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """MCP's `CallToolResult`. Raises IsthmusError when the gateway refuses the request itself."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "isthmus", "version": "1"},
    }
    parameters = {"name": tool, "arguments": arguments, "_meta": meta}
    answer = _send(
        "POST",
        stack.gateway_url + urlsplit(stack.mcp_endpoint).path,
        stack.mcp_endpoint,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters},
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": PROTOCOL,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        },
    )
    if answer.status_code in (401, 403):
        raise IsthmusError(f"The gateway refused the token: {answer.headers.get('www-authenticate', '')}")
    reply = _last_message(answer)
    if "error" in reply:
        raise IsthmusError(str(reply["error"].get("message", "The gateway refused the request.")))
    return reply["result"]


class _Metadata(msgspec.Struct):
    """Protected resource metadata, as far as it matters here."""

    scopes_supported: list[str] = []


def _last_message(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON-RPC response: the body itself, or the last event of the stream."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        data = [line.removeprefix("data:") for line in answer.text.splitlines() if line.startswith("data:")]
        return msgspec.json.decode(data[-1])
    try:
        return answer.json()
    except ValueError:
        raise IsthmusError(f"The gateway answered {answer.status_code}.") from None


def _present_scopes(stack: LocalStack) -> list[str]:
    """What the tools that are there now need, as the gateway tells every client (RFC 9728)."""
    url = f"{stack.gateway_url}{METADATA_PATH}{urlsplit(stack.mcp_endpoint).path}"
    answer = _send("GET", url, stack.mcp_endpoint)
    return msgspec.json.decode(answer.content, type=_Metadata).scopes_supported if answer.is_success else []


def _send(method: str, url: str, public_url: str, **options: Any) -> httpx2.Response:
    """A request to this machine under the name that the service is published as."""
    headers = {"Host": urlsplit(public_url).netloc, **options.pop("headers", {})}
    try:
        return httpx2.request(method, url, headers=headers, timeout=60, trust_env=False, **options)
    except httpx2.HTTPError:
        raise NotRunning from None
