"""The stores that a worker serves, from `[files.<name>]` of `isthmus.toml` and `ISTHMUS_FILES`."""

from typing import Annotated, Literal

import msgspec


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One store."""

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """A local folder, such as `./reports`; a relative one begins where the worker was started."""
    description: str = ""
    """What is in it; models choose a source by this."""
    title: str = ""
    access: Literal["read-only", "read-write"] = "read-only"
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    """Calls at a time."""
