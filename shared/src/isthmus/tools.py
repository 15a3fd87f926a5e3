"""What a worker is made of: sources, the functions that work on them, and the call that such a function gets."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from isthmus import definitions, subjects
from isthmus.advertising import Advertisement, fingerprint
from isthmus.asking import A, Conversation, Question, S, form
from isthmus.auditing import Written
from isthmus.definitions import Definition, DefinitionSet, PromptDefinition, ResourceDefinition, ToolDefinition
from isthmus.errors import ConfigurationError
from isthmus.grants import Granted
from isthmus.messages import ClientCan, Frame, Log, LogLevel, Principal, Progress
from isthmus.results import Content

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)
D = TypeVar("D", bound=Definition)

Updated = Callable[[str], Awaitable[None]]
"""Tells the clients that follow a resource, by its URI, that it changed."""


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
    tools: "Mapping[str, Tool[T]]" = field(default_factory=dict[str, "Tool[T]"], kw_only=True)
    """Those that this source alone has, by name, beside the worker's."""
    background: "Callable[[Updated], Awaitable[None]] | None" = field(default=None, kw_only=True)
    """What goes on beside the calls, from when the source is served until it is not; it is cancelled then."""
    close: Callable[[], None] = field(default=lambda: None, kw_only=True)
    """Gives up what the handle holds, once the last call has ended; it may block."""

    def __post_init__(self) -> None:
        if not subjects.is_name(self.name):
            raise ConfigurationError(
                f"{self.name!r} cannot be the name of a source: use lower-case letters, digits and underscores, "
                "a letter first."
            )


class Wire(Protocol):
    """What a call can say beside its answer."""

    async def frame(self, frame: Frame, body: bytes) -> None:
        """To the caller."""
        ...

    def sign(self, said: bytes) -> bytes:
        """HMAC-SHA256 with a secret of the workers."""
        ...

    async def updated(self, uri: str) -> None:
        """To every gateway."""
        ...

    async def offer_changed(self) -> None:
        """To every gateway."""
        ...

    def wrote(self, written: Written) -> None:
        """To the audit trail, with the answer."""
        ...


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call, as a function of the worker sees it."""

    id: str
    principal: Principal
    source: Source[T]
    granted: Granted
    """What the caller may do on the source."""
    seconds: float
    """How long the caller waits, from now on; the kit stops the function then."""
    wire: Wire
    conversation: Conversation = field(default_factory=Conversation)
    uri: str = ""
    """The resource that is read."""
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """The seconds of it that are left: what the function waits for should not be given more."""
        return self.began + self.seconds - time.monotonic()

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tells the caller how far the work is."""
        await self.wire.frame("progress", msgspec.json.encode(Progress(done, total, message)))

    async def log(self, level: LogLevel, data: object, logger: str | None = None) -> None:
        """Writes any JSON value to the client's log; the client says from what level on it listens."""
        await self.wire.frame("log", msgspec.json.encode(Log(level, data, logger)))

    async def become_task(self) -> None:
        """Says that this takes longer: a client that knows tasks gets one now, and its result later.

        Only for tools that declare `task_support`; other clients go on waiting, within the time of a call.
        """
        await self.wire.frame("task", b"")

    async def updated(self, uri: str) -> None:
        """Tells the clients that follow this resource that it changed."""
        await self.wire.updated(uri)

    async def offer_changed(self) -> None:
        """Tells the clients that the worker's tools, prompts or resources are others: declare them first."""
        await self.wire.offer_changed()

    def sign(self, said: bytes) -> bytes:
        """A signature of 32 bytes that any worker can check which shares ISTHMUS_FINGERPRINT_KEY with this one, by
        making it again: for what a client is to bring back."""
        return self.wire.sign(said)

    def wrote(self, written: Written) -> None:
        """Puts on record what this call has changed, as soon as that is committed; as often as there is something.

        It reaches the audit trail whatever the answer becomes: a result, an error, or none since the caller has gone.
        So say it before anything else is awaited.
        """
        self.wire.wrote(written)

    @property
    def client(self) -> ClientCan:
        """What the client can be asked for."""
        return self.conversation.client

    @property
    def state(self) -> str:
        """What `ask` was to remember, once the answers are there."""
        return self.conversation.state

    def ask(self, questions: Mapping[str, Question[A]], state: str = "") -> dict[str, A]:
        """The client's answers, by the questions' keys.

        While one is missing this raises InputRequired, which ends the call; once the client has answered, the function
        is called again from its start. So ask before anything is changed. A client that cannot answer is told what it
        lacks; `client` says so before.
        """
        return self.conversation.ask(questions, state)

    def elicit(self, key: str, message: str, fields: type[S]) -> S | None:
        """What the user filled into a form of these fields; None: the user would not. As `ask`."""
        answer = self.ask({key: form(message, fields)})[key]
        return msgspec.convert(answer.content, fields) if answer.action == "accept" else None


@dataclass(frozen=True, kw_only=True)
class Result(Generic[R]):
    """An answer whose content is not just the text of its structured part: an image, several parts."""

    structured: R
    content: tuple[Content, ...]


@dataclass(frozen=True)
class Function(Generic[T, D]):
    """A function of the worker with what it is advertised as."""

    definition: D
    arguments: type[msgspec.Struct]
    run: Callable[[Call[T], Any], Awaitable[object]]
    """The second argument is an instance of `arguments`."""


@dataclass(frozen=True)
class Completer(Generic[T]):
    """Completes an argument of prompts and resources."""

    actions: tuple[str, ...]
    run: Callable[[Call[T], str, dict[str, str]], Awaitable[list[str]]]
    """Gets what is typed so far, and the other arguments that are known."""


Tool = Function[T, ToolDefinition]
Prompt = Function[T, PromptDefinition]
Resource = Function[T, ResourceDefinition]


@dataclass(frozen=True)
class Toolbox(Generic[T]):
    """All that a worker offers."""

    kind: str
    argument: str
    """The argument that names a source, such as `database`."""
    version: str
    objects: bool = False
    """Whether the functions apply what grants say of objects, rows and columns."""
    tools: dict[str, Tool[T]] = field(default_factory=dict[str, Tool[T]])
    prompts: dict[str, Prompt[T]] = field(default_factory=dict[str, Prompt[T]])
    resources: dict[str, Resource[T]] = field(default_factory=dict[str, Resource[T]])
    completers: dict[str, Completer[T]] = field(default_factory=dict[str, Completer[T]])
    sources: dict[str, Source[T]] = field(default_factory=dict[str, Source[T]])

    @property
    def service(self) -> str:
        """The name on the bus, as `nats micro ls` shows it."""
        return f"{self.kind}-worker"

    def tool_of(self, source: Source[T], name: str) -> Tool[T] | None:
        """The tool of that name, if the source has it: a read-only one has none that write."""
        tool = self.tools.get(name) or source.tools.get(name)
        return tool if tool is not None and (source.writable or tool.definition.annotations.read_only_hint) else None

    def definitions_of(self, source: Source[T]) -> bytes:
        """The set of definitions that the source is advertised with, encoded."""
        return DefinitionSet(
            version=self.version,
            tools=tuple(
                tool.definition
                for name in sorted({*self.tools, *source.tools})
                if (tool := self.tool_of(source, name)) is not None
            ),
            prompts=tuple(prompt.definition for _, prompt in sorted(self.prompts.items())),
            resources=tuple(resource.definition for _, resource in sorted(self.resources.items())),
            completions=tuple(sorted(self.completers)),
        ).encode()

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
