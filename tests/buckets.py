"""Real S3 endpoints for the tests, each on a free port, gone when its context ends.

rclone checks signatures, ignores conditions and keeps no markers of folders; moto honours conditions, keeps markers
and believes any signature.
"""

import io
import itertools
import secrets
import subprocess
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from minio import Minio

from isthmus_file_worker.settings import StoreSettings
from servers import free_port, wait_for_port

_numbers = itertools.count()


@dataclass
class Endpoint:
    """A running S3 endpoint."""

    port: int = field(default_factory=free_port)
    access_key: str = field(default_factory=lambda: "k" + secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bucket(self, prefix: str = "") -> "BucketPlace":
        """A bucket of its own for a test."""
        client = Minio(f"127.0.0.1:{self.port}", self.access_key, self.secret_key, secure=False, region="us-east-1")
        name = f"bucket-{next(_numbers)}"
        client.make_bucket(name)
        return BucketPlace(self, client, name, prefix)


@dataclass
class BucketPlace:
    """A bucket, or the part of it below a prefix such as `some/where/`, as it looks without Isthmus."""

    endpoint: Endpoint
    client: Minio
    bucket: str
    prefix: str = ""

    @property
    def settings(self) -> StoreSettings:
        """Of a writable store over it."""
        return StoreSettings(
            url=f"s3://{self.bucket}/{self.prefix}?endpoint={self.endpoint.url}",
            access_key=self.endpoint.access_key,
            secret_key=self.endpoint.secret_key,
            access="read-write",
        )

    def fill(self, files: dict[str, bytes | str]) -> None:
        """Puts these objects; one whose key ends with a slash is a marker."""
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            self.client.put_object(self.bucket, self.prefix + name, io.BytesIO(data), len(data))

    def delete(self, path: str) -> None:
        self.client.remove_object(self.bucket, self.prefix + path)

    def paths(self) -> list[str]:
        """The keys of all objects, markers with the slash at their end."""
        found = self.client.list_objects(self.bucket, self.prefix, recursive=True)
        return [(item.object_name or "").removeprefix(self.prefix) for item in found]

    def tree(self) -> dict[str, bytes | None]:
        """Path → bytes; None for a folder, which is there with a marker or what is in it."""
        tree: dict[str, bytes | None] = {}
        for key in self.paths():
            tree |= {str(folder): None for folder in Path(key).parents if folder.name}
            if key.endswith("/"):
                tree[key.rstrip("/")] = None
            else:
                response = self.client.get_object(self.bucket, self.prefix + key)
                tree[key] = response.read()
                response.close()
        return tree


@contextmanager
def rclone_server(folder: Path) -> Generator[Endpoint]:
    """`rclone serve s3` over a folder."""
    endpoint = Endpoint()
    program = Path(sysconfig.get_path("scripts")) / "rclone"
    options = ["--addr", f"127.0.0.1:{endpoint.port}", "--auth-key", f"{endpoint.access_key},{endpoint.secret_key}"]
    with _running([str(program), "serve", "s3", str(folder), *options, "--config", str(folder / ".conf")], endpoint):
        yield endpoint


@contextmanager
def moto_server() -> Generator[Endpoint]:
    """moto as a server, everything in its memory."""
    endpoint = Endpoint()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(endpoint.port)], endpoint):
        yield endpoint


@contextmanager
def _running(command: list[str], endpoint: Endpoint) -> Generator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(endpoint.port)
            yield
        finally:
            process.terminate()
            process.wait(10)
