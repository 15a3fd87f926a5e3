"""The AI apps that people connect: how each is told of a service, and whether it has come."""

import base64
import time
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from sqlalchemy import select, true
from sqlalchemy.orm import Session

from isthmus_auth.mcp_services import Service
from isthmus_auth.models import Account, Authorization, AuthorizationCode, Client
from isthmus_auth.redirects import is_at_home

LATEST = 500
"""Authorizations that are looked at, the newest first."""


class App(msgspec.Struct, frozen=True):
    """An app, and what tells it from others: it comes from one of these hosts, or names itself so."""

    id: str
    name: str
    hosts: tuple[str, ...] = ()
    """Of redirect URIs, and of the document that describes the app."""
    names: tuple[str, ...] = ()
    """Beginnings of what it calls itself, in lower case."""
    redirects: tuple[str, ...] = ()
    """Beginnings of redirect URIs on the user's own computer."""
    hosted: bool = False
    """Whether it runs at its maker's, and so has to reach the endpoint from the internet."""


APPS = (
    App("chatgpt", "ChatGPT", ("chatgpt.com", "chat.openai.com"), ("chatgpt",), hosted=True),
    App("claude-code", "Claude Code", (), ("claude code",)),
    App("claude", "Claude", ("claude.ai", "claude.com"), ("claude",), hosted=True),
    App("cursor", "Cursor", ("cursor.com", "www.cursor.com"), ("cursor",), ("cursor:", "http://localhost:8787/")),
    App("vscode", "VS Code", ("vscode.dev",), ("visual studio code",), ("vscode:", "http://127.0.0.1:33418/")),
    App("inspector", "MCP Inspector", (), ("mcp inspector",), ("http://localhost:6274/", "http://127.0.0.1:6274/")),
    App("other", "Another app"),
)
"""The first that fits counts; what fits none is another app."""


class Connected(msgspec.Struct, frozen=True):
    """The last time that an app came."""

    name: str
    """What the app calls itself."""
    email: str
    """Of the person who let it in."""
    at: int
    """Seconds since the epoch."""


def app_of(client_id: str, name: str, redirect_uri: str) -> App:
    """Which app a client is, as far as it can be told from what it says of itself."""
    described = urlsplit(client_id).hostname or "" if client_id.startswith("https://") else ""
    local = is_at_home(redirect_uri)
    host = "" if local else urlsplit(redirect_uri).hostname or ""
    for app in APPS:
        fits = (
            host in app.hosts
            or (described in app.hosts and not local)
            or name.lower().startswith(app.names)
            or redirect_uri.startswith(app.redirects)
        )
        if fits:
            return app
    return APPS[-1]


def connected(session: Session, namespace: str) -> dict[str, Connected]:
    """The apps that hold tokens of a service, by their ids."""
    return connected_anywhere(session, namespace).get(namespace, {})


def connected_anywhere(session: Session, namespace: str = "") -> dict[str, dict[str, Connected]]:
    """The same by namespaces, for one service or for all of them."""
    of_service = Authorization.namespace == namespace if namespace else true()
    statement = (
        select(Authorization, Client.client_id, Client.name, AuthorizationCode.redirect_uri, Account.email)
        .join(Client, Authorization.client_id == Client.client_id)
        .join(Account, Authorization.account_id == Account.id)
        .join(AuthorizationCode, AuthorizationCode.sid == Authorization.sid)
        .where(
            of_service,
            Authorization.revoked_at.is_(None),
            Authorization.expires_at > int(time.time()),
            AuthorizationCode.used_at.is_not(None),
        )
        .order_by(Authorization.created_at.desc())
        .limit(LATEST)
    )
    found: dict[str, dict[str, Connected]] = {}
    for row, client_id, name, redirect_uri, email in session.execute(statement):
        apps = found.setdefault(row.namespace, {})
        apps.setdefault(app_of(client_id, name, redirect_uri).id, Connected(name, email or "", row.created_at))
    return found


def links(service: Service) -> dict[str, str]:
    """Where a click does it, or begins it, by the ids of the apps."""
    name, endpoint = short_name(service), service.mcp_endpoint
    cursor = base64.b64encode(msgspec.json.encode({"url": endpoint})).decode()
    vscode = msgspec.json.encode({"name": name, "type": "http", "url": endpoint}).decode()
    return {
        "chatgpt": "https://chatgpt.com/#settings/Connectors",
        "claude": "https://claude.ai/customize/connectors",
        "cursor": f"cursor://anysphere.cursor-deeplink/mcp/install?{urlencode({'name': name, 'config': cursor})}",
        "vscode": f"vscode:mcp/install?{quote(vscode, safe='')}",
        "inspector": f"http://localhost:6274/?{urlencode({'transport': 'streamable-http', 'serverUrl': endpoint})}",
    }


def short_name(service: Service) -> str:
    """What apps call it in their configuration."""
    return "isthmus" if service.is_default else service.namespace


def is_local(service: Service) -> bool:
    """Whether only programs on this computer reach it."""
    return is_at_home(service.mcp_endpoint)
