"""The few requests of S3 that a store is made of, on the MinIO SDK; nothing else knows of that SDK."""

import logging
import secrets
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import cast
from urllib.parse import quote
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.datatypes import parse_list_objects
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from minio.time import from_http_header
from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from isthmus.errors import Conflict, NotAllowed, NotFound, SourceUnavailable, ToolError
from isthmus_file_worker.locations import BucketLocation
from isthmus_file_worker.paths import ASIDE
from isthmus_file_worker.store import Status

logger = logging.getLogger("isthmus.files")

CONNECT = 2.0
"""Seconds for a connection."""
ANSWER = 30.0
"""Seconds without a byte, at most; less where the call has less time left."""
PAGE = 1000
"""Entries in one answer to a listing."""

_META = "x-amz-meta-"
_ABSENT = ("NoSuchKey", "NotFound")
_CREDENTIALS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
)
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "OperationAborted")
_DENIED = ("AccessDenied", "AllAccessDisabled", "AccountProblem")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLarge")
_BUSY = ("SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "RequestTimeout", "TooManyRequests")


Condition = Mapping[str, str]
"""Of a write, as headers (RFC 9110, section 13)."""

NEW: Condition = {"If-None-Match": "*"}
"""Only where there is nothing."""


def same(etag: str) -> Condition:
    """Only in place of that."""
    return {"If-Match": f'"{etag}"'}


@dataclass(frozen=True)
class Item:
    """What a listing shows: an object, or where keys are cut at slashes, what some of them begin with."""

    key: str
    status: Status


@dataclass(frozen=True)
class Page:
    """Part of a listing."""

    items: list[Item]
    token: str
    """Of the next page; empty: there is none."""


@dataclass(frozen=True)
class Piece:
    """Some bytes of an object, with what is true of the whole."""

    data: bytes
    size: int
    """Of the whole object."""
    modified: datetime | None
    etag: str


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that this machine trusts: read once for all buckets, because it takes 30 ms."""
    return ssl.create_default_context()


class Pool(PoolManager):
    """Connections that wait no longer than the call has time."""

    def __init__(self, size: int) -> None:
        """`size`: threads that use it at a time."""
        super().__init__(
            maxsize=size,
            ssl_context=_trusted(),
            retries=Retry(
                total=1,
                connect=0,
                read=0,
                other=0,
                status_forcelist=(502, 503, 504),
                allowed_methods=("GET", "HEAD"),
                raise_on_status=False,
            ),
        )
        self._call = threading.local()

    def limit(self, left: Callable[[], float]) -> None:
        """Says how many seconds the requests of this thread have at any moment."""
        self._call.left = left

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: object) -> BaseHTTPResponse:
        left = cast("Callable[[], float]", self._call.left)()
        options["timeout"] = Timeout(connect=min(CONNECT, left), read=min(ANSWER, left))
        response = super().urlopen(method, url, redirect=False, **options)  # pyright: ignore[reportArgumentType]
        if response.headers.get("content-type", "").startswith("text/xml"):  # as some say it; the SDK knows one name
            response.headers["content-type"] = "application/xml"
        return response


class Client(Minio):
    """The requests, for one bucket. Each raises ToolErrors that say `path`, what the caller calls the place."""

    def __init__(self, name: str, location: BucketLocation, access_key: str, secret_key: str, connections: int) -> None:
        scheme, _, host = location.endpoint.partition("://")
        self.name = name
        self.pool = Pool(connections)
        self._bucket = location.bucket
        self._prefix = location.prefix
        self._conditional: bool | None = None
        super().__init__(
            host,
            access_key or None,
            secret_key or None,
            secure=scheme == "https",
            region=location.region,
            http_client=self.pool,
        )

    def page(self, prefix: str, after: str, token: str, path: str, *, cut: bool, size: int = PAGE) -> Page:
        """One answer to a listing of the keys that begin with `prefix`, in order; with `cut` up to the next slash."""
        query = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(size),
            "prefix": prefix,
            "delimiter": "/" if cut else "",
        }
        if token:
            query["continuation-token"] = token
        elif after:
            query["start-after"] = after
        with self.explained(path):
            response = self._execute("GET", self._bucket, query_params=dict(query))
            objects, more, following, _ = parse_list_objects(response)
        items = [
            Item(o.object_name or "", Status("file", o.size or 0, _to_second(o.last_modified), o.etag or ""))
            for o in objects
        ]
        # Objects come first and cut keys after them, each in order.
        items.sort(key=lambda item: item.key)
        return Page(items, following or "" if more else "")

    def head(self, key: str, path: str) -> Item:
        """What is known of one object. Raises NotFound."""
        with self.explained(path):
            try:
                found = self.stat_object(self._bucket, key)
            except S3Error as error:
                if _code(error) not in _ABSENT:  # the answer to HEAD has no reason in it; that to a listing has
                    self._execute("GET", self._bucket, query_params={"list-type": "2", "max-keys": "1", "prefix": key})
                raise
        headers = found.metadata or {}
        return Item(
            key,
            Status(
                "file",
                found.size or 0,
                _to_second(found.last_modified),
                found.etag or "",
                found.version_id or "",
                found.content_type or "",
                {
                    name.lower().removeprefix(_META): value
                    for name, value in headers.items()
                    if name.lower().startswith(_META)
                },
            ),
        )

    def piece(self, key: str, path: str, offset: int, size: int, etag: str = "") -> Piece | None:
        """Up to `size` bytes from `offset`, None after the end; with `etag`, of that version alone."""
        headers: dict[str, str | list[str] | tuple[str]] = {"Range": f"bytes={offset}-{offset + size - 1}"}
        if etag:
            headers |= same(etag)
        with self.explained(path):
            try:
                response = self._execute("GET", self._bucket, key, headers=headers, preload_content=False)
            except MinioException as error:
                if _code(error) == "InvalidRange":
                    return None
                raise
            try:
                whole = response.headers.get("content-range", "").rpartition("/")[2]
                if not whole.isdecimal() and offset:
                    raise ServerError("the endpoint ignores Range", response.status)
                data = response.read(size, decode_content=False)
                total = int(whole) if whole.isdecimal() else int(response.headers.get("content-length", "0"))
                modified = response.headers.get("last-modified")
                return Piece(
                    data,
                    total,
                    _to_second(from_http_header(modified)) if modified else None,
                    response.headers.get("etag", "").strip('"'),
                )
            finally:
                # What is left of an answer without a range is not worth waiting for.
                response.close()
                response.release_conn()

    @property
    def conditional(self) -> bool:
        """Whether the endpoint honours conditions of writes; found out once, with an object that is not there.

        Where that object may not be written, the endpoint is taken for one that does not.
        """
        if self._conditional is None:
            key = f"{self._prefix}{ASIDE}{secrets.token_hex(8)}"
            with self.explained("", writing=True):
                try:
                    self._put(key, b"", same("0" * 32))
                except MinioException as error:
                    if _code(error) not in (*_ABSENT, *_CHANGED, *_DENIED, "NotImplemented"):
                        raise
                    self._conditional = _code(error) in (*_ABSENT, *_CHANGED)
                else:
                    self._conditional = False
                    with suppress(NotAllowed):  # then it stays, and nobody sees it
                        self.delete([key], "")
        return self._conditional

    def put(self, key: str, path: str, data: bytes, condition: Condition) -> str:
        """Writes an object, whole or not at all, and returns its etag.

        Raises Conflict where the condition does not hold, if the endpoint knows conditional writes; one that ignores
        it writes, and one that refuses it is asked again without.
        """
        with self.explained(path, writing=True):
            try:
                return self._put(key, data, condition)
            except MinioException as error:
                if not condition or _code(error) != "NotImplemented":
                    raise
                return self._put(key, data, {})

    def copy(self, key: str, to: str, path: str, etag: str) -> None:
        """Copies an object, of that version alone if there is an etag, to where nothing is."""
        headers = {"x-amz-copy-source": quote(f"/{self._bucket}/{key}")}
        if etag:
            headers["x-amz-copy-source-if-match"] = f'"{etag}"'
        with self.explained(path, writing=True):
            try:
                response = self._execute("PUT", self._bucket, to, headers={**headers, **NEW})
            except MinioException as error:
                if _code(error) != "NotImplemented":
                    raise
                response = self._execute("PUT", self._bucket, to, headers={**headers})
            if b"CopyObjectResult" not in response.data:  # S3 may begin to answer before it knows
                raise ServerError("the copy failed after it was begun", response.status)

    def link(self, key: str, seconds: int) -> str:
        """A URL with which anybody may fetch the object for that long."""
        with self.explained(key):
            return self.presigned_get_object(self._bucket, key, timedelta(seconds=seconds))

    def _put(self, key: str, data: bytes, condition: Condition) -> str:
        headers: dict[str, str | list[str] | tuple[str]] = {"Content-Type": "application/octet-stream", **condition}
        response = self._execute("PUT", self._bucket, key, body=data, headers=headers)
        return response.headers.get("etag", "").strip('"')

    def delete(self, keys: list[str], path: str) -> None:
        """Deletes up to a thousand objects; those that are not there do not matter.

        The keys are in the body: in the path of a URL, `..` in one of them could lead to another object.
        """
        with self.explained(path, writing=True):
            for error in self.remove_objects(self._bucket, [DeleteObject(key) for key in keys]):
                raise _refusal(self.name, error.code or "", path)

    @contextmanager
    def explained(self, path: str, *, writing: bool = False) -> Generator[None]:
        """Says in a sentence what S3 says in XML, and logs the rest."""
        try:
            yield
        except MinioException as error:
            code = _code(error)
            if code not in (*_ABSENT, *_CHANGED):
                logger.warning("%s: %s: %s: %.500s", self.name, path, code, error)
            raise _refusal(self.name, code, path) from None
        except HTTPError as error:
            logger.warning("%s: %s: %.500s", self.name, path, error)
            raise self._unreachable(error, path, writing=writing) from None
        except (ParseError, ValueError) as error:
            logger.warning("%s: %s: the answer cannot be read: %.500s", self.name, path, error)
            raise _refusal(self.name, "", path) from None

    def _unreachable(self, error: HTTPError, path: str, *, writing: bool) -> ToolError:
        reason = getattr(error, "reason", error)
        if isinstance(reason, (NewConnectionError, ConnectTimeoutError)):
            return SourceUnavailable(f"The store {self.name} cannot be reached at the moment.")
        late = "did not answer in time" if isinstance(reason, ReadTimeoutError) else "broke off its answer"
        if writing:
            return SourceUnavailable(
                f"The store {self.name} {late}, so the change of {path} may have been made or not; look before you try "
                "again."
            )
        return SourceUnavailable(f"The store {self.name} {late}; try again later.")


def _code(error: MinioException) -> str:
    if isinstance(error, S3Error):
        return error.code or ""
    if isinstance(error, ServerError):
        return {412: "PreconditionFailed", 501: "NotImplemented", 503: "ServiceUnavailable"}.get(error.status_code, "")
    return "an answer that is not XML" if isinstance(error, InvalidResponseError) else ""


def _refusal(name: str, code: str, path: str) -> ToolError:
    if code in _ABSENT:
        return NotFound(f"There is no {path}.")
    if code == "NoSuchBucket":
        return SourceUnavailable(f"The bucket of the store {name} does not exist at the moment.")
    if code in _CREDENTIALS:
        return SourceUnavailable(f"The store {name} does not accept the credentials of its worker.")
    if code in _DENIED:
        return NotAllowed(f"The store {name} does not give its worker that access to {path or 'its root'}.")
    if code in _CHANGED:
        return Conflict(f"{path} was changed by another at the same moment; look at it again.")
    if code in _FULL:
        return SourceUnavailable(f"The store {name} has no room left for {path}.")
    if code in _BUSY:
        return SourceUnavailable(f"The store {name} has too much to do at the moment; try again later.")
    return SourceUnavailable(f"The store {name} could not do that; its worker's log has the reason.")


def _to_second(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(microsecond=0)
