"""The whole product for the tests: `isthmus up` as a process, and a client that signs in as a person does."""

import base64
import json
import os
import signal
import ssl
import subprocess
import sysconfig
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from browser import Browser
from isthmus.launcher.state import Connection, DataFolder, Run, read
from servers import TLS

ISTHMUS = str(Path(sysconfig.get_path("scripts")) / "isthmus")
SECRET = "hunter2"
"""A password of a data source, which must never show anywhere."""

REDIRECT = "http://127.0.0.1:49152/callback"


@dataclass
class Stack:
    """A running `isthmus up`."""

    folder: DataFolder
    process: subprocess.Popen[bytes]
    connection: Connection
    started_in: float
    output: Path

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `isthmus` command on the same data folder."""
        options = ["--data-dir", str(self.folder.path)]
        return subprocess.run([ISTHMUS, *arguments, *options], capture_output=True, text=True, timeout=20, check=False)

    def children(self) -> list[int]:
        """The process ids of the services."""
        run = read(self.folder.run_file, Run)
        assert run is not None
        return [child.pid for child in run.children]

    def stop(self, number: int = signal.SIGINT) -> float:
        """Ends the launcher; the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(15)
        return time.monotonic() - began


def _connection(folder: DataFolder, launcher: int) -> Connection | None:
    """What this very launcher wrote, not one that was killed before."""
    run = read(folder.run_file, Run)
    return read(folder.connection_file, Connection) if run and run.launcher.pid == launcher else None


@contextmanager
def running_stack(folder: Path, *arguments: str, **settings: str) -> Generator[Stack]:
    """`isthmus up` until everything answers, with settings such as `ISTHMUS_CALL_TIMEOUT="3"`."""
    data = DataFolder(folder)
    output = folder.with_suffix(".out")
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [ISTHMUS, "up", "--data-dir", str(folder), *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder.parent,
            env={**environment, "COLUMNS": "140", **settings},
        )
    try:
        while (connection := _connection(data, process.pid)) is None:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() - began < 45, output.read_text()
            time.sleep(0.02)
        yield Stack(data, process, connection, time.monotonic() - began, output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(15)


@dataclass
class Storage:
    """A client's memory between two starts."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@dataclass
class Person:
    """Signs in and consents when a client asks for it."""

    connection: Connection
    storage: Storage = field(default_factory=Storage)
    scopes: list[str] | None = None
    """The scopes that are left checked on the consent page; None: all that were asked for."""
    asked: list[str] = field(default_factory=list[str])
    """The addresses that clients opened in the browser."""
    cookies: httpx2.Cookies | None = None
    """What the browser keeps: who is signed in types no password again."""
    tls: ssl.SSLContext = TLS
    """Which certificates the client and the browser trust."""
    sign_ins: int = 0
    consent: str = ""
    """The page that asked for consent."""
    answer: str = ""
    """Where the browser was sent at the end: the redirect with the code."""

    async def visit(self, url: str) -> None:
        """What happens in the browser that the client opens."""
        self.asked.append(url)
        async with Browser(self.connection.issuer, self.tls, self.cookies) as browser:
            await browser.open(url)
            if self.cookies is None:
                self.sign_ins += 1
                await browser.submit(email=self.connection.admin_email, password=self.connection.admin_password)
                self.cookies = browser.http.cookies
            self.consent = browser.page.text if browser.page is not None else ""
            only = None if self.scopes is None else {"scope": self.scopes}
            self.answer = await browser.submit(only=only, decision="allow")

    async def callback(self) -> AuthorizationCodeResult:
        """What the client's redirect page hears."""
        query = parse_qs(urlsplit(self.answer).query)
        return AuthorizationCodeResult(code=query["code"][0], state=query["state"][0], iss=query["iss"][0])

    def provider(self) -> OAuthClientProvider:
        """The SDK's own OAuth client."""
        metadata = OAuthClientMetadata(
            client_name="Test client",
            redirect_uris=[AnyUrl(REDIRECT)],
            grant_types=["authorization_code", "refresh_token"],
        )
        return OAuthClientProvider(
            self.connection.mcp_endpoint,
            metadata,
            self.storage,
            redirect_handler=self.visit,
            callback_handler=self.callback,
        )

    @asynccontextmanager
    async def client(self, mode: str = "auto") -> AsyncGenerator[Client]:
        """An MCP client that does the whole OAuth flow when it must."""
        async with httpx2.AsyncClient(auth=self.provider(), timeout=30, verify=self.tls) as http:
            transport = streamable_http_client(self.connection.mcp_endpoint, http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client


def claims(token: str) -> dict[str, object]:
    """The claims of a JWT, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
