"""The command line."""

import contextlib
import json
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from isthmus import subjects
from isthmus.errors import ConfigurationError, IsthmusError
from isthmus.launcher import administration, joining, panel, ports
from isthmus.launcher import audit as audit_trail
from isthmus.launcher import doctor as examination
from isthmus.launcher import status as status_report
from isthmus.launcher.client import LocalStack, call_tool, fetch_token
from isthmus.launcher.stack import Front, Sources, Stack, demo
from isthmus.launcher.state import DataFolder
from isthmus.origins import parse_origin
from isthmus.proxies import trusted_proxies

app = typer.Typer(
    name="isthmus",
    help="Every database and file store behind one MCP endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DataDir = Annotated[Path, typer.Option(envvar="ISTHMUS_DATA_DIR", help="Where the state lives.")]

DEFAULT_DATA_DIR = Path(".isthmus")
DEFAULT_CONFIG = Path("isthmus.toml")


@app.command()
def up(
    db: Annotated[
        list[str] | None, typer.Option(metavar="NAME=URL", help="A database, read-only: sales=postgresql://…")
    ] = None,
    files: Annotated[list[str] | None, typer.Option(metavar="NAME=PATH", help="A folder, read-only.")] = None,
    config: Annotated[
        Path | None, typer.Option(envvar="ISTHMUS_CONFIG", help="Sources from a file; isthmus.toml if it is there.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    public_url: Annotated[
        str,
        typer.Option(
            envvar="ISTHMUS_PUBLIC_URL", help="The origin of a proxy in front, such as https://mcp.example.com."
        ),
    ] = "",
    trusted: Annotated[
        str,
        typer.Option(
            "--trusted-proxies",
            envvar="ISTHMUS_TRUSTED_PROXIES",
            help="Whose X-Forwarded-For counts: 127.0.0.1 for a proxy or tunnel on this machine.",
        ),
    ] = "",
) -> None:
    """Starts everything here and now: bus, auth, gateway and workers. Without any source it shows a demo."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sources = _sources(db or [], files or [], config)
        front = Front(parse_origin(public_url, "--public-url"), ",".join(trusted_proxies(trusted)))
        folder = DataFolder(data_dir.resolve())
        folder.make()
        with folder.locked():
            folder.reclaim()
            _run(folder, sources, front, console)
    except IsthmusError as error:
        _fail(error)


@app.command()
def token(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    scope: Annotated[str, typer.Option(help="Scopes, separated by spaces; all of them by default.")] = "",
) -> None:
    """Prints an access token for the stack that runs here."""
    try:
        print(fetch_token(LocalStack.of(DataFolder(data_dir)), scope))  # noqa: T201
    except IsthmusError as error:
        _fail(error)


@app.command()
def call(
    tool: Annotated[str, typer.Argument(help="Such as query_table.")],
    arguments: Annotated[str, typer.Argument(metavar="JSON", help="The tool's arguments.")] = "{}",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    structured: Annotated[bool, typer.Option("--json", help="The whole result as JSON.")] = False,
) -> None:
    """Calls a tool as an MCP client does, and prints what a model would read."""
    try:
        result = _call(data_dir, tool, arguments)
    except IsthmusError as error:
        _fail(error)
    if structured:
        print(json.dumps(result, ensure_ascii=False))  # noqa: T201
    else:
        for part in result["content"]:
            print(part.get("text") or f"[{part['type']}, {part.get('mimeType', '')}]")  # noqa: T201
    sys.exit(1 if result.get("isError") else 0)


@app.command(epilog="""isthmus admin POST /people '{"email": "ann@example.com", "roles": ["readers"]}'""")
def admin(
    method: Annotated[str, typer.Argument(help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(help="Such as /people; docs/administration.md lists them.")],
    body: Annotated[str, typer.Argument(metavar="JSON", help="What to make or change.")] = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """People, roles and MCP services of the stack that runs here, through the admin REST API."""
    try:
        answer = administration.call(DataFolder(data_dir), method, path, body)
    except IsthmusError as error:
        _fail(error)
    if answer is not None:
        print(json.dumps(answer, ensure_ascii=False, indent=2))  # noqa: T201


@app.command(
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
    epilog="isthmus run python examples/git_worker.py site ./site",
)
def run(
    program: Annotated[list[str], typer.Argument(metavar="PROGRAM", help="The program and its own arguments.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Runs a worker of your own on the bus of the stack that runs here."""
    try:
        joining.run(DataFolder(data_dir), program)
    except IsthmusError as error:
        _fail(error)


@app.command()
def sources(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Shows the catalog: every source that a worker serves now."""
    try:
        result = _call(data_dir, "list_sources", '{"limit": 200}')
    except IsthmusError as error:
        _fail(error)
    table = Table("source", "kind", "engine", "access", "tools", "description", box=None, header_style="bold")
    for source in result["structuredContent"]["sources"]:
        note = Text(source["problem"], "red") if source["problem"] else Text(source["description"])
        names = (source["name"], source["kind"], source["engine"], source["access"], str(len(source["tools"])))
        table.add_row(*names, note)
    Console().print(table)


@app.command()
def status(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    nats_url: Annotated[
        str,
        typer.Option(
            envvar="ISTHMUS_NATS_URL",
            help="Another bus than the local one; ISTHMUS_NATS_USER and ISTHMUS_NATS_PASSWORD sign in.",
        ),
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Keeps it up to date until Ctrl-C.")] = False,
    structured: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
) -> None:
    """Shows the workers on the bus, and how each source does."""
    console = Console()
    try:
        bus = status_report.bus_of(DataFolder(data_dir), nats_url)
        if watch and not structured:
            status_report.watch(bus, console)
        else:
            status_report.show(bus, console, as_json=structured)
    except IsthmusError as error:
        _fail(error)


@app.command()
def audit(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    nats_url: Annotated[
        str,
        typer.Option(
            envvar="ISTHMUS_NATS_URL",
            help="Another bus than the local one; ISTHMUS_NATS_USER (auth) and ISTHMUS_NATS_PASSWORD sign in.",
        ),
    ] = "",
    since: Annotated[str, typer.Option(help="Only what is not older, such as 30m, 12h or 7d.")] = "",
    until: Annotated[str, typer.Option(help="Only what is older, such as 1d.")] = "",
    output: Annotated[Path | None, typer.Option(help="A file to write, readable by you alone.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Goes on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Prints the audit trail: sign-ins, consents and calls, a JSON object a line."""
    try:
        bus = status_report.bus_of(DataFolder(data_dir), nats_url, audit_trail.USER)
        audit_trail.show(
            bus,
            audit_trail.parse_ago("--since", since),
            audit_trail.parse_ago("--until", until),
            output=output,
            follow=follow,
        )
    except IsthmusError as error:
        _fail(error)


@app.command()
def doctor(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    config: Annotated[
        Path | None, typer.Option(envvar="ISTHMUS_CONFIG", help="The configuration file; by default the one in use.")
    ] = None,
    public_url: Annotated[
        str, typer.Option(envvar="ISTHMUS_PUBLIC_URL", help="The origin that clients should find Isthmus at.")
    ] = "",
) -> None:
    """Looks for what could be wrong, and says what to do about it. Ends with 1 when there is a problem."""
    try:
        if config is None and DEFAULT_CONFIG.is_file():
            config = DEFAULT_CONFIG
        findings = examination.examine(DataFolder(data_dir), config, parse_origin(public_url, "--public-url"))
        found = examination.show(findings, Console())
    except IsthmusError as error:
        _fail(error)
    sys.exit(1 if found else 0)


def _version(value: bool) -> None:
    if value:
        print(version("isthmus"))  # noqa: T201
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Shows the version.")] = False,
) -> None:
    """Every database and file store behind one MCP endpoint."""


def _run(folder: DataFolder, sources: Sources, front: Front, console: Console) -> None:
    sources.names()  # a file that is not valid is told before anything starts
    if sources.is_empty():
        sources = demo(folder.path)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as running:
        with ports.one_at_a_time():
            chosen, notes = ports.choose(ports.Ports())
            for note in notes:
                console.print(note, style="yellow")
            stack = Stack(folder, folder.secrets(), chosen, front, sources)
            running.callback(_stop, stack, console)
            with console.status("Starting") as status:
                found = stack.start(lambda text: status.update(text))
        panel.show(console, stack.connection(), found, published=bool(front.public_url))
        while True:
            stack.check()
            time.sleep(0.2)


def _stop(stack: Stack, console: Console) -> None:
    console.print("Stopping.", style="dim")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave anything behind
    stack.stop()


def _sources(databases: list[str], files: list[str], config: Path | None) -> Sources:
    if config is not None and not config.is_file():
        raise ConfigurationError(f"There is no configuration file {config}.")
    if config is None and DEFAULT_CONFIG.is_file():
        config = DEFAULT_CONFIG
    return Sources(
        config=config,
        databases={name: {"url": value} for name, value in _pairs(databases, "--db", "NAME=URL")},
        files={name: {"path": value} for name, value in _pairs(files, "--files", "NAME=PATH")},
    )


def _pairs(values: list[str], option: str, form: str) -> list[tuple[str, str]]:
    pairs = [(name, target) for name, _, target in (value.partition("=") for value in values)]
    for (name, target), value in zip(pairs, values, strict=True):
        if not target:
            raise ConfigurationError(f"{option} takes {form}, not {value!r}.")
        if not subjects.is_name(name):
            raise ConfigurationError(
                f"{name!r} cannot be the name of a source: use lower-case letters, digits and underscores, "
                "a letter first."
            )
    if len({name for name, _ in pairs}) < len(pairs):
        raise ConfigurationError(f"{option} names one source twice.")
    return pairs


def _call(data_dir: Path, tool: str, arguments: str) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        example = '{"table": "orders"}'
        raise ConfigurationError(f"The arguments must be one JSON object, such as {example!r}.") from None
    stack = LocalStack.of(DataFolder(data_dir))
    return call_tool(stack, fetch_token(stack), tool, parsed)


def _fail(error: IsthmusError) -> NoReturn:
    Console(stderr=True).print(Text(error.message, "red"))
    sys.exit(1)
