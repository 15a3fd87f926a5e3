"""The reverse proxy of docs/Caddyfile in front of a stack: Caddy, with certificates of its own."""

import os
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from isthmus.launcher.client import LocalStack
from servers import free_port, wait_for_port

CADDYFILE = Path(__file__).parents[1] / "docs" / "Caddyfile"
CADDY = Path(sysconfig.get_path("scripts")) / "caddyserver"


@dataclass
class Proxy:
    """A Caddy that serves one site; with https it redirects from `http_port`."""

    folder: Path
    site: str
    http_port: int = field(default_factory=free_port)

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to trust this proxy."""
        return ssl.create_default_context(cafile=self.folder / "caddy/pki/authorities/local/root.crt")


@contextmanager
def caddy(folder: Path, site: str, stack: LocalStack) -> Generator[Proxy]:
    """A Caddy in front of the stack, once it answers."""
    proxy = Proxy(folder, site)
    settings = {
        "SITE": site,
        "HTTP_PORT": str(proxy.http_port),
        "GATEWAY": urlsplit(stack.gateway_url).netloc,
        "AUTH": urlsplit(stack.auth_url).netloc,
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            [CADDY, "run", "--config", CADDYFILE], env={**os.environ, **settings}, stdout=log, stderr=log
        )
    try:
        wait_for_port(urlsplit(site).port or 0)
        _wait_for_certificate(proxy)
        yield proxy
    finally:
        process.terminate()
        process.wait(10)


def _wait_for_certificate(proxy: Proxy) -> None:
    """Caddy listens before it has signed its certificate."""
    if not proxy.site.startswith("https:"):
        return
    end = time.monotonic() + 10
    while True:
        try:
            httpx2.get(f"{proxy.site}/healthz", verify=proxy.trust).raise_for_status()
        except (OSError, httpx2.HTTPError):
            assert time.monotonic() < end, (proxy.folder / "caddy.log").read_text()
            time.sleep(0.05)
        else:
            return
