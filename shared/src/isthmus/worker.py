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
import logging
import re
import signal
import typing
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec

from isthmus import lifetime, logs, scopes, subjects
from isthmus.definitions import (
    Annotations,
    PromptArgument,
    PromptDefinition,
    ResourceDefinition,
    ToolDefinition,
)
from isthmus.errors import ConfigurationError, NotFound, ToolError
from isthmus.reloading import ConfiguredSources
from isthmus.results import CallToolResult
from isthmus.schemas import JsonSchema, answer_schema, arguments_schema, field_documentation, is_tool_schema
from isthmus.serving import WorkerSettings, serve
from isthmus.settings import read_settings
from isthmus.tools import Call, Completer, Function, Result, Source, Tool, Toolbox

__all__ = ["Call", "ConfiguredSources", "NotFound", "Result", "Source", "ToolError", "Worker", "WorkerSettings"]

T = TypeVar("T")
A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R")

Declared = Callable[[Call[T], A], Awaitable[R]]
"""The shape of every function of a worker."""

logger = logging.getLogger("isthmus.worker")

_VARIABLE = re.compile(r"\{\+?([a-z][a-z0-9_]*)\}")


class Worker(Generic[T]):
    """A kind of worker, with what it offers and its sources."""

    def __init__(self, kind: str, *, argument: str, version: str = "0.1.0", objects: bool = False) -> None:
        """`argument` is what the tools call the argument that names a source, such as `database`.

        With `objects` the functions apply what `call.granted` says of objects, rows and columns. Without it they need
        not know of such things: whoever is granted only a part of a source is refused.
        """
        if not subjects.is_kind(kind):
            raise ConfigurationError(f"{kind!r} cannot be a kind of worker.")
        self._toolbox = Toolbox[T](kind, argument, version, objects)
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
        input_schema: JsonSchema | None = None,
        task_support: Literal["forbidden", "optional", "required"] = "forbidden",
    ) -> Callable[[Declared[T, A, R]], Declared[T, A, R]]:
        """Declares a tool: its function's name, docstring, argument Struct and result Struct are its definition.

        The argument Struct forbids unknown fields, so that a worker refuses what it does not know. The function
        returns text, a Struct (the structured answer; what `text()` returns, where it has such a method, is what the
        model reads), a Result or MCP's own CallToolResult. Of several actions a grant must allow one; the tool itself
        checks which. `sources` is for a tool that names several: argument → kind; the first one routes. `input_schema`
        takes the place of the Struct's own.
        """

        def declare(function: Declared[T, A, R]) -> Declared[T, A, R]:
            tool = define_tool(
                self._toolbox.kind,
                self._toolbox.argument,
                function,
                scope=scope,
                action=action,
                title=title,
                read_only=read_only,
                destructive=destructive,
                idempotent=idempotent,
                sources=sources,
                input_schema=input_schema,
                task_support=task_support,
            )
            self._toolbox.tools[tool.definition.name] = tool
            return function

        return declare

    def prompt(
        self, *, scope: str, action: str | tuple[str, ...], title: str = ""
    ) -> Callable[[Declared[T, A, R]], Declared[T, A, R]]:
        """Declares a prompt: the fields of the argument Struct are its arguments, which come as text.

        Where none of them names a source, any source makes it. The function returns text, which the user is to say,
        or PromptMessages.
        """

        def declare(function: Declared[T, A, R]) -> Declared[T, A, R]:
            arguments, _ = _types(function)
            texts = field_documentation(arguments)
            definition = PromptDefinition(
                name=_name(function),
                title=title or _title(function),
                description=_description(function),
                scope=self._scope(scope),
                actions=_actions(action),
                sources={self._toolbox.argument: self._toolbox.kind} if self._names_source(arguments) else {},
                arguments=tuple(
                    PromptArgument(f.encode_name, texts.get(f.encode_name, ""), f.required)
                    for f in msgspec.structs.fields(arguments)
                ),
            )
            self._toolbox.prompts[definition.name] = Function(definition, arguments, function)
            return function

        return declare

    def resource(
        self,
        uri_template: str,
        *,
        scope: str,
        action: str | tuple[str, ...],
        title: str = "",
        mime_type: str = "",
        object: str = "",  # noqa: A002  (what grants call it)
    ) -> Callable[[Declared[T, A, R]], Declared[T, A, R]]:
        """Declares a resource, or a template of them: `{name}` in the URI is a field of the argument Struct, as text.

        `{+name}` takes slashes, too. `object` is the variable that names the table or path which grants speak of. The
        function returns text, bytes, or ResourceContents.
        """

        def declare(function: Declared[T, A, R]) -> Declared[T, A, R]:
            arguments, _ = _types(function)
            variables = _VARIABLE.findall(uri_template)
            fields = {field.encode_name for field in msgspec.structs.fields(arguments)}
            if unknown := sorted({*variables} - fields):
                raise ConfigurationError(f"{uri_template} has {unknown[0]}, which {arguments.__name__} has not.")
            named = self._toolbox.argument in variables
            definition = ResourceDefinition(
                name=_name(function),
                title=title or _title(function),
                description=_description(function),
                scope=self._scope(scope),
                actions=_actions(action),
                sources={self._toolbox.argument: self._toolbox.kind} if named else {},
                uri_template=uri_template,
                mime_type=mime_type,
                object=object,
            )
            self._toolbox.resources[definition.name] = Function(definition, arguments, function)
            return function

        return declare

    def completion(
        self, *, action: str | tuple[str, ...]
    ) -> Callable[[Callable[[Call[T], str, dict[str, str]], Awaitable[list[str]]]], None]:
        """Declares how an argument of prompts and resources is completed: the function's name is the argument's.

        The function gets what is typed so far and the other arguments that are known; the best values come first.
        """

        def declare(function: Callable[[Call[T], str, dict[str, str]], Awaitable[list[str]]]) -> None:
            self._toolbox.completers[_name(function)] = Completer(_actions(action), function)

        return declare

    def add(self, source: Source[T]) -> None:
        """A source to serve."""
        if source.name in self._toolbox.sources:
            raise ConfigurationError(f"There are two sources named {source.name}; rename one.")
        self._check_tools({**self._toolbox.sources, source.name: source})
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

    def _names_source(self, arguments: type[msgspec.Struct]) -> bool:
        return self._toolbox.argument in {field.encode_name for field in msgspec.structs.fields(arguments)}

    def _scope(self, scope: str) -> str:
        return _scope(scope, self._toolbox.kind)

    async def _changes(self) -> AsyncGenerator[dict[str, Source[T]]]:
        if self._configured is not None:
            async for configured in self._configured.changes():
                sources = {**self._added, **configured}
                try:
                    self._check_tools(sources)
                except ConfigurationError as error:
                    logger.error("the configuration was refused and the sources stay as they were: %s", error.message)
                else:
                    yield sources

    def _check_tools(self, sources: Mapping[str, Source[T]]) -> None:
        """A tool is one thing, whatever source has it, but that in one it may write and in another only read."""
        known: dict[str, tuple[str, ToolDefinition]] = {}
        for source in sources.values():
            for name, tool in source.tools.items():
                if name in self._toolbox.tools:
                    raise ConfigurationError(
                        f"{source.name} has a tool {name} of its own, as all sources have; rename it."
                    )
                other, definition = known.setdefault(name, (source.name, tool.definition))
                if definition != msgspec.structs.replace(tool.definition, annotations=definition.annotations):
                    raise ConfigurationError(
                        f"{other} and {source.name} both have a tool {name}, and the two differ; rename one."
                    )


