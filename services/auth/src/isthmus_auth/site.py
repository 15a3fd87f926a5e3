"""What every request handler needs."""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy.orm import Session, sessionmaker

from isthmus.origins import Origins
from isthmus_auth.attempts import Attempts, SignInAttempts
from isthmus_auth.client_documents import Documents
from isthmus_auth.client_keys import METHOD, ClientKeys, PrivateKeyJwt
from isthmus_auth.clients import basic_credentials
from isthmus_auth.device_flow import DeviceGrant
from isthmus_auth.exchange import ExchangeGrant
from isthmus_auth.flows import CodeGrant, OwnGrant, RefreshGrant, Requirements
from isthmus_auth.gateway_client import GatewayClient
from isthmus_auth.openid_client import Providers
from isthmus_auth.publisher import Publisher
from isthmus_auth.sealing import Sealing
from isthmus_auth.server import IsthmusServer
from isthmus_auth.signing import SigningKeys
from isthmus_auth.sources import Sources
from isthmus_auth.topology import Watch


@dataclass(frozen=True, slots=True)
class Site:
    """Opened once, in the app's lifespan."""

    origins: Origins
    sessions: sessionmaker[Session]
    keys: SigningKeys
    publisher: Publisher
    watch: Watch
    sources: Sources
    documents: Documents
    client_keys: ClientKeys
    sealing: Sealing
    gateway: GatewayClient
    providers: Providers = field(default_factory=Providers)
    attempts: SignInAttempts = field(default_factory=SignInAttempts)
    codes: Attempts = field(default_factory=Attempts)
    """Codes of devices and authenticator apps that were tried."""
    devices: Attempts = field(default_factory=lambda: Attempts(most=20, window=600))
    """Devices that asked for a code, by network."""
    registrations: Attempts = field(default_factory=lambda: Attempts(most=100, window=600))
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """How many passwords are hashed at a time: each takes a core and 64 MiB."""

    def server(self, session: Session) -> IsthmusServer:
        """The authorization server, for one request."""
        server = IsthmusServer(session, self.origins, self.keys)
        server.register_client_auth_method("client_secret_basic", basic_credentials)
        server.register_client_auth_method(METHOD, PrivateKeyJwt(session, self.origins.issuer))
        server.register_grant(CodeGrant, [Requirements()])
        for grant in (RefreshGrant, OwnGrant, DeviceGrant, ExchangeGrant):
            server.register_grant(grant)
        return server
