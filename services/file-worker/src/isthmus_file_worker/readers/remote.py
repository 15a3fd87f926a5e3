"""A file of a store as the readers see it: bytes that the worker is asked for, piece by piece."""

import io
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from isthmus_file_worker.readers.messages import LENGTH, Wanted, framed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 128 * 1024
AHEAD = 8
"""Blocks that are asked for together while a file is read on and on."""
KEPT = 32
"""Blocks in memory."""


class Channel:
    """The pipes to and from the worker."""

    def __init__(self, read_from: int, write_to: int) -> None:
        self._in = os.fdopen(read_from, "rb", closefd=False)
        self._out = os.fdopen(write_to, "wb", buffering=0, closefd=False)

    def receive(self) -> bytes:
        """The next message. Raises EOFError when the worker is gone."""
        size = int.from_bytes(self._exactly(LENGTH), "big")
        return self._exactly(size)

    def send(self, message: msgspec.Struct) -> None:
        """Returns once all of it is written."""
        data = memoryview(framed(msgspec.msgpack.encode(message)))
        while data:
            data = data[self._out.write(data) :]

    def _exactly(self, size: int) -> bytes:
        data = self._in.read(size)
        if len(data) < size:
            raise EOFError
        return data


class RemoteFile(io.RawIOBase):
    """The file of one job."""

    def __init__(self, channel: Channel, size: int) -> None:
        self._channel = channel
        self._size = size
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._last = -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("before the beginning")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._place < self._size:
            number, begin = divmod(self._place, BLOCK)
            piece = self._block(number)[begin : begin + len(view) - filled]
            if not piece:
                raise OSError("the file is shorter than it was")
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._place += len(piece)
        return filled

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        count = AHEAD if number == self._last + 1 else 1
        offset = number * BLOCK
        self._channel.send(Wanted(offset, min(count * BLOCK, self._size - offset)))
        data = self._channel.receive()
        for place in range(0, len(data), BLOCK):
            self._last = number + place // BLOCK
            self._blocks[self._last] = data[place : place + BLOCK]
        while len(self._blocks) > KEPT:
            self._blocks.popitem(last=False)
        return self._blocks.get(number, b"")