def define_tool(
    kind: str,
    argument: str,
    function: Declared[T, A, R],
    *,
    scope: str,
    action: str | tuple[str, ...],
    name: str = "",
    description: str = "",
    arguments: type[A] | None = None,
    title: str = "",
    read_only: bool = False,
    destructive: bool = False,
    idempotent: bool = False,
    sources: Mapping[str, str] | None = None,
    input_schema: JsonSchema | None = None,
    task_support: Literal["forbidden", "optional", "required"] = "forbidden",
) -> Tool[T]:
    """A tool of a worker of that kind; `Worker.tool` says what the rest means.

    For the tools of one source, which are not declared but come from its configuration, name, description and the
    argument Struct may be given beside the function. Raises ConfigurationError.
    """
    declared, answer = _types(function)
    arguments = arguments or cast("type[A]", declared)
    fields = {field.encode_name for field in msgspec.structs.fields(arguments)}
    if sources is None and argument not in fields:
        raise ConfigurationError(f"{arguments.__name__} has no field `{argument}`, which names the source to work on.")
    name = _checked(name) if name else _name(function)
    if input_schema is not None and not is_tool_schema(input_schema):
        raise ConfigurationError(f"The input schema of {name} must be that of an object.")
    definition = ToolDefinition(
        name=name,
        title=title or name.replace("_", " ").capitalize(),
        description=description or _description(function),
        input_schema=input_schema or arguments_schema(arguments),
        output_schema=msgspec.UNSET if answer in (str, CallToolResult) else answer_schema(answer),
        annotations=Annotations(
            read_only_hint=read_only,
            destructive_hint=msgspec.UNSET if read_only else destructive,
            idempotent_hint=msgspec.UNSET if read_only else idempotent,
        ),
        scope=_scope(scope, kind),
        actions=_actions(action),
        sources={argument: kind} if sources is None else dict(sources),
        task_support=task_support,
    )
    return Function(definition, arguments, function)


def _scope(scope: str, kind: str) -> str:
    if not scopes.belongs_to(scope, kind):
        raise ConfigurationError(f"What a worker of the kind {kind} offers cannot have the scope {scope!r}.")
    return scope


def _types(function: Callable[..., Any]) -> tuple[type[msgspec.Struct], Any]:
    """The argument Struct, and what the function returns: of a Result its Struct."""
    hints = typing.get_type_hints(function)
    answer = hints.pop("return")
    _, arguments = hints.values()
    if typing.get_origin(answer) is Result:
        answer: Any = typing.get_args(answer)[0]
    return arguments, answer


def _name(function: Callable[..., Any]) -> str:
    return _checked(function.__name__)


def _checked(name: str) -> str:
    if not subjects.is_name(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of something that a worker offers: use lower-case letters, digits and "
            "underscores, a letter first."
        )
    return name


def _description(function: Callable[..., object]) -> str:
    """The docstring as one line, wherever the source breaks it."""
    return " ".join((inspect.getdoc(function) or "").split())


def _title(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", " ").capitalize()


def _actions(action: str | tuple[str, ...]) -> tuple[str, ...]:
    return (action,) if isinstance(action, str) else action
