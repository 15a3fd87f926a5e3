"""Headers on every answer: what browsers may do with a page, and who may read the protocol's endpoints."""

from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Set where a handler has not set its own."""

SCRIPTED = {"Content-Security-Policy": f"{POLICY}; script-src 'self'"}
"""Of the pages that ask for passkeys, which no browser does without a script."""

SHARED = frozenset(("/.well-known/oauth-authorization-server", "/jwks", "/register", "/revoke", "/token"))
"""Read by clients that run in a browser, from any origin. None of them looks at cookies."""

PROTOCOL = SHARED | {"/device_authorization", "/introspect"}
"""What programs read: errors are JSON here."""

PREFLIGHT = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, MCP-Protocol-Version"),
    (b"access-control-max-age", b"86400"),
]


def with_headers(app: ASGIApp) -> ASGIApp:
    """The app, with these headers on all it answers, errors included."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        shared = scope["path"] in SHARED

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
                if shared:
                    headers["Access-Control-Allow-Origin"] = "*"
            await send(message)

        if shared and scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await app(scope, receive, send_with_headers)

    return answer
