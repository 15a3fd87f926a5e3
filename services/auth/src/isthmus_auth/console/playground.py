"""The playground: a tool, a form made from its schema, and its answer as a model would see it.

A call goes to the gateway in the name of whoever is signed in, so it can do what they can do, and nothing more.
"""

import asyncio
import shlex
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.response import Template

from isthmus_auth import admin_clients
from isthmus_auth.administration import Asking
from isthmus_auth.answers import Refusal
from isthmus_auth.console import schema_form
from isthmus_auth.console.schema_fields import Field
from isthmus_auth.console.shell import SCRIPTED, page
from isthmus_auth.console.tool_results import Question, Shown, shown
from isthmus_auth.console.toolbox import Toolbox, call, open_toolbox
from isthmus_auth.gateway_client import Access, Answers, GatewayError, Tool, headers, request
from isthmus_auth.parameters import Parameters

PLAYGROUND = "/admin/playground"
HERE = "playground"
LONGEST_LINK = 4000
"""Characters of a link to a ready call."""

WITH_MEDIA = {
    "Content-Security-Policy": SCRIPTED["Content-Security-Policy"].replace(
        "img-src 'self'", "img-src 'self' data:; media-src data:"
    )
}
"""Of the pages that show what tools answer: images and sounds are in the page itself."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a form that was sent."""

    answer: Shown | None = None
    questions: list[tuple[Question, list[Field]]] = []
    """What the tool asks, and the fields for the answers."""
    request_state: str = ""
    asks: bool = False
    """Whether somebody has to agree first."""
    raw_text: str = ""
    """Arguments that are no JSON."""


@get("/playground")
async def show(
    asking: NamedDependency[Asking],
    service: FromQuery[str] = "",
    tool: FromQuery[str] = "",
    arguments: FromQuery[str] = "",
    way: FromQuery[str] = "",
    search: FromQuery[str] = "",
) -> Template:
    """The tools there are, or the form of one of them."""
    toolbox: Toolbox | None = None
    try:
        toolbox = await open_toolbox(asking, service)
        if not tool:
            return await _tools(asking, toolbox, search)
        given = _object(arguments) if arguments else {}
        return await _form(asking, toolbox, toolbox.named(tool), given, raw=way == "json")
    except GatewayError as error:
        return await _tools(asking, toolbox, search, Refusal(502, str(error)))
    except Refusal as refusal:
        if refusal.status_code in (401, 403):
            raise
        return await _tools(asking, toolbox, search, refusal)


@post("/playground")
async def use(asking: NamedDependency[Asking], form: NamedDependency[Parameters]) -> Template:
    """Calls the tool; one that may destroy something is called once that was agreed to."""
    try:
        toolbox = await open_toolbox(asking, form.get("service"))
        tool = toolbox.named(form.get("tool"))
    except GatewayError as error:
        return await _tools(asking, None, "", Refusal(502, str(error)))
    raw = form.get("way") == "json"
    try:
        arguments, fields = _arguments(tool, form)
    except Refusal as refusal:
        outcome = Outcome(raw_text=form.get("arguments"))
        return await _form(asking, toolbox, tool, {}, raw=True, refusal=refusal, outcome=outcome)
    if fields is not None and any(field.error for field in fields):
        refusal = Refusal(400, "Some of the fields are not filled in as the tool needs it.")
        return await _form(asking, toolbox, tool, arguments, refusal=refusal, fields=fields)
    if tool.may_destroy and form.get("confirmed") != "yes":
        return await _form(asking, toolbox, tool, arguments, raw=raw, outcome=Outcome(asks=True))
    try:
        answers, asked_again = _answers(form)
        if asked_again is not None:
            return await _form(asking, toolbox, tool, arguments, raw=raw, outcome=asked_again)
        result, seconds = await call(asking, toolbox.access, tool.name, arguments, answers)
        answer = await asyncio.to_thread(shown, result, seconds)
    except GatewayError as error:
        return await _form(asking, toolbox, tool, arguments, raw=raw, refusal=Refusal(502, str(error)))
    questions = [(one, schema_form.filled(one.schema, {})) for one in answer.questions]
    outcome = Outcome(answer, questions, answer.request_state)
    return await _form(asking, toolbox, tool, arguments, raw=raw, outcome=outcome)


