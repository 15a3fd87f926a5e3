"""A bar chart as a PNG image (ISO/IEC 15948), drawn pixel by pixel."""

import struct
import zlib
from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 640, 360, 40
WHITE, GREY, TEAL, INK = (255, 255, 255), (222, 226, 230), (15, 118, 110), (73, 80, 87)

GLYPHS = (
    *((0b111, 0b101, 0b101, 0b101, 0b111), (0b010, 0b110, 0b010, 0b010, 0b111), (0b111, 0b001, 0b111, 0b100, 0b111)),
    *((0b111, 0b001, 0b111, 0b001, 0b111), (0b101, 0b101, 0b111, 0b001, 0b001), (0b111, 0b100, 0b111, 0b001, 0b111)),
    *((0b111, 0b100, 0b111, 0b101, 0b111), (0b111, 0b001, 0b010, 0b010, 0b010), (0b111, 0b101, 0b111, 0b101, 0b111)),
    (0b111, 0b101, 0b111, 0b001, 0b111),
)
"""Digits, five rows of three pixels each."""

Color = tuple[int, int, int]


def bar_chart(values: Sequence[float], labels: Sequence[int]) -> bytes:
    """One bar a value, with its number below it."""
    canvas = Canvas()
    floor = HEIGHT - MARGIN
    for line in range(5):
        canvas.fill(MARGIN, floor - line * (floor - MARGIN) // 4, WIDTH - 2 * MARGIN, 1, GREY)
    step = (WIDTH - 2 * MARGIN) // len(values)
    for index, (value, label) in enumerate(zip(values, labels, strict=True)):
        height = round((floor - MARGIN) * value / max(values))
        left = MARGIN + index * step + step // 6
        canvas.fill(left, floor - height, step * 2 // 3, height, TEAL)
        canvas.number(left + step // 4, floor + 10, label)
    return canvas.png()


class Canvas:
    """Rows of RGB pixels."""

    def __init__(self) -> None:
        self.rows = [bytearray(bytes(WHITE) * WIDTH) for _ in range(HEIGHT)]

    def fill(self, left: int, top: int, width: int, height: int, color: Color) -> None:
        """A rectangle."""
        for row in self.rows[top : top + height]:
            row[left * 3 : (left + width) * 3] = bytes(color) * width

    def number(self, left: int, top: int, number: int) -> None:
        """A whole number, in pixels of 2 by 2."""
        for place, digit in enumerate(str(number)):
            for y, bits in enumerate(GLYPHS[int(digit)]):
                for x in range(3):
                    if bits >> (2 - x) & 1:
                        self.fill(left + place * 8 + x * 2, top + y * 2, 2, 2, INK)

    def png(self) -> bytes:
        """The image file."""
        header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\0" + row for row in self.rows), 9)
        return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (header, pixels, b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
