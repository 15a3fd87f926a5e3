"""What the official conformance suite expects of a server, from one worker on the bus, written with the kit alone.

Names, texts and schemas are the suite's. Its gateway is the product's own, unchanged.
"""

import asyncio
import io
import struct
import wave
import zlib
from typing import Annotated, Literal

import msgspec

from isthmus.asking import Elicited, Question, form, roots, sample
from isthmus.errors import ToolError
from isthmus.results import (
    AudioContent,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    PromptMessage,
    TextContent,
    TextResourceContents,
)
from isthmus.schemas import JsonSchema
from isthmus.worker import Call, Source, Worker

WATCHED = "test://watched-resource"
KIND = "fixtures"
USE = f"{KIND}:use"

SCHEMA_2020_12: JsonSchema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

ENUMS: JsonSchema = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {
            "type": "string",
            "oneOf": [
                {"const": "value1", "title": "First Option"},
                {"const": "value2", "title": "Second Option"},
                {"const": "value3", "title": "Third Option"},
            ],
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {
            "type": "array",
            "items": {
                "anyOf": [
                    {"const": "value1", "title": "First Choice"},
                    {"const": "value2", "title": "Second Choice"},
                    {"const": "value3", "title": "Third Choice"},
                ]
            },
        },
    },
}


class Nothing(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """No arguments but the source."""

    fixture: str | None = None


class Named(Nothing):
    """A name."""

    name: str = "World"
    """Who."""


class Sampling(Nothing):
    """What to ask the model."""

    prompt: str
    """The prompt to send to the model."""


class Asking(Nothing):
    """What to ask the user."""

    message: str
    """The message to show the user."""


class Mirrored(Nothing):
    """An argument that HTTP clients mirror into a header."""

    region: Annotated[str, msgspec.Meta(extra_json_schema={"x-mcp-header": "Region"})]
    """Where; also in the header Mcp-Param-Region."""


class Contact(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """What the tool with a schema of its own takes."""

    name: str = ""
    address: dict[str, str] = {}
    contact_method: str = ""
    phone: str = ""
    email: str = ""
    fixture: str | None = None


class Slow(Nothing):
    """Work that takes a while."""

    seconds: float = 1
    """How long."""
    label: str = ""
    """What to say at the end."""


class Deletion(Nothing):
    """A file that would be deleted."""

    filename: str
    """Its name."""


class Numbered(msgspec.Struct):
    """The variable of a template."""

    id: str


class Whole(msgspec.Struct):
    """Nothing varies."""


class TwoTexts(msgspec.Struct):
    """Two texts."""

    arg1: str
    """First test argument."""
    arg2: str
    """Second test argument."""


class Embedding(msgspec.Struct, rename="camel"):
    """A resource."""

    resource_uri: str
    """URI of the resource to embed."""


class Name(msgspec.Struct):
    """A form."""

    name: str


class Color(msgspec.Struct):
    """A form."""

    color: str


class Context(msgspec.Struct):
    """A form."""

    context: str


class Ok(msgspec.Struct):
    """A form."""

    ok: bool


class Confirm(msgspec.Struct):
    """A form."""

    confirm: bool


class Login(msgspec.Struct):
    """A form."""

    username: str
    """User's response"""
    email: str
    """User's email address"""


class Defaults(msgspec.Struct):
    """A form that is filled in already."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def red_pixel() -> bytes:
    """A PNG of one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def silence() -> bytes:
    """A WAV of ten samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 10)
    return file.getvalue()


def told(answer: Elicited) -> str:
    """An answer as the suite reads it."""
    return f"action={answer.action}, content={msgspec.json.encode(answer.content).decode()}"


def make_worker() -> Worker[None]:
    """All of it, on one source."""
    worker = Worker[None](KIND, argument="fixture")
    add_contents(worker)
    add_schemas(worker)
    add_messages(worker)
    add_questions(worker)
    add_rounds(worker)
    add_changes(worker)
    add_tasks(worker)
    add_prompts(worker)
    add_resources(worker)
    worker.add(Source("suite", None, engine="fixtures", target="test://suite", writable=True))
    return worker


def add_contents(worker: Worker[None]) -> None:
    """Tools for every type of content."""
    image, audio = ImageContent.of(red_pixel(), "image/png"), AudioContent.of(silence(), "audio/wav")

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_simple_text(call: Call[None], arguments: Nothing) -> str:
        """Returns text."""
        return "This is a simple text response for testing."

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_image_content(call: Call[None], arguments: Nothing) -> CallToolResult:
        """Returns an image."""
        return CallToolResult(content=(image,))

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_audio_content(call: Call[None], arguments: Nothing) -> CallToolResult:
        """Returns a sound."""
        return CallToolResult(content=(audio,))

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_embedded_resource(call: Call[None], arguments: Nothing) -> CallToolResult:
        """Returns a resource."""
        contents = TextResourceContents(
            "This is an embedded resource content.", "text/plain", "test://embedded-resource"
        )
        return CallToolResult(content=(EmbeddedResource.of(contents),))

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_multiple_content_types(call: Call[None], arguments: Nothing) -> CallToolResult:
        """Returns text, an image and a resource."""
        contents = TextResourceContents(
            '{"test":"data","value":123}', "application/json", "test://mixed-content-resource"
        )
        return CallToolResult(
            content=(TextContent("Multiple content types test:"), image, EmbeddedResource.of(contents))
        )

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_error_handling(call: Call[None], arguments: Nothing) -> str:
        """Always fails."""
        raise ToolError("This tool intentionally returns an error for testing")


def add_schemas(worker: Worker[None]) -> None:
    """Tools whose input schemas are out of the ordinary."""

    @worker.tool(scope=USE, action="use", read_only=True, input_schema=SCHEMA_2020_12)
    async def json_schema_2020_12_tool(call: Call[None], arguments: Contact) -> str:
        """Tool with JSON Schema 2020-12 features"""
        return arguments.name

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_x_mcp_header(call: Call[None], arguments: Mirrored) -> str:
        """Returns an argument that HTTP clients send in a header, too."""
        return arguments.region


def add_messages(worker: Worker[None]) -> None:
    """Tools that say something before their answer."""

    async def work(call: Call[None]) -> None:
        await call.log("info", "Tool execution started")
        await asyncio.sleep(0.05)
        await call.log("info", "Tool processing data")
        await asyncio.sleep(0.05)
        await call.log("info", "Tool execution completed")

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_tool_with_logging(call: Call[None], arguments: Nothing) -> str:
        """Writes three messages to the client's log."""
        await work(call)
        return "Tool with logging executed successfully"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_logging_tool(call: Call[None], arguments: Nothing) -> str:
        """Writes to the log of clients that want it."""
        await work(call)
        return "Logged, for whoever listens."

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_tool_with_progress(call: Call[None], arguments: Nothing) -> str:
        """Tells how far it is."""
        for done in (0, 50, 100):
            await call.progress(done, 100, f"Completed step {done} of 100")
            await asyncio.sleep(0.05)
        return "Tool with progress executed successfully"


def add_questions(worker: Worker[None]) -> None:
    """Tools that ask the user or the model one thing."""

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_sampling(call: Call[None], arguments: Sampling) -> str:
        """Asks the client's model."""
        answer = call.ask({"prompt": sample(arguments.prompt, 100)})["prompt"]
        return f"LLM response: {answer.text}"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_elicitation(call: Call[None], arguments: Asking) -> str:
        """Asks the user."""
        answer = call.ask({"login": form(arguments.message, Login)})["login"]
        return f"User response: <{told(answer)}>"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_elicitation_sep1034_defaults(call: Call[None], arguments: Nothing) -> str:
        """Asks with a form that is filled in already."""
        answer = call.ask({"defaults": form("Please review your information", Defaults)})["defaults"]
        return f"Elicitation completed: {told(answer)}"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_elicitation_sep1330_enums(call: Call[None], arguments: Nothing) -> str:
        """Asks with every kind of choice that a form can have."""
        answer = call.ask({"enums": form("Please select your options", ENUMS)})["enums"]
        return f"Elicitation completed: {told(answer)}"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_missing_capability(call: Call[None], arguments: Nothing) -> str:
        """Needs the client's model."""
        return call.ask({"model": sample("Say something.", 10)})["model"].text

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_streaming_elicitation(call: Call[None], arguments: Nothing) -> str:
        """Says something, then asks."""
        await call.progress(1, 2, "asking")
        return told(call.ask({"name": form("What is your name?", Name)})["name"])


def add_rounds(worker: Worker[None]) -> None:
    """Tools whose calls are made again with the answers (SEP-2322)."""

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_elicitation(call: Call[None], arguments: Nothing) -> str:
        """Greets the user by name."""
        answer = call.elicit("user_name", "What is your name?", Name)
        return f"Hello, {answer.name if answer else 'stranger'}!"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_sampling(call: Call[None], arguments: Nothing) -> str:
        """Asks the model for a capital."""
        return call.ask({"capital_question": sample("What is the capital of France?", 100)})["capital_question"].text

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_list_roots(call: Call[None], arguments: Nothing) -> str:
        """Lists what the client works on."""
        found = call.ask({"client_roots": roots()})["client_roots"].roots
        return ", ".join(f"{root.name} ({root.uri})" for root in found)

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_request_state(call: Call[None], arguments: Nothing) -> str:
        """Remembers something until the answer is there."""
        call.ask({"confirm": form("Please confirm", Ok)}, state="remembered")
        return "state-ok" if call.state == "remembered" else "state-lost"

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_multiple_inputs(call: Call[None], arguments: Nothing) -> str:
        """Asks for three things at once."""
        name, greeting, folders = (
            form("What is your name?", Name),
            sample("Generate a greeting", 50),
            roots(),
        )
        found = call.ask({"user_name": name, "greeting": greeting, "client_roots": folders})
        return ", ".join(sorted(found))

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_multi_round(call: Call[None], arguments: Nothing) -> str:
        """Asks twice, one after the other."""
        name = call.elicit("step1", "Step 1: What is your name?", Name)
        color = call.elicit("step2", "Step 2: What is your favorite color?", Color)
        return f"{name.name if name else 'Somebody'} likes {color.color if color else 'no color'}."

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_tampered_state(call: Call[None], arguments: Nothing) -> str:
        """Remembers something that nobody else may change."""
        call.ask({"confirm": form("Please confirm", Ok)}, state="whole")
        return call.state

    @worker.tool(scope=USE, action="use", read_only=True)
    async def test_input_required_result_capabilities(call: Call[None], arguments: Nothing) -> str:
        """Asks for whatever this client can be asked for."""
        questions: dict[str, Question[msgspec.Struct]] = {}
        if call.client.elicitation:
            questions["user_name"] = form("What is your name?", Name)
        if call.client.sampling:
            questions["greeting"] = sample("Generate a greeting", 50)
        return ", ".join(call.ask(questions))


def add_changes(worker: Worker[None]) -> None:
    """Tools that change what there is."""
    changes = 0

    def declare() -> None:
        @worker.tool(scope=USE, action="use", read_only=True, title=f"Changed {changes} times")
        async def test_changing_tool(call: Call[None], arguments: Nothing) -> str:
            """Has another title now and then."""
            return str(changes)

        @worker.prompt(scope=USE, action="use", title=f"Changed {changes} times")
        async def test_changing_prompt(call: Call[None], arguments: Nothing) -> str:
            """Has another title now and then."""
            return str(changes)

    async def change(call: Call[None]) -> str:
        nonlocal changes
        changes += 1
        declare()
        await call.offer_changed()
        return f"Changed {changes} times."

    @worker.tool(scope=USE, action="use")
    async def test_trigger_tool_change(call: Call[None], arguments: Nothing) -> str:
        """Changes the list of tools."""
        return await change(call)

    @worker.tool(scope=USE, action="use")
    async def test_trigger_prompt_change(call: Call[None], arguments: Nothing) -> str:
        """Changes the list of prompts."""
        return await change(call)

    @worker.tool(scope=USE, action="use")
    async def test_update_watched_resource(call: Call[None], arguments: Nothing) -> str:
        """Tells those who follow the watched resource that it is another."""
        await call.updated(WATCHED)
        return "Updated."

    declare()


def add_tasks(worker: Worker[None]) -> None:
    """Tools whose calls become tasks (SEP-2663)."""

    @worker.tool(scope=USE, action="use", read_only=True)
    async def greet(call: Call[None], arguments: Named) -> str:
        """Greets at once."""
        return f"Hello, {arguments.name}!"

    @worker.tool(scope=USE, action="use", read_only=True, task_support="optional")
    async def slow_compute(call: Call[None], arguments: Slow) -> str:
        """Takes its time."""
        if arguments.seconds:
            await call.become_task()
            await asyncio.sleep(arguments.seconds)
        return f"Computed {arguments.label} in {arguments.seconds} s."

    @worker.tool(scope=USE, action="use", read_only=True, task_support="required")
    async def failing_job(call: Call[None], arguments: Nothing) -> str:
        """Fails after a while."""
        await call.become_task()
        await asyncio.sleep(1)
        raise ToolError("This job always fails.")

    @worker.tool(scope=USE, action="use", read_only=True, task_support="optional")
    async def protocol_error_job(call: Call[None], arguments: Nothing) -> str:
        """Breaks."""
        await call.become_task()
        raise RuntimeError("This job always breaks.")

    @worker.tool(scope=USE, action="use", destructive=True, task_support="optional")
    async def confirm_delete(call: Call[None], arguments: Deletion) -> str:
        """Asks before it pretends to delete a file."""
        await call.become_task()
        answer = call.elicit("confirm", f"Delete {arguments.filename}?", Confirm)
        return f"{arguments.filename} is {'deleted' if answer and answer.confirm else 'kept'}."

    @worker.tool(scope=USE, action="use", read_only=True, task_support="optional")
    async def multi_input(call: Call[None], arguments: Nothing) -> str:
        """Asks two things at once, from within a task."""
        await call.become_task()
        found = call.ask({"name": form("What is your name?", Name), "confirm": form("Go on?", Confirm)})
        return ", ".join(told(answer) for answer in found.values())

    @worker.tool(scope=USE, action="use", read_only=True, task_support="required")
    async def test_tool_with_task(call: Call[None], arguments: Nothing) -> str:
        """Asks for a name, then takes its time."""
        answer = call.elicit("user_name", "What is your name?", Name)
        await call.become_task()
        await asyncio.sleep(0.2)
        return f"Hello, {answer.name if answer else 'stranger'}!"


def add_prompts(worker: Worker[None]) -> None:
    """Prompts."""

    @worker.prompt(scope=USE, action="use")
    async def test_simple_prompt(call: Call[None], arguments: Whole) -> str:
        """A simple prompt without arguments."""
        return "This is a simple prompt for testing."

    @worker.prompt(scope=USE, action="use")
    async def test_prompt_with_arguments(call: Call[None], arguments: TwoTexts) -> str:
        """A prompt with two required arguments."""
        return f"Prompt with arguments: arg1='{arguments.arg1}', arg2='{arguments.arg2}'"

    @worker.prompt(scope=USE, action="use")
    async def test_prompt_with_embedded_resource(call: Call[None], arguments: Embedding) -> list[PromptMessage]:
        """A prompt that includes a resource."""
        contents = TextResourceContents("Embedded resource content for testing.", "text/plain", arguments.resource_uri)
        return [
            PromptMessage(EmbeddedResource.of(contents)),
            PromptMessage(TextContent("Please process the embedded resource above.")),
        ]

    @worker.prompt(scope=USE, action="use")
    async def test_prompt_with_image(call: Call[None], arguments: Whole) -> list[PromptMessage]:
        """A prompt that includes an image."""
        return [
            PromptMessage(ImageContent.of(red_pixel(), "image/png")),
            PromptMessage(TextContent("Please analyze the image above.")),
        ]

    @worker.prompt(scope=USE, action="use")
    async def test_input_required_result_prompt(call: Call[None], arguments: Whole) -> str:
        """A prompt that asks the user first."""
        answer = call.elicit("user_context", "What context should the prompt use?", Context)
        return f"Use this context: {answer.context if answer else 'none'}"

    @worker.completion(action="use")
    async def arg1(call: Call[None], typed: str, known: dict[str, str]) -> list[str]:
        return [word for word in ("paris", "park", "party") if word.startswith(typed)]


def add_resources(worker: Worker[None]) -> None:
    """Resources, and a template."""

    @worker.resource("test://static-text", scope=USE, action="use", mime_type="text/plain")
    async def static_text(call: Call[None], arguments: Whole) -> str:
        """A text that stays as it is."""
        return "This is the content of the static text resource."

    @worker.resource("test://static-binary", scope=USE, action="use", mime_type="image/png")
    async def static_binary(call: Call[None], arguments: Whole) -> bytes:
        """An image that stays as it is."""
        return red_pixel()

    @worker.resource("test://template/{id}/data", scope=USE, action="use", mime_type="application/json")
    async def template_data(call: Call[None], arguments: Numbered) -> str:
        """Data for an id."""
        data = {"id": arguments.id, "templateTest": True, "data": f"Data for ID: {arguments.id}"}
        return msgspec.json.encode(data).decode()

    @worker.resource(WATCHED, scope=USE, action="use", mime_type="text/plain")
    async def watched_resource(call: Call[None], arguments: Whole) -> str:
        """A text that changes."""
        return "This resource is watched."
