"""The caller's end of a call that no bus carries."""

import hmac
from dataclasses import dataclass, field

from isthmus.auditing import Written
from isthmus.messages import Frame


@dataclass
class Heard:
    """Keeps what a call says beside its answer."""

    frames: list[tuple[Frame, bytes]] = field(default_factory=list[tuple[Frame, bytes]])
    updates: list[str] = field(default_factory=list[str])
    offered: int = 0
    written: list[Written] = field(default_factory=list[Written])

    async def frame(self, frame: Frame, body: bytes) -> None:
        self.frames.append((frame, body))

    def sign(self, said: bytes) -> bytes:
        return hmac.digest(b"a secret", said, "sha256")

    async def updated(self, uri: str) -> None:
        self.updates.append(uri)

    async def offer_changed(self) -> None:
        self.offered += 1

    def wrote(self, written: Written) -> None:
        self.written.append(written)
