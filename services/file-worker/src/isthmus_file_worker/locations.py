"""Where a store is, from the URL in its configuration."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from isthmus.errors import InvalidArguments
from isthmus_file_worker import paths

AWS = "https://s3.amazonaws.com"

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")


@dataclass(frozen=True)
class BucketLocation:
    """A bucket, or the part of one that is below a prefix."""

    endpoint: str
    """An origin, such as `https://s3.internal:9000`."""
    region: str | None
    """None: it is asked for."""
    bucket: str
    prefix: str
    """Empty, or with a slash at its end."""

    @property
    def target(self) -> str:
        """A URL that names the place and no credentials."""
        return f"{self.endpoint}/{self.bucket}/{quote(self.prefix)}"


def parse(url: str) -> Path | BucketLocation:
    """Raises ValueError, without showing the URL, for one that names neither a folder nor a bucket."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError("a `url` has no credentials in it; use `access_key` and `secret_key`")
    match parts.scheme:
        case "s3":
            return _bucket(parts)
        case "file":
            if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query:
                raise ValueError("a `url` of a folder is written like file:///data/reports")
            return Path(unquote(parts.path))
        case _:
            raise ValueError("a `url` begins with s3:// or file://")


def _bucket(parts: SplitResult) -> BucketLocation:
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError("a `url` of a bucket is written like s3://bucket/prefix?endpoint=https://s3.internal")
    options = parse_qs(parts.query, keep_blank_values=True)
    for name, values in options.items():
        if name not in ("endpoint", "region") or len(values) > 1 or not values[0]:
            raise ValueError("a `url` of a bucket has at most one `endpoint` and one `region` after the question mark")
    try:
        prefix = paths.show(paths.parse(unquote(parts.path).removeprefix("/")))
    except InvalidArguments as error:
        raise ValueError(f"the prefix in `url` is not valid: {error.message.removesuffix('.')}") from None
    region = options["region"][0] if "region" in options else None
    endpoint = options["endpoint"][0] if "endpoint" in options else ""
    if endpoint and region is None:
        region = "us-east-1"  # what servers other than AWS's go by, or take for any
    return BucketLocation(_origin(endpoint or AWS), region, parts.netloc, f"{prefix}/" if prefix else "")


def _origin(endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.username or parts.password:
        raise ValueError("an `endpoint` has no credentials in it; use `access_key` and `secret_key`")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("an `endpoint` is written like https://s3.internal:9000")
    return f"{parts.scheme}://{parts.netloc.lower()}"
