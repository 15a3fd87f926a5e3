"""The stores that a worker serves, from `[files.<name>]` of `isthmus.toml` and `ISTHMUS_FILES`."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from isthmus.plans import Writes
from isthmus_file_worker.locations import BucketLocation, parse


class FileSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the file worker takes from the environment beside what every worker does."""

    data_dir: str = ""
    """The worker's own folder, for the indexes of stores with `index = true`."""


LONGEST = 7 * 24 * 3600
"""Seconds that a presigned URL of S3 may hold."""


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
    writes: Writes = "direct"
    """How files are changed: at once; only with the plan of a preview; or after the user agreed."""
    share_seconds: Annotated[int, msgspec.Meta(ge=0, le=LONGEST)] = 0
    """How long links to files of a bucket may hold that share_file makes for people without an account; 0: none are
    made."""
    index: bool = False
    """Whether search_files has an index of what is in the files, in ISTHMUS_DATA_DIR on the worker's disk."""
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
        if self.share_seconds and isinstance(location, Path):
            raise ValueError("only files of buckets have links, so `share_seconds` does not go with a folder")

    @property
    def location(self) -> Path | BucketLocation:
        """Where the store is."""
        return parse(self.url) if self.url else Path(self.path).expanduser().absolute()
