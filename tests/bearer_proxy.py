"""A proxy that adds an access token to each request, for clients that cannot send one. It changes nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

HEAD_LIMIT = 65_536
_LEFT_OUT = (b"connection", b"authorization")


@asynccontextmanager
async def bearer_proxy(url: str, upstream: str, token: Callable[[], str]) -> AsyncGenerator[None]:
    """The proxy at this URL, in front of the server at the URL `upstream`."""
    here, there = urlsplit(url), urlsplit(upstream)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request: its connection ends with its answer, so that no second head has to be found."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
            kept = [line for line in rest if line.partition(b":")[0].lower() not in _LEFT_OUT]
            added = [b"connection: close", f"authorization: Bearer {token()}".encode()]
            far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
            far_writer.write(b"\r\n".join([first, *kept, *added, b"", b""]))
            ways = [asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(_copy(far_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                far_writer.close()
        writer.close()

    server = await asyncio.start_server(serve, here.hostname, here.port, limit=HEAD_LIMIT)
    async with server:
        yield


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(HEAD_LIMIT):
            writer.write(data)
            await writer.drain()
