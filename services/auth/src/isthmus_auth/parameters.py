"""Parameters as browsers and OAuth clients send them: bounded, decoded strictly, repeated ones known."""

from typing import Self
from urllib.parse import parse_qsl, urlencode

import msgspec
from authlib.oauth2.rfc6749 import InvalidRequestError

LONGEST_QUERY = 16 * 1024
LONGEST_BODY = 64 * 1024
MOST_FIELDS = 64
FORM = "application/x-www-form-urlencoded"


class Parameters(msgspec.Struct, frozen=True):
    """Decoded parameters. One without a value counts as absent (RFC 6749, section 3.1)."""

    lists: dict[str, list[str]]

    @classmethod
    def parse(cls, raw: bytes, longest: int = LONGEST_QUERY, *, most: int = MOST_FIELDS, lines: bool = False) -> Self:
        """Reads `application/x-www-form-urlencoded` bytes; with `lines`, values may have several lines.

        Raises InvalidRequestError.
        """
        allowed = "\r\n\t" if lines else ""
        if len(raw) > longest:
            raise InvalidRequestError("The request is too long.")
        try:
            pairs = parse_qsl(raw.decode(), errors="strict", max_num_fields=most)
        except ValueError:
            raise InvalidRequestError("The request has too many parameters, or they are not valid UTF-8.") from None
        lists: dict[str, list[str]] = {}
        for name, value in pairs:
            if any((ord(c) < 0x20 and c not in allowed) or ord(c) == 0x7F for c in name + value):
                raise InvalidRequestError("A parameter holds control characters.")
            lists.setdefault(name, []).append(value)
        return cls(lists)

    @property
    def values(self) -> dict[str, str]:
        """The first value of each parameter."""
        return {name: values[0] for name, values in self.lists.items()}

    def repeated(self) -> set[str]:
        """The names of those that were sent more than once."""
        return {name for name, values in self.lists.items() if len(values) > 1}

    def get(self, name: str) -> str:
        """One value; empty if there is none."""
        return self.lists.get(name, [""])[0]

    def encode(self) -> str:
        """The same parameters, as a query."""
        return urlencode(self.lists, doseq=True)
