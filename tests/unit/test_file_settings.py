"""Where stores are: folders and buckets, and what is refused."""

from pathlib import Path

import msgspec
import pytest

from isthmus_file_worker.locations import BucketLocation
from isthmus_file_worker.settings import StoreSettings


@pytest.mark.parametrize(
    ("settings", "location"),
    [
        ({"path": "/data/reports"}, Path("/data/reports")),
        ({"path": "reports"}, Path.cwd() / "reports"),
        ({"url": "file:///data/all%20reports"}, Path("/data/all reports")),
        ({"url": "s3://reports"}, BucketLocation("https://s3.amazonaws.com", None, "reports", "")),
        (
            {"url": "s3://reports/a/b/?endpoint=http://S3.internal:9000/", "access_key": "k", "secret_key": "s"},
            BucketLocation("http://s3.internal:9000", "us-east-1", "reports", "a/b/"),
        ),
        (
            {"url": "s3://reports?endpoint=https://s3.internal&region=eu-central-1"},
            BucketLocation("https://s3.internal", "eu-central-1", "reports", ""),
        ),
    ],
)
def test_a_store_is_a_folder_or_a_bucket(settings: dict[str, str], location: Path | BucketLocation) -> None:
    assert msgspec.convert(settings, StoreSettings).location == location


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "a store has either a `path` or a `url`"),
        ({"path": "x", "url": "s3://x"}, "a store has either a `path` or a `url`"),
        ({"url": "s3://reports", "access_key": "k"}, "`access_key` and `secret_key` go together"),
        ({"path": "x", "access_key": "k", "secret_key": "s"}, "a folder needs no `access_key`"),
        ({"url": "s3://key:secret@reports"}, "a `url` has no credentials in it"),
        ({"url": "s3://reports?endpoint=https://key:secret@y"}, "an `endpoint` has no credentials in it"),
        ({"url": "s3://r"}, "is written like s3://bucket/prefix"),
        ({"url": "s3:///x"}, "is written like s3://bucket/prefix"),
        ({"url": "s3://reports?endpoint=s3.internal"}, "an `endpoint` is written like https://s3.internal:9000"),
        ({"url": "s3://reports?endpoint=https://a/b"}, "an `endpoint` is written like https://s3.internal:9000"),
        ({"url": "s3://reports?endpont=https://a"}, "at most one `endpoint` and one `region`"),
        ({"url": "s3://reports?region=a&region=b"}, "at most one `endpoint` and one `region`"),
        ({"url": "s3://reports/../y"}, "the prefix in `url` is not valid"),
        ({"url": "file://host/data"}, "is written like file:///data/reports"),
        ({"url": "https://x/y"}, "a `url` begins with s3:// or file://"),
    ],
)
def test_what_is_no_place_of_a_store_is_refused_without_showing_secrets(
    settings: dict[str, str], sentence: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(settings, StoreSettings)
    assert sentence in str(caught.value)
    assert "key:secret" not in str(caught.value)
