"""A web server of an app's maker, for documents that auth fetches."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CALLBACK = "http://127.0.0.1/callback"


@dataclass
class Site:
    """A web server of an app's maker; `answers` says what is where."""

    port: int
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    visits: list[str] = field(default_factory=list[str])

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def describe(self, path: str, *, headers: dict[str, str] | None = None, **changes: Any) -> str:
        """A document; returns the client id."""
        usual = {
            "client_id": self.url(path),
            "client_name": "An app of a site",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
        }
        document = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        self.answers[path] = (200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document))
        return self.url(path)


@contextmanager
def serving() -> Generator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.visits.append(self.path)
            answer = site.answers.get(self.path) or site.answers.get(self.path.partition("?")[0], (404, {}, ""))
            if callable(answer):
                answer(self)
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