def link(service: str, tool: str, arguments: Mapping[str, Any]) -> str:
    """The address of a call that is ready to be made; empty: it would be too long."""
    text = msgspec.json.encode(arguments).decode()
    address = f"{PLAYGROUND}?{urlencode({'service': service, 'tool': tool, 'arguments': text})}"
    return address if len(address) <= LONGEST_LINK else ""


def curl(access: Access, tool: str, arguments: Mapping[str, Any]) -> str:
    """The same call from a terminal. The token is a variable: those of the console are shown to nobody."""
    lines = [f"curl -sS {shlex.quote(access.endpoint)}", '-H "Authorization: Bearer $TOKEN"']
    lines += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in headers("tools/call", tool).items()]
    body = request("tools/call", {"name": tool, "arguments": arguments}).decode()
    return " \\\n  ".join([*lines, f"--data {shlex.quote(body)}"])


def _arguments(tool: Tool, form: Parameters) -> tuple[dict[str, Any], list[Field] | None]:
    """What the tool is to be called with, and the fields of the form if that was used. Raises Refusal."""
    if form.get("way") == "json" or form.get("arguments"):
        return _object(form.get("arguments") or "{}"), None
    return schema_form.read(schema_form.typed(tool.input_schema, form.values))


def _answers(form: Parameters) -> tuple[Answers | None, Outcome | None]:
    """The answers to a tool's questions, if there were any; or what the page needs to ask again."""
    if not form.get("questions"):
        return None, None
    try:
        questions = msgspec.json.decode(form.get("questions"), type=list[Question])
    except (msgspec.DecodeError, RecursionError):
        raise GatewayError("The questions came back broken. Call the tool again.") from None
    action = form.get("action")
    answers: dict[str, Any] = {}
    asked: list[tuple[Question, list[Field]]] = []
    for number, question in enumerate(questions):
        prefix = f"q{number}."
        sent = {name.removeprefix(prefix): text for name, text in form.values.items() if name.startswith(prefix)}
        content, fields = schema_form.read(schema_form.typed(question.schema, sent))
        asked.append((question, fields))
        answers[question.key] = {"action": "accept", "content": content} if action == "accept" else {"action": action}
    if action == "accept" and any(field.error for _, fields in asked for field in fields):
        return None, Outcome(questions=asked, request_state=form.get("request_state"))
    return Answers(answers, form.get("request_state")), None


def _object(text: str) -> dict[str, Any]:
    """Raises Refusal."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(400, f"The arguments are not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The arguments are a JSON object, such as {}.")
    return cast("dict[str, Any]", value)


async def _tools(asking: Asking, toolbox: Toolbox | None, search: str, refusal: Refusal | None = None) -> Template:
    services = await admin_clients.list_services(asking)
    context = {
        "services": {one.namespace: one.label for one in services},
        "namespace": toolbox.access.namespace if toolbox else "",
        "groups": toolbox.groups(search) if toolbox else {},
        "sources": toolbox.sources if toolbox else [],
        "search": search,
        "reached": toolbox is not None,
    }
    return await page(asking, "console/playground.html", HERE, context, refusal=refusal)


async def _form(
    asking: Asking,
    toolbox: Toolbox,
    tool: Tool,
    arguments: dict[str, Any],
    *,
    raw: bool = False,
    refusal: Refusal | None = None,
    fields: list[Field] | None = None,
    outcome: Outcome | None = None,
) -> Template:
    """The page of a tool: its form, and below what came of it."""
    namespace = toolbox.access.namespace
    raw = raw or not schema_form.expressible(tool.input_schema, arguments)
    text = msgspec.json.encode(arguments).decode()
    outcome = outcome or Outcome()
    context = {
        "namespace": namespace,
        "tool": tool,
        "raw": raw,
        "fields": fields if fields is not None else schema_form.filled(tool.input_schema, arguments),
        "arguments": text,
        "raw_text": outcome.raw_text or msgspec.json.format(text, indent=2),
        "form_link": f"{PLAYGROUND}?{urlencode({'service': namespace, 'tool': tool.name})}",
        "link": "" if tool.may_destroy else link(namespace, tool.name, arguments),
        "curl": curl(toolbox.access, tool.name, arguments),
        "outcome": outcome,
        "questions": msgspec.json.encode([question for question, _ in outcome.questions]).decode(),
    }
    return await page(asking, "console/playground_tool.html", HERE, context, refusal=refusal, headers=WITH_MEDIA)
