"""Values of tables as JSON: dates as ISO 8601, decimals and large integers as text, bytes as base64."""

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import cast

from isthmus_file_worker.readers.messages import JsonValue

EXACT = 2**53
"""Integers from here on are text: most readers of JSON take numbers for doubles."""


def json_value(value: object) -> JsonValue:
    """The value, and what is in it."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -EXACT < value < EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta() | Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [json_value(item) for item in cast("list[object]", value)]
        case Mapping():
            return {str(name): json_value(item) for name, item in cast("Mapping[object, object]", value).items()}
        case _:
            return str(value)
