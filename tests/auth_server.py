"""A real auth service for tests, and a browser and an OAuth client to use it with."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import msgspec
import uvicorn

from browser import Form
from isthmus_auth.__main__ import configured
from isthmus_auth.settings import AuthSettings
from servers import TLS, NatsServer, free_port, nats_server

EMAIL = "admin@example.com"
PASSWORD = "correct horse battery staple"
CLIENT_ID = "isthmus-test"
CLIENT_SECRET = "the-secret-of-the-service-client"
CLI_SECRET = "the-secret-of-the-command-line"
REDIRECT = "http://127.0.0.1:33418/"
VERIFIER = "v" * 43
NOWHERE = "nats://127.0.0.1:9"  # nothing listens there


def challenge(verifier: str = VERIFIER) -> str:
    """The S256 challenge of a PKCE verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Auth:
    """An auth service in a thread of the test's own process, with real HTTP."""

    folder: Path
    nats: NatsServer | None = None
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    """Settings other than the usual ones."""
    port: int = field(default_factory=free_port)
    browsers: ExitStack = field(default_factory=ExitStack)
    """Closed when the service stops."""
    browser: "Browser | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> str:
        return "http://127.0.0.1:7410"

    @property
    def database(self) -> Path:
        return self.folder / "auth.db"

    def settings(self) -> AuthSettings:
        bus = msgspec.structs.asdict(self.nats.settings("auth")) if self.nats else {"nats_url": NOWHERE}
        usual = {
            "port": self.port,
            "issuer": self.url,
            "gateway_url": self.gateway,
            "data_dir": str(self.folder),
            "admin_email": EMAIL,
            "admin_password": PASSWORD,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "client_roles": "everything",
            "cli_secret": CLI_SECRET,
        }
        return msgspec.convert({**usual, **bus, **self.changes}, AuthSettings)

    @contextmanager
    def running(self) -> Generator[None]:
        """Serves until the context ends."""
        server = uvicorn.Server(configured(self.settings()))
        thread = threading.Thread(target=server.run, name="auth", daemon=True)
        thread.start()
        try:
            end = time.monotonic() + 15
            while not server.started:
                assert thread.is_alive(), "auth did not start"
                assert time.monotonic() < end, "auth did not start in time"
                time.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            thread.join(10)
            self.browsers.close()
            self.browser = None

    def post(self, path: str, data: dict[str, str] | None = None, **options: Any) -> httpx2.Response:
        return self._send("POST", path, data=data, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self._send("GET", path, **options)

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """One request without cookies, as programs make it."""
        return httpx2.request(method, self.url + path, verify=TLS, **options)

    def token(self, data: dict[str, str], **options: Any) -> httpx2.Response:
        return self.post("/token", data, **options)

    def register(self, **metadata: Any) -> dict[str, Any]:
        """A client registered dynamically; public unless it says otherwise."""
        usual = {
            "redirect_uris": [REDIRECT],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "client_name": "Test app",
        }
        answer = self.post("/register", json={**usual, **metadata})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def request(self, **changes: str) -> dict[str, str]:
        """The parameters of a usual authorization request; an empty value takes one away."""
        usual = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT,
            "scope": "data:read data:write",
            "state": "the state & more",
            "code_challenge": challenge(),
            "code_challenge_method": "S256",
            "resource": f"{self.gateway}/mcp",
        }
        return {name: value for name, value in {**usual, **changes}.items() if value}

    def code(self, **changes: str) -> str:
        """A code for a usual request, after consent; the same browser stays signed in."""
        if self.browser is None:
            self.browser = Browser(self)
        return self.browser.allow(self.request(**changes))["code"]

    def exchange(self, code: str, **changes: str) -> httpx2.Response:
        """Code → tokens, as the service's own client."""
        usual = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        return self.token({name: value for name, value in {**usual, **changes}.items() if value})

    def refresh(self, refresh_token: str, **changes: str) -> httpx2.Response:
        """Refresh token → tokens, as the service's own client."""
        usual = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        return self.token({name: value for name, value in {**usual, **changes}.items() if value})


@contextmanager
def auth_with_bus(folder: Path, **changes: Any) -> Generator[Auth]:
    """An auth service and a nats-server, both running."""
    (folder / "nats").mkdir()
    with nats_server(folder / "nats") as nats:
        auth = Auth(folder / "auth", nats, changes)
        with auth.running():
            yield auth


class Browser:
    """Keeps cookies, follows redirects when told, fills in forms."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self.http = auth.browsers.enter_context(httpx2.Client(base_url=auth.url, verify=TLS))

    def get(self, path: str) -> httpx2.Response:
        """One page, after the redirects that stay on this server."""
        answer = self.http.get(path)
        while answer.is_redirect and answer.headers["location"].startswith("/"):
            answer = self.http.get(answer.headers["location"])
        return answer

    def submit(
        self,
        form: Form,
        fields: dict[str, str],
        boxes: list[tuple[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Sends a form with these fields filled in; without `boxes`, those ticked beforehand."""
        body = [*{**form.fields, **fields}.items(), *(form.boxes if boxes is None else boxes)]
        return self.http.post(
            form.action,
            content=urlencode(body),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": self.auth.url, **(headers or {})},
        )

    def sign_in(self, path: str = "/admin/") -> httpx2.Response:
        """Goes somewhere by way of the sign-in form, and returns the page there."""
        form = Form(self.get(path).text)
        assert form.action == "/sign-in"
        answer = self.submit(form, {"email": EMAIL, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return self.get(answer.headers["location"])

    def consent(self, request: dict[str, str]) -> Form:
        """The consent form for a request, after sign-in if needed."""
        path = f"/authorize?{urlencode(request)}"
        answer = self.get(path)
        if "/sign-in" in str(answer.url):
            answer = self.sign_in(path)
        assert answer.status_code == 200, answer.text
        return Form(answer.text)

    def decide(
        self, request: dict[str, str], decision: str, boxes: list[tuple[str, str]] | None = None
    ) -> dict[str, str]:
        """What the client gets in its redirect."""
        answer = self.submit(self.consent(request), {"decision": decision}, boxes)
        assert answer.status_code == 303, answer.text
        return answered(answer)

    def allow(self, request: dict[str, str]) -> dict[str, str]:
        return self.decide(request, "allow")


def answered(answer: httpx2.Response) -> dict[str, str]:
    """The parameters of the redirect to the client."""
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def asked_for(answer: httpx2.Response) -> list[str]:
    """Which parameters an answer's redirect carries."""
    return sorted(parse_qs(urlsplit(answer.headers["location"]).query))


def claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, unverified."""
    return _part(token, 1)


def header(token: str) -> dict[str, Any]:
    """The header of a JWT."""
    return _part(token, 0)


def random_verifier() -> str:
    return secrets.token_urlsafe(48)


def _part(token: str, number: int) -> dict[str, Any]:
    part = token.split(".")[number]
    return msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
