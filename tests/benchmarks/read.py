"""Calls per second and latency of a 10-row read through the whole path: HTTP, token, gateway, bus, worker, SQLite.

The load comes from this machine too, over plain sockets, so the figures compare with themselves only.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from isthmus.launcher.client import PROTOCOL
from stack import running_stack

WARM_UP = 0.5
READ = {"database": "shop", "table": "orders", "filter": "status = 'delivered'", "limit": 10}


def request(endpoint: str, token: str) -> bytes:
    """One whole `tools/call` as it goes over the wire."""
    meta: dict[str, object] = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "query_table", "arguments": READ, "_meta": meta},
        }
    ).encode()
    parts = urlsplit(endpoint)
    head = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Authorization: Bearer {token}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"MCP-Protocol-Version: {PROTOCOL}",
        "Mcp-Method: tools/call",
        "Mcp-Name: query_table",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def connection(endpoint: str, wire: bytes, until: float) -> list[float]:
    """One connection that asks again as soon as it has the answer; the seconds that each call took."""
    parts = urlsplit(endpoint)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    taken: list[float] = []
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(wire)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        taken.append(time.perf_counter() - began)
        if b'"isError":true' in answer or not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"a call failed: {answer[:500]!r}")
    writer.close()
    return taken


async def measure(endpoint: str, wire: bytes, connections: int, seconds: float) -> None:
    """Prints one line."""
    await asyncio.gather(*(connection(endpoint, wire, time.perf_counter() + WARM_UP) for _ in range(connections)))
    began = time.perf_counter()
    answers = await asyncio.gather(*(connection(endpoint, wire, began + seconds) for _ in range(connections)))
    elapsed = time.perf_counter() - began
    taken = sorted(value for part in answers for value in part)
    p50, p99 = statistics.median(taken), taken[int(len(taken) * 0.99)]
    rate = len(taken) / elapsed
    print(f"{connections:>3} connections {rate:>8.0f} calls/s   p50 {p50 * 1000:6.2f} ms   p99 {p99 * 1000:6.2f} ms")


def main() -> None:
    """`make bench`"""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder) / "data") as stack:
        token = stack.command("token").stdout.strip()
        wire = request(stack.connection.mcp_endpoint, token)
        print(f"10-row read from SQLite through gateway and bus ({seconds:.0f} s each)")
        for connections in (1, 16):
            asyncio.run(measure(stack.connection.mcp_endpoint, wire, connections, seconds))


if __name__ == "__main__":
    main()
