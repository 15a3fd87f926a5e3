"""An OpenID Connect provider that lies when it is told to."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

Claims = dict[str, Any]
CLIENT_ID = "isthmus"
CLIENT_SECRET = "a secret: with %+ signs"
JSON = {"Content-Type": "application/json"}


@dataclass
class OpenIdServer:
    """Every first part of a path is an issuer of its own; all have one key."""

    port: int
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is somewhere else than usual: status, headers and body by path, or a function."""
    described: dict[str, Claims] = field(default_factory=dict[str, Claims])
    """What issuers say of themselves otherwise."""
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    """The ID tokens that issuers give, by code or for every code."""
    visits: list[str] = field(default_factory=list[str])
    forms: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list[tuple[str, dict[str, list[str]]]])
    """The Authorization header and the form of each token request."""
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))

    def issuer(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def claims(self, name: str, **changes: Any) -> Claims:
        """Those of an ID token; None leaves one out."""
        now = int(time.time())
        usual = {
            "iss": self.issuer(name),
            "sub": "somebody",
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "email": f"{name}@example.com",
            "email_verified": True,
        }
        return {claim: value for claim, value in {**usual, **changes}.items() if value is not None}

    def signed(self, claims: Claims, header: Claims | None = None, key: ECKey | OctKey | None = None) -> str:
        header = {"alg": "ES256", "kid": "one", **(header or {})}
        return jwt.encode(header, claims, key or self.key, algorithms=[header["alg"]])

    def answer(self, path: str, code: str = "") -> tuple[int, dict[str, str], str]:
        """What an honest provider says there."""
        _, name, *rest = path.split("/")
        issuer = self.issuer(name)
        body: Claims
        match "/".join(rest):
            case ".well-known/openid-configuration":
                body = {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/auth",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/jwks",
                    **self.described.get(name, {}),
                }
            case "jwks":
                encryption = {"kty": "RSA", "use": "enc", "kid": "e", "n": "AQAB", "e": "AQAB"}
                strange = {"kty": "AKP", "kid": "pq", "pub": "AQAB"}
                body = {"keys": [encryption, strange, self.key.as_dict(private=False)]}
            case "token":
                token = self.tokens.get(code) or self.tokens[name]
                body = {"token_type": "Bearer", "access_token": "token-of-the-provider", "id_token": token}
            case _:
                return 404, {}, ""
        return 200, JSON, json.dumps(body)


@contextmanager
def openid_server() -> Generator[OpenIdServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self, code: str = "") -> None:
            provider.visits.append(self.path)
            answer = provider.answers.get(self.path) or provider.answer(self.path, code)
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode("latin-1"))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            provider.forms.append((self.headers.get("Authorization", ""), form))
            self.do_GET(form["code"][0])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = OpenIdServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
