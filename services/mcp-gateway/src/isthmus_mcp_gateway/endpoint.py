"""MCP on the gateway: the SDK speaks the protocol in both eras, these handlers answer from catalog and bus."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypeVar, cast

import mcp_types as types
import msgspec
import pydantic
from mcp.server import Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from starlette.requests import Request

from isthmus.errors import CallError, ClientCannot, IsthmusError, NotFound, ToolError
from isthmus.messages import ClientCan
from isthmus.results import failure
from isthmus_mcp_gateway import resources, sources_tool, targets
from isthmus_mcp_gateway.audit import Audit, trace_id
from isthmus_mcp_gateway.calls import Calls
from isthmus_mcp_gateway.discovery import Discovery
from isthmus_mcp_gateway.gate import CLAIMS
from isthmus_mcp_gateway.listeners import FOLLOWED, Listeners
from isthmus_mcp_gateway.policy import PolicyWatch
from isthmus_mcp_gateway.protocol_errors import is_modern, lacking, no_resource, protocol_error
from isthmus_mcp_gateway.rates import Rates
from isthmus_mcp_gateway.redaction import OnRecord, names
from isthmus_mcp_gateway.relay import Called, Inputs, Relay, logged
from isthmus_mcp_gateway.seal import Seal
from isthmus_mcp_gateway.targets import Completing, Target
from isthmus_mcp_gateway.tasks import Tasks
from isthmus_mcp_gateway.tokens import Claims
from isthmus_mcp_gateway.views import FRESH, View, Views

Context = ServerRequestContext[Any, Request]
M = TypeVar("M", bound=pydantic.BaseModel)

INSTRUCTIONS = (
    "Databases and files of this organisation. Begin with list_sources; then get_data_model before you query, "
    "list_files before you read. A result that was cut says so and how to go on."
)


@dataclass(frozen=True, slots=True)
class Plain:
    """A `tools/call` of 2026-07-28 that wants nothing but its result."""

    name: str
    arguments: Mapping[str, Any]
    client: ClientCan
    traceparent: str = ""


class Endpoint:
    """The handlers."""

    def __init__(
        self,
        discovery: Discovery,
        policy: PolicyWatch,
        calls: Calls,
        audit: Audit,
        *,
        call_timeout: float,
        gateway_id: str,
        issuer: str,
        on_record: OnRecord = names,
    ) -> None:
        self.views = Views((sources_tool.TOOL,))
        self.listeners = Listeners()
        self.seal = Seal(issuer)
        self._discovery = discovery
        self._policy = policy
        self._audit = audit
        self._rates = Rates()
        self._on_record = on_record
        self._relay = Relay(calls, policy, call_timeout)
        self.tasks = Tasks(self._relay, gateway_id, lambda context: self._view(context)[0])

    def server(self) -> Server[Any]:
        """The SDK's server with these handlers."""
        server = _Server(
            "isthmus",
            title="Isthmus",
            version=version("isthmus-mcp-gateway"),
            instructions=INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_prompts=self.list_prompts,
            on_get_prompt=self.get_prompt,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_subscribe_resource=self.subscribe,
            on_unsubscribe_resource=self.unsubscribe,
            on_completion=self.complete,
            on_subscriptions_listen=self.listen,
            cache_hints={
                "tools/list": FRESH,
                "prompts/list": FRESH,
                "resources/list": FRESH,
                "resources/templates/list": FRESH,
                "resources/read": FRESH,
            },
            get_tool_input_schema=self._input_schema,
        )
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self.set_level)
        self.tasks.offer(server)
        server.middleware += [self._track_session, self.seal]
        return server

    async def list_tools(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """The caller's tools, in order of their names."""
        return self._view(context)[1].listed_tools

    async def list_prompts(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """The caller's prompts, in order of their names."""
        return self._view(context)[1].listed_prompts

    async def list_resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """The resources that need no more than the name of a source."""
        return self._view(context)[1].listed_resources

    async def list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """What the URIs of all resources look like."""
        return self._view(context)[1].listed_templates

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Whatever goes wrong in a call is its result, with `isError` and one sentence."""
        claims, view = self._view(context)

        async def call(target: Target, called: Called) -> bytes:
            return await self._run(context, target, called, params)

        try:
            traceparent = context.request.headers.get("traceparent", "") if context.request is not None else ""
            result = await self._tool_result(claims, view, params.name, params.arguments or {}, traceparent, call)
        except ClientCannot as error:
            if is_modern(context):
                raise lacking(error) from None
            result = msgspec.json.encode(failure(error.message, error.code))
        return _as(types.CallToolResult, result)

    async def call_plain(self, claims: Claims, view: View, plain: Plain) -> bytes:
        """`tools/call` without the SDK: the result in JSON, sealed where it is a question. Raises MCPError."""
        asks = False

        async def call(target: Target, called: Called) -> bytes:
            nonlocal asks
            reply = await self._relay.call(target, called, Inputs(), plain.client, None, plain.traceparent)
            asks = called.outcome == "input_required"
            return reply

        try:
            result = await self._tool_result(claims, view, plain.name, plain.arguments, plain.traceparent, call)
        except ClientCannot as error:
            raise lacking(error) from None
        return await self.seal.sealed(plain.name, plain.arguments, result) if asks else result

    async def _tool_result(
        self,
        claims: Claims,
        view: View,
        name: str,
        arguments: Mapping[str, Any],
        traceparent: str,
        call: Callable[[Target, Called], Awaitable[bytes]],
    ) -> bytes:
        try:
            async with logged(claims, self._audit, self._admit) as called:
                called.trace, called.arguments = trace_id(traceparent), self._on_record(arguments)
                if name == sources_tool.NAME:
                    called.name, called.outcome = sources_tool.NAME, "ok"
                    return msgspec.json.encode(sources_tool.answer(arguments, view))
                if (entry := self._discovery.catalog.tools.get(name)) is not None:
                    called.name, called.read_only = name, entry.definition.annotations.read_only_hint
                return await call(targets.tool(view, name, arguments), called)
        except ClientCannot:
            raise
        except (ToolError, CallError) as error:
            return msgspec.json.encode(failure(error.message, error.code))

    async def get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """A prompt, made by a worker."""
        claims, view = self._view(context)
        try:
            async with logged(claims, self._audit, self._admit) as called:
                target = targets.prompt(view, params.name, params.arguments or {})
                return _as(types.GetPromptResult, await self._run(context, target, called, params))
        except IsthmusError as error:
            raise protocol_error(error, context) from None

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """A resource, read by a worker."""
        claims, view = self._view(context)
        uri = str(params.uri)
        try:
            async with logged(claims, self._audit, self._admit) as called:
                target = targets.resource(view, uri)
                result = await self._run(context, target, called, params)
        except NotFound as error:
            raise no_resource(context, error.message, uri) from None
        except IsthmusError as error:
            raise protocol_error(error, context) from None
        return _as(types.ReadResourceResult, result)

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Values for an argument: sources from the catalog, all else from a worker."""
        claims, view = self._view(context)
        ref = params.ref
        prompted = isinstance(ref, types.PromptReference)
        entry = view.prompts.get(ref.name) if prompted else view.resources.get(str(ref.uri))
        if entry is None:
            raise MCPError(types.INVALID_PARAMS, "There is no prompt or resource template of that name.")
        known = dict(params.context.arguments or {}) if params.context is not None else {}
        wanted = Completing(params.argument.name, params.argument.value, known)
        try:
            found = targets.completion(view, entry, wanted)
        except IsthmusError as error:
            raise protocol_error(error, context) from None
        if not isinstance(found, Target):
            values = list(found[:100])
            return types.CompleteResult(completion=types.Completion(values=values, has_more=len(found) > len(values)))
        try:
            async with logged(claims, self._audit, self._admit) as called:
                return _as(types.CompleteResult, await self._run(context, found, called, params))
        except IsthmusError as error:
            raise protocol_error(error, context) from None

    async def subscribe(self, context: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Follows a resource that the caller may read."""
        if not self._may_follow(context, str(params.uri)):
            raise no_resource(context, "There is no resource of that URI.", str(params.uri))
        try:
            self.listeners.follow(context, str(params.uri))
        except ToolError as error:
            raise protocol_error(error, context) from None
        return types.EmptyResult()

    async def unsubscribe(self, context: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Follows it no longer."""
        self.listeners.unfollow(context, str(params.uri))
        return types.EmptyResult()

    async def set_level(self, context: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """The lowest level of log messages that a 2025 session wants."""
        self.listeners.set_least(context, params.level)
        return types.EmptyResult()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """A stream of changes; of resources only those that the caller may read."""
        wanted = params.notifications
        if wanted.resource_subscriptions and len(wanted.resource_subscriptions) > FOLLOWED:
            raise MCPError(types.INVALID_PARAMS, f"One stream may follow {FOLLOWED} resources.")
        if wanted.resource_subscriptions:
            seen = [uri for uri in wanted.resource_subscriptions if self._may_follow(context, str(uri))]
            wanted = wanted.model_copy(update={"resource_subscriptions": seen})
            params = params.model_copy(update={"notifications": wanted})
        return await self.listeners.streams(context, params)

    async def resource_updated(self, kind: str, source: str, uri: str) -> None:
        """A worker says that a resource of its source changed: passed on if the URI is its own to speak of."""
        if resources.belongs_to(uri, kind, source, self._discovery.catalog.resources.values()):
            await self.listeners.resource_updated(uri)

    def _admit(self, claims: Claims) -> None:
        if per_minute := self._policy.current.calls_per_minute(claims):
            self._rates.take(claims.sub, per_minute)

    def _may_follow(self, context: Context, uri: str) -> bool:
        claims, view = self._view(context)
        policy = self._policy.current
        return resources.may_read(uri, view.resources.values(), lambda source: policy.granted(claims, source))

    async def _run(
        self,
        context: Context,
        target: Target,
        called: Called,
        params: types.RequestParams,
    ) -> bytes:
        inputs = Inputs()
        if isinstance(params, types.InputResponseRequestParams):
            answers = params.input_responses or {}
            inputs = Inputs(
                {
                    key: msgspec.Raw(answer.model_dump_json(by_alias=True, exclude_none=True).encode())
                    for key, answer in answers.items()
                },
                params.request_state or "",
            )
        least = self.listeners.least(context)
        if self.tasks.may_begin(context, target):
            return await self.tasks.run(context, target, called, inputs, least)
        return await self._relay.run(context, target, called, inputs, least)

    def _view(self, context: Context) -> tuple[Claims, View]:
        request = context.request
        if request is None:
            raise IsthmusError("MCP came without an HTTP request.")
        claims: Claims = request.scope[CLAIMS]
        return claims, self.view_of(claims)

    def view_of(self, claims: Claims) -> View:
        """The caller's part of the catalog as it is now."""
        return self.views.of(claims, self._discovery.catalog, self._policy.current)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        if name == sources_tool.NAME:
            return sources_tool.TOOL.input_schema
        tool = self._discovery.catalog.tools.get(name)
        return tool.definition.input_schema if tool is not None else None

    async def _track_session(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Remembers sessions of the 2025 era, which the SDK cannot broadcast to."""
        if ctx.method == "notifications/initialized":
            self.listeners.opened(ctx)
        return await call_next(ctx)


class _Server(Server[Any]):
    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Says to 2025 clients that the lists may change; by default the SDK says that they do not."""
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or changes, experimental_capabilities, extensions
        )


def _as(model: type[M], reply: bytes) -> M:
    """A mapping, not a model, whatever the type says: the SDK would drop the nulls of a model's structured content."""
    del model
    return cast("M", msgspec.json.decode(reply))
