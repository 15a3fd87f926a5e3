"""What every request handler needs."""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy.orm import Session, sessionmaker

from isthmus.origins import Origins
from isthmus_auth.attempts import Attempts
from isthmus_auth.client_documents import Documents
from isthmus_auth.client_keys import ClientKeys
from isthmus_auth.flows import open_server
from isthmus_auth.publisher import Publisher
from isthmus_auth.server import IsthmusServer
from isthmus_auth.signing import SigningKeys
from isthmus_auth.sources import Sources


@dataclass(frozen=True, slots=True)
class Site:
    """Opened once, in the app's lifespan."""

    origins: Origins
    sessions: sessionmaker[Session]
    keys: SigningKeys
    publisher: Publisher
    sources: Sources
    documents: Documents
    client_keys: ClientKeys
    attempts: Attempts = field(default_factory=Attempts)
    registrations: Attempts = field(default_factory=lambda: Attempts(most=100, window=600))
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """How many passwords are hashed at a time: each takes a core and 64 MiB."""

    def server(self, session: Session) -> IsthmusServer:
        """The authorization server, for one request."""
        return open_server(session, self.origins, self.keys)
