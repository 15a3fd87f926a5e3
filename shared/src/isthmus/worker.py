'''The worker kit: a typed function per tool, sources to run them on, and `run()`.

worker = Worker[Repository]("git", argument="repository")

@worker.tool(scope="git:use", action="use", read_only=True)
async def last_commits(call: Call[Repository], arguments: LastCommits) -> Commits:
    """The newest commits of a repository."""

worker.add(Source("website", Repository("."), engine="git", target="git:website", description="Our website"))
worker.run()
'''

import asyncio
import inspect
import signal
import typing
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from isthmus import definitions, lifetime, logs, scopes, subjects
from isthmus.definitions import Annotations, Definition
from isthmus.errors import ConfigurationError, NotFound, ToolError
from isthmus.reloading import ConfiguredSources
from isthmus.serving import WorkerSettings, serve
from isthmus.settings import read_settings
from isthmus.tools import Call, Result, Source, Tool, Toolbox

__all__ = ["Call", "ConfiguredSources", "NotFound", "Result", "Source", "ToolError", "Worker", "WorkerSettings"]

T = TypeVar("T")
A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R")


class Worker(Generic[T]):
    """A kind of worker, with its tools and sources."""

    def __init__(self, kind: str, *, argument: str, version: str = "0.1.0") -> None:
        """`argument` is what the tools call the argument that names a source, such as `database`."""
        if not subjects.is_kind(kind):
            raise ConfigurationError(f"{kind!r} cannot be a kind of worker.")
        self._toolbox = Toolbox[T](kind, argument, version)
        self._configured: ConfiguredSources[T] | None = None
        self._added: dict[str, Source[T]] = {}

    def tool(
        self,
        *,
        scope: str,
        action: str | tuple[str, ...],
        title: str = "",
        read_only: bool = False,
        destructive: bool = False,
        idempotent: bool = False,
        sources: Mapping[str, str] | None = None,
    ) -> Callable[[Callable[[Call[T], A], Awaitable[R]]], Callable[[Call[T], A], Awaitable[R]]]:
        """Declares a tool: its function's name, docstring, argument Struct and result Struct are its definition.

        The argument Struct forbids unknown fields, so that a worker refuses what it does not know. The function
        returns text, a Struct (the structured answer; what `text()` returns, where it has such a method, is what the
        model reads) or a Result. Of several actions a grant must allow one; the tool itself checks which. `sources` is
        for a tool that names several: argument → kind; the first one routes.
        """

        def declare(function: Callable[[Call[T], A], Awaitable[R]]) -> Callable[[Call[T], A], Awaitable[R]]:
            name: str = function.__name__
            if not subjects.is_name(name):
                raise ConfigurationError(f"{name!r} cannot be the name of a tool.")
            if not scopes.belongs_to(scope, self._toolbox.kind):
                raise ConfigurationError(
                    f"The tool {name} cannot have the scope {scope!r}; it is {scopes.use_of(self._toolbox.kind)!r}."
                )
            hints = typing.get_type_hints(function)
            answer = hints.pop("return")
            _, arguments = hints.values()
            if typing.get_origin(answer) is Result:
                (answer,) = typing.get_args(answer)
            definition = Definition(
                name=name,
                title=title or name.replace("_", " ").capitalize(),
                description=inspect.getdoc(function) or "",
                input_schema=definitions.object_schema(arguments),
                output_schema=msgspec.UNSET if answer is str else definitions.object_schema(answer),
                annotations=Annotations(
                    read_only_hint=read_only,
                    destructive_hint=destructive,
                    idempotent_hint=idempotent or read_only,
                ),
                scope=scope,
                actions=(action,) if isinstance(action, str) else action,
                sources={self._toolbox.argument: self._toolbox.kind} if sources is None else dict(sources),
            )
            self._toolbox.tools[name] = Tool(definition, arguments, function)
            return function

        return declare

    def add(self, source: Source[T]) -> None:
        """A source to serve."""
        if source.name in self._toolbox.sources:
            raise ConfigurationError(f"There are two sources named {source.name}; rename one.")
        self._toolbox.sources[source.name] = source

    def follow(self, configured: ConfiguredSources[T]) -> None:
        """Sources to serve as the configuration has them, now and whenever it changes. Raises ConfigurationError."""
        self._configured, self._added = configured, dict(self._toolbox.sources)
        for source in configured.read().values():
            self.add(source)

    async def serve(self, settings: WorkerSettings, until: asyncio.Event) -> None:
        """Joins the bus, serves calls until the event is set, then leaves without losing one."""
        await serve(self._toolbox, settings, until, self._changes() if self._configured is not None else None)

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, with settings from the environment; SIGHUP reads the configuration again."""
        settings = read_settings(WorkerSettings)
        logs.set_up(self._toolbox.service, settings)
        lifetime.follow_launcher()

        async def run() -> None:
            until = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, until.set)
            if self._configured is not None:
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._configured.look_again)
            await self.serve(settings, until)

        asyncio.run(run())

    async def _changes(self) -> AsyncGenerator[dict[str, Source[T]]]:
        if self._configured is not None:
            async for sources in self._configured.changes():
                yield {**self._added, **sources}
