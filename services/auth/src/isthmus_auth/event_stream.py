"""Server-Sent Events, as far as an answer needs them: the data of each event."""

from collections.abc import AsyncGenerator, AsyncIterator


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The data of each event that is complete; no other field matters here."""
    begun, data = list[bytes](), list[bytes]()
    async for piece in pieces:
        begun.append(piece)
        if b"\n" not in piece and b"\r" not in piece:
            continue
        # A CR at the end may be half of a CRLF: it waits for what comes.
        whole = b"".join(begun)
        held = whole[-1:] if whole.endswith(b"\r") else b""
        lines = whole.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        begun = [lines.pop() + held]
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []
