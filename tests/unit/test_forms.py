"""Forms for users, from Structs."""

import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from isthmus.errors import ConfigurationError
from isthmus.forms import form_schema


class Size(enum.Enum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


class Order(msgspec.Struct, kw_only=True):
    """What can be asked for."""

    name: str
    """Who orders."""
    email: Annotated[str, msgspec.Meta(extra_json_schema={"format": "email"})] = ""
    pieces: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    weight: float = 0.5
    gift: bool = False
    paper: Literal["red", "blue"] = "red"
    size: Size
    ribbons: list[Literal["gold", "silver"]] = []
    sizes: list[Size] = []
    note: str | None = None
    wish: Literal["joy", "luck"] | None = None
    other_size: Size | None = None


def test_a_form_has_only_what_mcp_allows_in_one() -> None:
    assert form_schema(Order) == {
        "type": "object",
        "required": ["name", "size"],
        "properties": {
            "name": {"type": "string", "description": "Who orders."},
            "email": {"type": "string", "format": "email", "default": ""},
            "pieces": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
            "weight": {"type": "number", "default": 0.5},
            "gift": {"type": "boolean", "default": False},
            "paper": {"type": "string", "enum": ["blue", "red"], "default": "red"},
            "size": {"type": "string", "enum": ["large", "small"]},
            "ribbons": {"type": "array", "items": {"type": "string", "enum": ["gold", "silver"]}, "default": []},
            "sizes": {"type": "array", "items": {"type": "string", "enum": ["large", "small"]}, "default": []},
            "note": {"type": "string"},
            "wish": {"type": "string", "enum": ["joy", "luck"]},
            "other_size": {"type": "string", "enum": ["large", "small"]},
        },
    }


class Nested(msgspec.Struct):
    """An object in a form."""

    order: Order


class Free(msgspec.Struct):
    """A list of anything."""

    words: list[str]


class Either(msgspec.Struct):
    """Two types."""

    value: int | str


class Numbered(msgspec.Struct):
    """A choice of numbers."""

    value: Literal[1, 2]


class Anything(msgspec.Struct):
    """Nothing in particular."""

    value: Any


@pytest.mark.parametrize("kind", [Nested, Free, Either, Numbered, Anything])
def test_what_no_form_can_show_is_refused_when_the_form_is_made(kind: type[msgspec.Struct]) -> None:
    with pytest.raises(ConfigurationError, match=rf"{kind.__name__}\.\w+ is nothing that a form can ask for"):
        form_schema(kind)
