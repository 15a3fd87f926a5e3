"""The stores that a worker serves, from `[files.<name>]` of `isthmus.toml` and `ISTHMUS_FILES`."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from isthmus_file_worker.locations import BucketLocation, parse


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One store: a folder or a bucket."""

    path: str = ""
    """A local folder, such as `./reports`; a relative one begins where the worker was started."""
    url: str = ""
    """In place of `path`: `s3://bucket/optional/prefix?endpoint=https://s3.internal&region=eu-central-1`, where without
    an endpoint AWS is meant; or `file:///data/reports`."""
    access_key: str = ""
    secret_key: str = ""
    """The credentials of a bucket, best as `${S3_KEY}` and `${S3_SECRET}`; without them only a public one opens."""
    description: str = ""
    """What is in it; models choose a source by this."""
    title: str = ""
    access: Literal["read-only", "read-write"] = "read-only"
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    """Calls at a time."""

    def __post_init__(self) -> None:
        """Raises ValueError for what is not the place of a store."""
        if bool(self.path) == bool(self.url):
            raise ValueError("a store has either a `path` or a `url`")
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("`access_key` and `secret_key` go together")
        location = self.location
        if self.access_key and isinstance(location, Path):
            raise ValueError("a folder needs no `access_key`")

    @property
    def location(self) -> Path | BucketLocation:
        """Where the store is."""
        return parse(self.url) if self.url else Path(self.path).expanduser().absolute()
