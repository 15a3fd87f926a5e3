"""What an answer costs a model: the same rows as Isthmus, DBHub and MCP Toolbox write them, counted in tokens.

The peers are installed into a folder of their own, with the tokenizers that gpt-tokenizer ships, and asked over stdio.
Writes the table of docs/databases.md anew.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from isthmus.answering import answer
from isthmus.demo import database
from isthmus.grants import EVERYTHING, Granted
from isthmus.messages import Envelope, Principal
from isthmus.results import CallToolResult, TextContent
from isthmus_db_worker.settings import DatabaseSettings
from isthmus_db_worker.worker import create_worker
from node import NODE, NPM
from wires import Heard

PACKAGES = ("gpt-tokenizer@3.4.0", "@bytebase/dbhub@1.4.0")
TOOLBOX = "toolbox-server==1.15.0"
DOCS = Path(__file__).parents[2] / "docs" / "databases.md"
START, END = "<!-- tokens -->\n", "<!-- end of tokens -->"
SECONDS = 60
ROWS = (10, 100)

READS: dict[str, dict[str, Any]] = {
    "orders, the latest": {"table": "orders", "order_by": ["-id"]},
    "customers": {
        "table": "customers",
        "columns": ["name", "contact_name", "email", "city", "country", "segment"],
        "order_by": ["id"],
    },
    "invoices, unpaid first": {"table": "invoices", "order_by": ["paid_on", "id"]},
    "order lines": {"table": "order_items", "order_by": ["order_id", "product_id"]},
    "products": {"table": "products", "order_by": ["id"]},
}
"""The arguments of query_table; each is also written as the SELECT that the peers get."""


def select(read: dict[str, Any], rows: int) -> str:
    """The same rows in SQL."""
    keys = [f"{name.lstrip('-')}{' desc' if name.startswith('-') else ''}" for name in read.get("order_by", [])]
    order = f" order by {', '.join(keys)}" if keys else ""
    return f"select {', '.join(read.get('columns', ['*']))} from {read['table']}{order} limit {rows}"  # noqa: S608


def install(folder: Path) -> None:
    """The peers and the tokenizers, unless they are there."""
    marker = folder / "installed"
    wanted = " ".join((*PACKAGES, TOOLBOX))
    if marker.exists() and marker.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run([NODE, NPM, "install", *quiet, *PACKAGES], cwd=folder, check=True, timeout=600)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=60)
    python = folder / "venv" / "bin" / "python"
    uv = shutil.which("uv") or ".tools/bin/uv"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, TOOLBOX], check=True, timeout=600)
    marker.write_text(wanted)


async def ask_peer(command: list[str | Path], calls: list[str], **environment: str) -> list[str]:
    """The texts that an MCP server answers to calls of `execute_sql` over stdio."""
    environment = {**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}", **environment}
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        limit=2**24, start_new_session=True, env=environment,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    number = 0

    async def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
        nonlocal number
        number += 1
        send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while line := await process.stdout.readline():  # pyright: ignore[reportOptionalMemberAccess]
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if message.get("id") == number:
                    return message["result"]
        raise RuntimeError(f"{command[0]} ended")

    def send(message: dict[str, Any]) -> None:
        process.stdin.write(json.dumps(message).encode() + b"\n")  # pyright: ignore[reportOptionalMemberAccess]

    try:
        async with asyncio.timeout(SECONDS):
            client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
            await request("initialize", client)
            send({"jsonrpc": "2.0", "method": "notifications/initialized"})
            texts: list[str] = []
            for sql in calls:
                result = await request("tools/call", {"name": "execute_sql", "arguments": {"sql": sql}})
                assert not result.get("isError"), result
                texts.append("".join(part["text"] for part in result["content"]))
            return texts
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # what the command started, too
        await process.wait()


async def ask_isthmus(file: Path, calls: list[dict[str, Any]]) -> list[str]:
    """The texts of query_table."""
    worker = create_worker({"demo": msgspec.convert({"url": f"sqlite:///{file}"}, DatabaseSettings)})
    toolbox = worker._toolbox  # pyright: ignore[reportPrivateUsage]
    texts: list[str] = []
    try:
        for arguments in calls:
            grants, raw = {"db.demo": Granted.of([EVERYTHING])}, msgspec.Raw(msgspec.json.encode(arguments))
            envelope = Envelope("c", Principal("u", "client", "default"), grants, raw)
            result = await answer(toolbox, toolbox.sources["demo"], "query_table", envelope, SECONDS, Heard())
            assert isinstance(result, CallToolResult)
            assert not result.is_error
            texts += [content.text for content in result.content if isinstance(content, TextContent)]
    finally:
        toolbox.sources["demo"].close()
    return texts


def count(folder: Path, texts: list[str]) -> list[tuple[int, int]]:
    """Tokens of each text: o200k_base, cl100k_base."""
    script = folder / "tokens.mjs"
    shutil.copy(Path(__file__).with_name("tokens.mjs"), script)
    done = subprocess.run(
        [NODE, script], input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return [(first, second) for first, second in json.loads(done.stdout)]


async def measure(folder: Path) -> str:
    """The table."""
    file = folder / "demo.db"
    file.unlink(missing_ok=True)
    database.create(file)
    asked = [(name, rows) for name in READS for rows in ROWS]
    sql = [select(READS[name], rows) for name, rows in asked]
    dbhub: list[str | Path] = [NODE, folder / "node_modules" / ".bin" / "dbhub", "--transport", "stdio", "--dsn"]
    toolbox = folder / "venv" / "bin" / "toolbox-server"
    texts = [
        await ask_isthmus(file, [{**READS[name], "limit": rows} for name, rows in asked]),
        await ask_peer([*dbhub, f"sqlite://{file}"], sql),
        await ask_peer([toolbox, "--prebuilt", "sqlite", "--stdio"], sql, SQLITE_DATABASE=str(file)),
    ]
    counted = [count(folder, of_one) for of_one in texts]
    lines = ["| rows | Isthmus | DBHub 1.4.0 | MCP Toolbox 1.15.0 |", "|---|---|---|---|"]
    for place, (name, rows) in enumerate(asked):
        cells = [f"{one[place][0]:,} / {one[place][1]:,}" for one in counted]
        lines.append(f"| {name}, {rows} | {' | '.join(cells)} |")
    sums = [(sum(first for first, _ in one), sum(second for _, second in one)) for one in counted]
    lines.append(f"| all of them | {' | '.join(f'{first:,} / {second:,}' for first, second in sums)} |")
    return "\n".join(lines)


def main() -> None:
    """`make tokens`"""
    parser = argparse.ArgumentParser(description="Counts what answers cost a model, and writes the table of the docs.")
    parser.add_argument("--folder", type=Path, help="where the peers stay installed; left out: nowhere")
    given: Path | None = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if given is None else given.resolve()
        install(folder)
        table = asyncio.run(measure(folder))
    print(table)
    before, rest = DOCS.read_text().split(START)
    DOCS.write_text(before + START + table + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
