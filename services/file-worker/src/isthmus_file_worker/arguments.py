"""What the arguments of all file tools have in common."""

import msgspec


class StoreArguments(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The store that a call is about."""

    store: str | None = None
    """The file store."""
