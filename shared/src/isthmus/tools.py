"""What a worker is made of: sources, tool functions, and the call that a tool function gets."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from isthmus import definitions, subjects
from isthmus.advertising import Advertisement, fingerprint
from isthmus.definitions import Definition, DefinitionSet
from isthmus.errors import ConfigurationError
from isthmus.grants import Granted
from isthmus.messages import Content, Principal

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True)
class Source(Generic[T]):
    """Something that tools work on, by name."""

    name: str
    handle: T
    """What the tool functions get as `call.source.handle`."""
    engine: str = field(kw_only=True)
    target: str = field(kw_only=True)
    """A URL without credentials: workers that serve one name must have one target."""
    title: str = field(default="", kw_only=True)
    description: str = field(default="", kw_only=True)
    writable: bool = field(default=False, kw_only=True)
    """Without it the source has only those tools that read."""
    limit: int = field(default=16, kw_only=True)
    """Calls at a time."""
    close: Callable[[], None] = field(default=lambda: None, kw_only=True)
    """Gives up what the handle holds, once the last call has ended; it may block."""

    def __post_init__(self) -> None:
        if not subjects.is_name(self.name):
            raise ConfigurationError(
                f"{self.name!r} cannot be the name of a source: use lower-case letters, digits and underscores, "
                "a letter first."
            )


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call, as a tool function sees it."""

    id: str
    principal: Principal
    source: Source[T]
    granted: Granted
    """What the caller may do on the source."""
    seconds: float
    """How long the caller waits, from now on; the kit stops the function then."""
    progress: Callable[[float, float | None, str | None], Awaitable[None]]
    """Tells the caller how far the work is: done, total, message."""
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The seconds of it that are left: what the function waits for should not be given more."""
        return self.began + self.seconds - time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Result(Generic[R]):
    """An answer whose content is not just the text of its structured part: an image, several parts."""

    structured: R
    content: tuple[Content, ...]


@dataclass(frozen=True)
class Tool(Generic[T]):
    """A tool function with its definition."""

    definition: Definition
    arguments: type[msgspec.Struct]
    run: Callable[[Call[T], Any], Awaitable[object]]
    """The second argument is an instance of `arguments`."""


@dataclass(frozen=True)
class Toolbox(Generic[T]):
    """All that a worker offers."""

    kind: str
    argument: str
    """The argument that names a source, such as `database`."""
    version: str
    tools: dict[str, Tool[T]] = field(default_factory=dict[str, Tool[T]])
    sources: dict[str, Source[T]] = field(default_factory=dict[str, Source[T]])

    @property
    def service(self) -> str:
        """The name on the bus, as `nats micro ls` shows it."""
        return f"{self.kind}-worker"

    def tools_of(self, source: Source[T]) -> dict[str, Tool[T]]:
        """The tools that the source has, by name."""
        return {
            name: tool
            for name, tool in sorted(self.tools.items())
            if source.writable or tool.definition.annotations.read_only_hint
        }

    def definitions_of(self, source: Source[T]) -> bytes:
        """The set of definitions that the source is advertised with, encoded."""
        tools = tuple(tool.definition for tool in self.tools_of(source).values())
        return msgspec.json.encode(DefinitionSet(self.version, tools))

    def advertisement(self, source: Source[T], key: str) -> Advertisement:
        """How the source shows on the bus; `key` is the secret of its fingerprint."""
        return Advertisement(
            kind=self.kind,
            engine=source.engine,
            title=source.title or source.name.replace("_", " ").capitalize(),
            description=source.description,
            fingerprint=fingerprint(source.target, key),
            definitions=definitions.digest(self.definitions_of(source)),
            access="read-write" if source.writable else "read-only",
        )
