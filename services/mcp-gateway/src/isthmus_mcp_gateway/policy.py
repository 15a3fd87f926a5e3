"""What auth says about services, roles, users and tokens: a copy of the KV bucket, kept current by a watch."""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from nats.js.kv import KeyValue

from isthmus import policy
from isthmus.grants import Grant, Granted, matches_any
from isthmus.messages import Principal
from isthmus.policy import ApiKey, Consent, Revoked, Role, Service, StateKeys, User
from isthmus_mcp_gateway.tokens import Claims

logger = logging.getLogger("isthmus.policy")

S = TypeVar("S", bound=msgspec.Struct)

ARRIVES_WITHIN = 1.0
"""Seconds that a consent may take from auth to here."""

CACHED = 10_000
"""Callers' grants kept between two changes of the policy."""

_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "service": Service,
    "role": Role,
    "user": User,
    "consent": Consent,
    "revoked": Revoked,
    "key": ApiKey,
}


class Policy:
    """One copy of the bucket. Keys are the bucket's own."""

    def __init__(self) -> None:
        self.entries: dict[str, msgspec.Struct] = {}
        self.keys: KeySet | None = None
        self.state_keys: tuple[str, ...] = ()
        self.roles: dict[str, Role] = {}
        self._switches = False
        """Whether any role leaves tools out."""
        self._granted: dict[tuple[str, str, str, str, str], Granted] = {}

    def put(self, key: str, value: bytes | None) -> None:
        """One entry as it came from the bucket; None: it is gone. What cannot be read is left out and logged."""
        self._granted.clear()
        if value is None:
            self._set(key, None)
            return
        try:
            if key == policy.JWKS:
                self.keys = KeySet.import_key_set(msgspec.json.decode(value))
            elif key == policy.STATE_KEY:
                self.state_keys = msgspec.json.decode(value, type=StateKeys).keys
            elif (kind := _SECTIONS.get(key.partition(".")[0])) is not None:
                self._set(key, msgspec.json.decode(value, type=kind))
        except (msgspec.MsgspecError, JoseError, ValueError, TypeError):
            self._set(key, None)
            logger.exception("the policy entry %s cannot be read; it does not count", key)

    def _set(self, key: str, entry: msgspec.Struct | None) -> None:
        before = self.entries.pop(key, None)
        if entry is not None:
            self.entries[key] = entry
        if isinstance(entry, Role) or isinstance(before, Role):
            self.roles = {role.id: role for role in self.entries.values() if isinstance(role, Role)}
            self._switches = any(role.tools_off for role in self.roles.values())

    def _entry(self, kind: type[S], *parts: str) -> S | None:
        entry = self.entries.get(policy.key(*parts))
        return entry if isinstance(entry, kind) else None

    def service(self, namespace: str) -> Service | None:
        """The MCP service of a namespace; empty: the default service."""
        if namespace:
            return self._entry(Service, "service", namespace)
        return next((s for s in self.entries.values() if isinstance(s, Service) and s.default), None)

    def is_revoked(self, claims: Claims) -> bool:
        """Whether the token, its session, its user or its client was revoked after it was issued."""
        user = self._entry(User, "user", claims.sub)
        if user is not None and user.disabled:
            return True
        subjects = (("token", claims.jti), ("session", claims.sid), ("user", claims.sub), ("client", claims.client_id))
        return any(
            (revoked := self._entry(Revoked, "revoked", what, name)) is not None and claims.iat < revoked.before
            for what, name in subjects
            if name
        )

    def of_key(self, token: str, issuer: str, audience: str) -> Claims | None:
        """An API key as the claims of a token for this audience; None: it is none, or not any more."""
        found = self._entry(ApiKey, "key", hashlib.sha256(token.encode()).hexdigest())
        if found is None or found.expires_at <= time.time():
            return None
        return Claims(
            iss=issuer,
            sub=found.sub,
            client_id=found.id,
            aud=audience,
            exp=found.expires_at,
            iat=found.issued_at,
            jti=found.id,
            service=found.service,
            scope=found.scope,
            sid=found.id,
            by_key=True,
        )

    def knows(self, claims: Claims) -> bool:
        """Whether what the user shared with the token's client is here."""
        return not claims.sid or self._entry(Consent, "consent", claims.sid) is not None

    def principal(self, claims: Claims) -> Principal:
        """Who calls, as workers see it."""
        user = self._entry(User, "user", claims.sub)
        return Principal(claims.sub, claims.client_id, claims.service, user.attributes if user else {})

    def granted(self, claims: Claims, source: str, tool: str = "") -> Granted:
        """The caller's grants for a source, `<kind>.<source>`: by role, as far as service and consent share it. Roles
        may leave tools out; an empty tool is what is none, such as a resource."""
        cache_key = (claims.sub, claims.service, claims.sid, source, tool if self._switches else "")
        found = self._granted.get(cache_key)
        if found is None:
            if len(self._granted) >= CACHED:
                self._granted.clear()
            found = self._granted[cache_key] = Granted.of(self._grants(claims, source, tool))
        return found

    def calls_per_minute(self, claims: Claims) -> int:
        """How often the caller may call; 0: as often as they like."""
        rates = [role.calls_per_minute for role in self._roles(claims)]
        return max(rates) if rates and all(rates) else 0

    def _roles(self, claims: Claims) -> list[Role]:
        user, service = self._entry(User, "user", claims.sub), self.service(claims.service)
        return policy.counting(user, service, self.roles)

    def _grants(self, claims: Claims, source: str, tool: str) -> list[Grant]:
        service = self.service(claims.service)
        if service is None or not matches_any(service.sources, source):
            return []
        if claims.sid:
            consent = self._entry(Consent, "consent", claims.sid)
            if consent is None or not matches_any(consent.sources, source):
                return []
        return policy.grants_of(self._roles(claims), source, tool)


class PolicyWatch:
    """Keeps `current` equal to the bucket; after every reconnect a whole new copy takes the place of the old one."""

    def __init__(self, client: Client, on_change: Callable[[str], None]) -> None:
        """`on_change` gets the section that changed, or `""` for everything."""
        self.current = Policy()
        self.ready = asyncio.Event()
        self._client = client
        self._on_change = on_change
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to watch, or begins anew: a watch that outlived its connection may have missed changes."""
        self.stop()
        self._task = asyncio.create_task(self._watch())

    async def arrived(self, claims: Claims) -> None:
        """Waits a moment for a consent that is not here: a token may be quicker than the bus."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ARRIVES_WITHIN):
                while not self.current.knows(claims):
                    await self._news.wait()

    def _tell(self, section: str) -> None:
        self._on_change(section)
        self._news.set()
        self._news = asyncio.Event()

    def stop(self) -> None:
        """Ends the watch; `current` stays as it is."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                bucket = await self._client.jetstream(timeout=2).key_value(policy.BUCKET)
                await self._follow(bucket)
            except (NatsError, JetStreamError, TimeoutError) as error:
                logger.debug("no policy yet: %s", type(error).__name__)
            await asyncio.sleep(0.2)

    async def _follow(self, bucket: KeyValue) -> None:
        copy, replaying = Policy(), True
        watcher = await bucket.watchall()
        try:
            async for entry in watcher:  # None marks the end of the replay
                if entry is None:
                    replaying, self.current = False, copy
                    self._tell("")
                    self.ready.set()
                    continue
                deleted = entry.operation in ("DEL", "PURGE")
                copy.put(entry.key, None if deleted else entry.value)
                if not replaying:
                    self._tell(entry.key.partition(".")[0])
        finally:
            await watcher.stop()
