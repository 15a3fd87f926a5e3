"""Where a browser may be sent with a code: what can be registered, and what matches it."""

import re
from urllib.parse import SplitResult, urlsplit

SERVICE_REDIRECTS = (
    "https://chatgpt.com/connector_platform_oauth_redirect",
    "https://claude.ai/api/mcp/auth_callback",
    "https://claude.com/api/mcp/auth_callback",
    "http://localhost:8787/callback",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "http://127.0.0.1:33418/",
    "https://vscode.dev/redirect",
)
"""What a service's own client accepts beside every redirect to the user's own computer."""

LONGEST = 2048
LONGEST_WEB = 2000
"""Characters of the address of a sign-in page, or of a provider."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_SCRIPTED = frozenset(
    [
        "about",
        "blob",
        "chrome",
        "data",
        "file",
        "filesystem",
        "ftp",
        "intent",
        "jar",
        "javascript",
        "mailto",
        "resource",
        "sms",
        "tel",
        "vbscript",
        "view-source",
        "ws",
        "wss",
    ]
)
"""Schemes that a browser acts on itself: none of them hands a code to an app."""


def problem(uri: str, what: str = "A redirect URI") -> str:
    """Why this URI cannot be registered, as a sentence; empty: it can."""
    parts = _split(uri)
    if parts is None:
        return f"{what} must be an absolute URI of at most 2048 characters, without a fragment."
    if parts.scheme in _SCRIPTED:
        return f"{what} must use https, a loopback address with http, or the scheme of an app."
    if "@" in parts.netloc:
        return f"{what} must not hold a user name or password."
    if parts.scheme in ("http", "https") and not _HOST.fullmatch(parts.netloc):
        return f"{what} must name a host."
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return f"{what} with http must point to localhost, 127.0.0.1 or [::1]; use https for every other host."
    return ""


def web_problem(uri: str, what: str) -> str:
    """Why this is no address that a browser may be sent to or a program may ask, as a sentence; empty: it is one."""
    if len(uri) > LONGEST_WEB:
        return f"{what} has at most {LONGEST_WEB} characters."
    parts = _split(uri)
    if parts is not None and parts.scheme not in ("http", "https"):
        return f"{what} must use https, or a loopback address with http."
    return problem(uri, what)


def is_loopback(uri: str) -> bool:
    """Whether the URI leads to a server on the user's own computer."""
    parts = _split(uri)
    return parts is not None and parts.scheme == "http" and not problem(uri)


def is_at_home(url: str) -> bool:
    """Whether its host is the user's own computer."""
    parts = _split(url)
    return parts is not None and parts.hostname in _LOOPBACK


def is_of_a_site(uri: str) -> bool:
    """Whether only the site in it can get what is sent there; on a device, any program might."""
    parts = _split(uri)
    return parts is not None and parts.scheme == "https" and not problem(uri)


def redirect_matches(registered: str, requested: str) -> bool:
    """Exact, except that the port of a loopback host is the client's choice (RFC 8252, section 7.3)."""
    if registered == requested:
        return True
    if not (is_loopback(registered) and is_loopback(requested)):
        return False
    one, other = urlsplit(registered), urlsplit(requested)
    return (one.hostname, one.path or "/", one.query) == (other.hostname, other.path or "/", other.query)


def destination(uri: str) -> str:
    """Where the URI leads, in words for the consent page."""
    parts = urlsplit(uri)
    if is_loopback(uri):
        return f"an app on this computer ({parts.netloc})"
    if parts.scheme == "https":
        return parts.netloc
    return f"the app that opens {parts.scheme}: links on this device"


def _split(uri: str) -> SplitResult | None:
    if len(uri) > LONGEST or not _URI.fullmatch(uri):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port  # only now is a port that is no number noticed
    except ValueError:
        return None
    return parts
