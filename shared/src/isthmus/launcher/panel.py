"""What `isthmus up` shows when everything answers."""

import json
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from isthmus.launcher.state import Connection


def show(console: Console, connection: Connection, sources: list[dict[str, Any]], *, published: bool) -> None:
    """The addresses, who may sign in, what there is, and how each client connects."""
    parts: list[RenderableType] = [
        _pairs(
            {
                "MCP endpoint": connection.mcp_endpoint,
                "Client id": connection.client_id,
                "Client secret": connection.client_secret,
                "Console": connection.admin_url,
                "Sign in as": f"{connection.admin_email}  {connection.admin_password}",
            }
        ),
        Rule("Sources", style="dim"),
        _sources(sources),
    ]
    console.print(Panel(Group(*parts), title="Isthmus is ready", border_style="green", padding=(1, 2)))
    for client, step in _clients(connection, published=published).items():
        console.print(Text(client, "bold"))
        console.print(Text(f"  {step}"), soft_wrap=True)  # whole lines, so that they can be copied
    console.print("\nCtrl-C stops everything.", style="dim")


def _pairs(values: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, Text(value))
    return table


def _sources(sources: list[dict[str, Any]]) -> RenderableType:
    if not sources:
        return Text("None yet: start with --db NAME=URL or --files NAME=FOLDER, or write an isthmus.toml.")
    table = Table.grid(padding=(0, 2))
    for source in sources:
        note = source.get("problem") or source["description"]
        table.add_row(Text(source["name"], "bold"), source["engine"], source["access"], Text(note, "dim"))
    return table


def _clients(connection: Connection, *, published: bool) -> dict[str, str]:
    server = json.dumps({"name": "isthmus", "type": "http", "url": connection.mcp_endpoint})
    chatgpt = (
        "Settings → Connectors → Create: the MCP endpoint above, OAuth, client id and secret"
        if published
        else "Needs a public https address: isthmus up --public-url https://mcp.example.com"
    )
    return {
        "Claude Code": f"claude mcp add --transport http isthmus {connection.mcp_endpoint}",
        "VS Code": f"code --add-mcp '{server}'",
        "Cursor, in ~/.cursor/mcp.json": json.dumps({"mcpServers": {"isthmus": {"url": connection.mcp_endpoint}}}),
        "ChatGPT": chatgpt,
        "Here, in a second terminal": "uv run isthmus sources",
    }
