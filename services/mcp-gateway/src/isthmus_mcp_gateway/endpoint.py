"""MCP on the gateway: the SDK speaks the protocol in both eras, these handlers answer from catalog and bus."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, cast

import mcp_types as types
import msgspec
from mcp.server import Server, ServerRequestContext
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from starlette.requests import Request

from isthmus import logs
from isthmus.answering import arguments_sentence
from isthmus.errors import (
    CallError,
    InvalidArguments,
    IsthmusError,
    ToolError,
    UnknownSource,
    UnknownTool,
    WorkerFailed,
    near,
)
from isthmus.messages import ERROR_META, CallToolResult, Progress, TextContent, failure
from isthmus_mcp_gateway import sources_tool
from isthmus_mcp_gateway.calls import Calls, Outgoing
from isthmus_mcp_gateway.catalog import CatalogTool
from isthmus_mcp_gateway.discovery import Discovery
from isthmus_mcp_gateway.gate import CLAIMS
from isthmus_mcp_gateway.policy import PolicyWatch
from isthmus_mcp_gateway.tokens import Claims
from isthmus_mcp_gateway.views import View, Views, routing_argument

logger = logging.getLogger("isthmus.endpoint")

Context = ServerRequestContext[Any, Request]

INSTRUCTIONS = (
    "Databases and files of this organisation. Begin with list_sources; then list_tables and describe_table before you "
    "query, list_files before you read. A result that was cut says so and how to go on."
)


class _Meta(msgspec.Struct):
    code: str = msgspec.field(name=ERROR_META, default="")


class _Head(msgspec.Struct, rename="camel"):
    """What the gateway itself reads of a reply: enough to refuse a broken one."""

    result_type: str
    is_error: bool = False
    meta: _Meta = msgspec.field(name="_meta", default_factory=_Meta)


@dataclass(slots=True)
class Called:
    """What the log says of one call: only names that are ours, nothing that the caller made up."""

    id: str = field(default_factory=lambda: secrets.token_hex(12))
    tool: str = "unknown tool"
    source: str = ""
    outcome: str = "failed"
    line: logs.CallLine = field(default_factory=logs.CallLine)


class Endpoint:
    """The handlers, and those who listen for changes."""

    def __init__(self, discovery: Discovery, policy: PolicyWatch, calls: Calls, call_timeout: float) -> None:
        self.views = Views((sources_tool.TOOL,))
        self._discovery = discovery
        self._policy = policy
        self._calls = calls
        self._call_timeout = call_timeout
        self._changes = InMemorySubscriptionBus()
        self.listen = ListenHandler(self._changes)
        self._sessions: dict[str, ServerSession] = {}

    def server(self) -> Server[Any]:
        """The SDK's server with these handlers."""
        server = _Server(
            "isthmus",
            title="Isthmus",
            version=version("isthmus-mcp-gateway"),
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_subscriptions_listen=self.listen,
            # Never stale: a worker that joined a moment ago is in the next list, for clients that do not listen too.
            cache_hints={"tools/list": CacheHint(ttl_ms=0, scope="private")},
            get_tool_input_schema=self._input_schema,
        )
        server.middleware.append(self._track_session)
        return server

    async def changed(self) -> None:
        """Tells every client that listens, of either era, that its tools may be others now."""
        await self._changes.publish(ToolsListChanged())
        for session in list(self._sessions.values()):
            await session.send_tool_list_changed()

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """The caller's tools, in order of their names."""
        return types.ListToolsResult(tools=self._view(context)[1].tools)

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Whatever goes wrong in a call is its result, with `isError` and one sentence."""
        claims, view = self._view(context)
        arguments = params.arguments or {}
        called = Called()
        token = logs.current_call.set(called.id)
        try:
            if params.name == sources_tool.NAME:
                called.tool = sources_tool.NAME
                result = msgspec.json.encode(_own(arguments, view))
                called.outcome = "ok"
            else:
                result = await self._call(context, claims, view, params.name, arguments, called)
        except (ToolError, CallError) as error:
            called.outcome = error.code
            result = msgspec.json.encode(failure(error.message, error.code))
        except asyncio.CancelledError:
            called.outcome = "cancelled"
            raise
        finally:
            called.line.log(
                logger,
                logging.INFO,
                called.tool,
                called.source,
                called.outcome,
                principal=claims.sub,
                namespace=claims.service,
            )
            logs.current_call.reset(token)
        # A mapping, not a model: the SDK would drop the nulls of a model's structured content.
        return cast("types.CallToolResult", msgspec.json.decode(result))

    async def _call(
        self, context: Context, claims: Claims, view: View, name: str, arguments: Mapping[str, Any], called: Called
    ) -> bytes:
        """Look up → authorize → request."""
        tool = self._discovery.catalog.tools.get(name)
        allowed = view.usable.get(name)
        if tool is None or allowed is None:
            raise UnknownTool(f"There is no tool {name[:64]!r}.{near(name, [sources_tool.NAME, *view.usable])}")
        called.tool = name
        sources = self._sources(tool, allowed, view, arguments)
        called.source = sources[routing_argument(tool)]
        policy = self._policy.current
        request = context.request

        async def on_frame(frame: str, body: bytes) -> None:
            if frame == "progress":
                step = msgspec.json.decode(body, type=Progress)
                await context.session.report_progress(step.progress, step.total, step.message)

        reply = await self._calls.make(
            Outgoing(
                kind=tool.kind,
                source=called.source.partition(".")[2],
                tool=name,
                read_only=tool.definition.annotations.read_only_hint,
                principal=policy.principal(claims),
                grants={source: policy.granted(claims, source) for source in sources.values()},
                arguments=msgspec.json.encode(arguments),
                seconds=self._call_timeout,
                traceparent=request.headers.get("traceparent", "") if request is not None else "",
                id=called.id,
            ),
            on_frame,
        )
        try:
            head = msgspec.json.decode(reply, type=_Head)
        except msgspec.DecodeError:
            logger.exception("%s answered with something that is no result", name)
            raise WorkerFailed from None
        called.outcome = (head.meta.code or ToolError.code) if head.is_error else "ok"
        return reply

    def _sources(
        self, tool: CatalogTool, allowed: tuple[str, ...], view: View, arguments: Mapping[str, Any]
    ) -> dict[str, str]:
        """Argument → the id of the source that it names, for all arguments of the tool that name one."""
        named: dict[str, str] = {}
        for argument, kind in tool.definition.sources.items():
            routes = argument == routing_argument(tool)
            names = allowed if routes else tuple(s.name for s in view.sources.values() if s.kind == kind)
            value = arguments.get(argument)
            if value is None and not routes:
                continue
            if value is None and len(names) == 1:
                (value,) = names
            if value is None:
                raise InvalidArguments(f"Say which one with `{argument}`.{near('', names)}")
            if value not in names:
                wrong = str(value)[:64]
                raise UnknownSource(f"There is no {argument} {wrong!r} for {tool.definition.name}.{near(wrong, names)}")
            named[argument] = f"{kind}.{value}"
        return named

    def _view(self, context: Context) -> tuple[Claims, View]:
        request = context.request
        if request is None:
            raise IsthmusError("MCP came without an HTTP request.")
        claims: Claims = request.scope[CLAIMS]
        return claims, self.views.of(claims, self._discovery.catalog, self._policy.current)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        if name == sources_tool.NAME:
            return sources_tool.TOOL.input_schema
        tool = self._discovery.catalog.tools.get(name)
        return tool.definition.input_schema if tool is not None else None

    async def _track_session(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Remembers sessions of the 2025 era, which the SDK cannot broadcast to."""
        request = ctx.request
        if ctx.method == "notifications/initialized" and request is not None:
            session_id = request.headers.get("mcp-session-id")
            if session_id is not None:
                self._sessions[session_id] = ctx.session
                # The SDK has no public hook for the end of a session.
                stack = ctx.session._connection.exit_stack  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                stack.callback(self._sessions.pop, session_id, None)
        return await call_next(ctx)


class _Server(Server[Any]):
    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Says to 2025 clients that the list of tools may change; by default the SDK says that it does not."""
        return super().create_initialization_options(
            notification_options or NotificationOptions(tools_changed=True), experimental_capabilities, extensions
        )


def _own(arguments: Mapping[str, Any], view: View) -> CallToolResult:
    try:
        wanted = msgspec.convert(arguments, sources_tool.ListSources)
    except msgspec.ValidationError as error:
        raise InvalidArguments(arguments_sentence(str(error), sources_tool.NAME, sources_tool.ListSources)) from None
    page = sources_tool.list_sources(wanted, view)
    return CallToolResult(
        content=(TextContent(page.text()),), structured_content=msgspec.Raw(msgspec.json.encode(page))
    )
