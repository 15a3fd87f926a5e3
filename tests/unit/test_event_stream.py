"""Server-Sent Events arrive in pieces of any size, with any line ends."""

from collections.abc import AsyncGenerator
from itertools import pairwise

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_auth.event_stream import events

LINES = st.lists(st.from_regex(r"[a-z{}: ]{0,6}", fullmatch=True), min_size=1, max_size=3)


@settings(max_examples=50)
@given(st.lists(LINES, max_size=4), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 200)), st.booleans())
def test_events_are_the_same_however_they_are_cut(
    said: list[list[str]], end: str, cuts: list[int], spaced: bool
) -> None:
    data = "data: " if spaced else "data:"
    lines = [line for event in said for line in (": ping", "id: 7", *(data + text for text in event), "")]
    # Without the space after the colon, one at the beginning of the text counts as it.
    wanted = ["\n".join(text if spaced else text.removeprefix(" ") for text in event) for event in said]
    stream = "".join(line + end for line in lines).encode()
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

    async def pieces() -> AsyncGenerator[bytes]:
        for begin, until in pairwise(edges):
            yield stream[begin:until]
        yield b"\n: the end\n"  # what a lone CR at the end waits for

    async def heard() -> list[str]:
        return [event.decode() async for event in events(pieces())]

    assert anyio.run(heard) == wanted


async def test_an_event_that_is_not_complete_is_none() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"data: half"

    assert [event async for event in events(pieces())] == []
