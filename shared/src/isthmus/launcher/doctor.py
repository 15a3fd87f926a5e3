"""`isthmus doctor`: every check in order, each shown as soon as it is known."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus.errors import IsthmusError
from isthmus.launcher import checks
from isthmus.launcher.checks import Finding
from isthmus.launcher.client import LocalStack, fetch_token
from isthmus.launcher.ports import Ports
from isthmus.launcher.state import Connection, DataFolder, Run, read
from isthmus.origins import ENDPOINT_PATH

_STATES = {"ok": ("OK", "green"), "problem": ("PROBLEM", "bold red"), "unknown": ("-", "dim")}


def examine(folder: DataFolder, config: Path | None, public_url: str) -> Iterator[Finding]:
    """All that can be found out now. `public_url` is what the running stack should be known as, if it is given."""
    yield checks.check_folder(folder)
    try:
        stack = LocalStack.of(folder)
        run, connection = read(folder.run_file, Run), read(folder.connection_file, Connection)
    except (IsthmusError, OSError):
        stack = run = connection = None
    if config is None and run is not None and run.config:
        config = Path(run.config)
    yield from checks.check_configuration(config)
    if stack is None or connection is None:
        yield from checks.check_free_ports(Ports())
        yield Finding(
            "sources", "unknown", "Isthmus does not run here, so no source was asked; `isthmus up` starts it."
        )
        if public_url:
            yield checks.check_public(public_url, public_url + ENDPOINT_PATH)
        return
    logs = folder.path / "logs"
    auth = checks.check_service("auth", stack.auth_url, str(logs / "auth.log"))
    gateway = checks.check_service("mcp-gateway", stack.gateway_url, str(logs / "mcp-gateway.log"))
    yield from (auth, gateway, checks.check_bus(connection.nats_monitor_url))
    issuer = public_url or connection.issuer
    yield checks.check_public(issuer, public_url + ENDPOINT_PATH if public_url else connection.mcp_endpoint)
    clocks = {"auth": f"{stack.auth_url}/healthz", "mcp-gateway": f"{stack.gateway_url}/healthz"}
    if issuer != stack.auth_url:
        clocks["public address"] = f"{issuer}/healthz"
    for about, url in clocks.items():
        yield checks.check_clock(about, url)
    if "problem" in (auth.state, gateway.state):
        yield Finding("sources", "unknown", "Without auth and mcp-gateway no source can be asked.")
        return
    try:
        yield from checks.check_sources(stack, fetch_token(stack), logs)
    except IsthmusError as error:
        yield Finding("sources", "problem", error.message, f"Look at {logs / 'mcp-gateway.log'}.")


def show(findings: Iterator[Finding], console: Console) -> int:
    """Prints them one by one, and returns how many are problems."""
    number = 0
    for finding in findings:
        number += finding.state == "problem"
        console.print(_line(finding))
    if number:
        console.print(f"\n{number} problem{'s' if number > 1 else ''}.", style="bold")
    else:
        console.print("\nNo problems.", style="bold")
    return number


def _line(finding: Finding) -> Table:
    label, style = _STATES[finding.state]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=7)
    table.add_column(width=20, overflow="fold")
    table.add_column(overflow="fold")
    text = Text(finding.text)
    if finding.cure:
        text.append(f"\n→ {finding.cure}", "bold")
    table.add_row(Text(label, style), Text(finding.about), text)
    return table
