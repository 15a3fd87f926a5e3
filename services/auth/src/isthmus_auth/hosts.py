"""The names that auth answers to: those of its origins, and loopback. No other may lead here (DNS rebinding)."""

from urllib.parse import urlsplit

from litestar.types import ASGIApp, Receive, Scope, Send

from isthmus.origins import Origins

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
"""No foreign page has such a name; health checks and the launcher do."""

SENTENCE = b"This server is not known by that name. Use the address that Isthmus shows at its start.\n"


def with_known_hosts(app: ASGIApp, origins: Origins) -> ASGIApp:
    """The app, for requests whose Host is a known name, on whatever port; all others are misdirected (421)."""
    known = LOOPBACK | {urlsplit(origin).hostname for origin in (origins.issuer, origins.gateway)}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _name(scope) not in known:
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(SENTENCE)).encode())]
            await send({"type": "http.response.start", "status": 421, "headers": headers})
            await send({"type": "http.response.body", "body": SENTENCE, "more_body": False})
            return
        await app(scope, receive, send)

    return answer


def _name(scope: Scope) -> str | None:
    """The host of the Host header, without its port; None: there is none, or it is none."""
    hosts = [value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"host"]
    try:
        return urlsplit(f"//{hosts[0]}").hostname if len(hosts) == 1 else None
    except ValueError:
        return None
