"""Clients that describe themselves at an address of their own: Client ID Metadata Documents.

The client id is the URL of a JSON document (draft-ietf-oauth-client-id-metadata-document). It is fetched when somebody
who is signed in is to be asked about the client, and kept as a public client for as long as its server says.
"""

import asyncio
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from sqlalchemy.orm import Session, sessionmaker

from isthmus_auth.client_keys import METHOD, Jwks, checked
from isthmus_auth.clients import shown_name
from isthmus_auth.fetching import AT_A_TIME, Fetched, Unfetchable, fetch
from isthmus_auth.models import Client
from isthmus_auth.redirects import is_loopback, problem

LONGEST = 255
SHORTEST, LONGEST_KEPT, USUAL = 60, 24 * 3600, 3600
"""Seconds that a document is kept: at least, at most, and where its server says nothing."""
FAILED_FOR = 30.0
"""Seconds until one that could not be had is tried again."""
WAITS = 10.0
"""Seconds for a document, with the wait for its turn."""
REMEMBERED = 1000
"""Failures that are remembered."""

Word = Annotated[str, Meta(max_length=200)]
Uris = Annotated[list[Annotated[str, Meta(max_length=2048)]], Meta(min_length=1, max_length=20)]


class Document(msgspec.Struct, frozen=True):
    """What the document says, as far as it counts here; the members are those of RFC 7591."""

    client_id: str
    redirect_uris: Uris
    client_name: Word = ""
    token_endpoint_auth_method: Word | None = None
    token_endpoint_auth_methods_supported: tuple[Word, ...] = ()
    grant_types: tuple[Word, ...] = ("authorization_code",)
    response_types: tuple[Word, ...] = ("code",)
    client_secret: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    jwks: dict[str, Any] | None = None
    jwks_uri: Annotated[str, Meta(max_length=2048)] | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """How the client may prove who it is."""
        return self.token_endpoint_auth_methods_supported or (self.token_endpoint_auth_method or "none",)


class Documents:
    """Fetches the documents of clients, and remembers for a moment which could not be had."""

    def __init__(self, sessions: sessionmaker[Session], *, local: bool) -> None:
        """`local`: documents may be on this machine or in its network, and need no https there."""
        self._sessions = sessions
        self._local = local
        self._failed: dict[str, tuple[float, str]] = {}
        self._together = asyncio.Semaphore(AT_A_TIME)

    async def refresh(self, client_id: str) -> None:
        """Sees that the client of this id is known as it is now; does nothing for ids that are no URLs.

        Raises Unfetchable with a sentence for the person.
        """
        if not self.names(client_id) or await asyncio.to_thread(self._is_fresh, client_id):
            return
        until, why = self._failed.get(client_id, (0.0, ""))
        if until > time.monotonic():
            raise Unfetchable(why)
        try:
            fetched = await self._fetch(client_id)
            document = read(client_id, fetched.body, local=self._local)
            jwks = await self._keys(document)
            await asyncio.to_thread(self._keep, document, jwks, fetched.max_age)
        except Unfetchable as error:
            why = f"What {urlsplit(client_id).hostname} says of this app cannot be used: {error}."
            if len(self._failed) >= REMEMBERED:
                self._failed.clear()
            self._failed[client_id] = (time.monotonic() + FAILED_FOR, why)
            raise Unfetchable(why) from None

    async def _keys(self, document: Document) -> Jwks | None:
        has_keys = document.jwks is not None or document.jwks_uri is not None
        if METHOD not in document.methods or ("none" in document.methods and not has_keys):
            return None
        if document.jwks_uri is not None:
            keys = await self._fetch(document.jwks_uri)
            given = _decoded(keys.body)
        else:
            given = document.jwks
        try:
            return checked(given)
        except ValueError as error:
            raise Unfetchable(f"its keys are no good ({error})") from None

    async def _fetch(self, url: str) -> Fetched:
        try:
            async with asyncio.timeout(WAITS), self._together:
                return await fetch(url, local=self._local)
        except TimeoutError:
            raise Unfetchable("too many others are looked at right now") from None

    def names(self, client_id: str) -> bool:
        """Whether a client id is the URL of a document."""
        return is_document(client_id, local=self._local)

    def _is_fresh(self, client_id: str) -> bool:
        with self._sessions.begin() as session:
            client = session.get(Client, client_id)
            return client is not None and (client.fresh_until or 0) > time.time()

    def _keep(self, document: Document, jwks: Jwks | None, max_age: int | None) -> None:
        age = USUAL if max_age is None else min(max(max_age, SHORTEST), LONGEST_KEPT)
        with self._sessions.begin() as session:
            client = session.get(Client, document.client_id)
            if client is None:
                client = Client(client_id=document.client_id, secret_hash=None, namespace=None)
                session.add(client)
            client.public = "none" in document.methods
            client.jwks = jwks
            client.jwks_uri = document.jwks_uri if jwks else None
            client.name = shown_name(document.client_name, document.redirect_uris)
            client.grant_types = ["authorization_code", "refresh_token"]
            client.redirect_uris = list(dict.fromkeys(document.redirect_uris))
            client.fresh_until = int(time.time()) + age


def is_document(client_id: str, *, local: bool) -> bool:
    """Whether it is a URL that a document can be fetched from: https, with a path, and one spelling."""
    if len(client_id) > LONGEST or not client_id.isascii() or not client_id.isprintable() or " " in client_id:
        return False
    try:
        parts = urlsplit(client_id)
        port = parts.port
    except ValueError:
        return False
    secure = parts.scheme == "https" or (local and is_loopback(client_id))
    plain = not (parts.fragment or "#" in client_id or "@" in parts.netloc or "\\" in client_id)
    steps = parts.path.lower().replace("%2e", ".").split("/")
    there = bool(parts.hostname) and port != 0 and parts.path not in ("", "/")
    return secure and plain and there and not {".", ".."} & {*steps}


def read(client_id: str, body: bytes, *, local: bool = False) -> Document:
    """The document, checked. Raises Unfetchable."""
    try:
        document = msgspec.json.decode(body, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unfetchable("it does not describe a client") from None
    if document.client_id != client_id:
        raise Unfetchable("it describes another client")
    if document.client_secret is not msgspec.UNSET:
        raise Unfetchable("it holds a secret, which such a client cannot have")
    if not {"none", METHOD} & {*document.methods}:
        raise Unfetchable(f"it allows neither of the methods none and {METHOD}, the only ones here for such clients")
    if document.jwks_uri is not None and not document.jwks_uri.startswith("https://") and not local:
        raise Unfetchable("its jwks_uri is not https")
    if "authorization_code" not in document.grant_types or "code" not in document.response_types:
        raise Unfetchable("it does not use authorization codes")
    if wrong := [said for uri in document.redirect_uris if (said := problem(uri))]:
        raise Unfetchable(f"it names an address that is no good ({wrong[0].removesuffix('.')})")
    return document


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unfetchable("its keys are no JSON") from None
